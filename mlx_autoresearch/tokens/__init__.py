"""Tokens: the byte-level tokenizers, the token streams on disk, and training batches over them."""
