"""Byte-level BPE over one fixed table of bytes, in several nested sizes.

Notable:
- Id 0 is the separator, ids 1 to 255 are the bytes 0x00 to 0xFE in byte order (0xFF never occurs in UTF-8), ids from
  256 on are merges in the order in which they were learned. A vocabulary of 256 is therefore raw bytes.
- Only the largest vocabulary is trained. BPE learns greedily, so a smaller one is the first part of its merges.
- For the same reason a text encoded with the largest vocabulary is turned into any smaller one by undoing the later
  merges token by token (`undo_merges`): a table look-up instead of a second encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB_SIZES = (256, 1024, 2048, 4096, 8192)
"""Sizes prepared for every dataset, separator included."""

SEPARATOR = "<|endoftext|>"
SEPARATOR_ID = 0
FIRST_MERGE_ID = 256

TRAINING_BYTES = 24_000_000
"""Text the merges are learned from. Pair counts of a fair sample this size settle all but the last few of 8192 merges,
and it keeps training to some seconds and a few hundred megabytes, however large the corpus is."""

SPLIT_PATTERN = "|".join(
    (
        "['\u2019]" + r"\p{L}{1,2}(?!\p{L})",  # the end of a contraction: 's, 't, 'll
        r" ?[\p{L}\p{M}]+",  # a word with the space before it
        r" ?\p{N}{1,2}",  # at most two digits: 100 numbers are learned well, 10,000 are not
        r" ?[^\s\p{L}\p{M}\p{N}]+",  # punctuation and symbols
        r"\n+",
        r"[^\S\n]+(?!\S)",  # blanks, except the last one, which belongs to the word after it
        r"\s",
    )
)
"""Merges never cross the pieces that this pattern cuts a text into. Every character is in exactly one piece."""


def byte_alphabet() -> list[str]:
    """The printable character by which byte-level BPE writes each byte; index is the byte, 0 to 255.

    Bytes that are printable in Latin-1 stand for themselves, the others are U+0100 upwards in byte order (the table of
    GPT-2, Radford et al. 2019).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def train_tokenizer(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn a tokenizer of at most `vocab_size` ids (fewer where no pair of tokens occurs twice any more).

    Deterministic: the same documents give the same merges. All of `documents` is used; the caller samples.
    """
    learner = _with_text_rules(Tokenizer(models.BPE()))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[SEPARATOR],
        initial_alphabet=byte_alphabet()[:255],
        show_progress=False,
    )
    learner.train_from_iterator(documents, trainer)
    return _build(_merges(learner), vocab_size)


def smaller_tokenizer(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """The tokenizer of `vocab_size` ids that training on the same documents would have given: the first merges."""
    return _build(_merges(tokenizer), vocab_size)


def open_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer file. Text that looks like the separator is encoded as ordinary bytes."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # not kept in the file
    return tokenizer


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The raw bytes of each id; empty for the separator.

    Taken from the byte alphabet, since decoding a token that ends inside a character gives U+FFFD, three other bytes.
    """
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    ids = range(SEPARATOR_ID + 1, tokenizer.get_vocab_size())
    return [b"", *(bytes(byte_of[character] for character in tokenizer.id_to_token(token)) for token in ids)]


def token_byte_lengths(tokenizer: Tokenizer, vocab_size: int) -> np.ndarray:
    """Bytes of each id as int32 (vocab_size,); 0 for the separator and for ids that the tokenizer doesn't have."""
    lengths = np.zeros(vocab_size, np.int32)
    present = [len(raw) for raw in token_bytes(tokenizer)]
    lengths[: len(present)] = present
    return lengths


def undo_merges(tokenizer: Tokenizer, vocab_size: int) -> list[list[int]]:
    """For each id of `tokenizer`, the ids that `smaller_tokenizer(tokenizer, vocab_size)` has in its place.

    Exact because merges are applied in the order in which they were learned: whatever a token was made of when merge
    number `vocab_size` came up is how the smaller vocabulary leaves it.
    """
    identities = tokenizer.get_vocab()
    parts = [[token] for token in range(FIRST_MERGE_ID)]
    for token, (left, right) in enumerate(_merges(tokenizer), start=FIRST_MERGE_ID):
        parts.append([token] if token < vocab_size else parts[identities[left]] + parts[identities[right]])
    return parts


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _build(merges: list[tuple[str, str]], vocab_size: int) -> Tokenizer:
    """A tokenizer with the fixed ids and the first merges that fit.

    A merge whose result exists already (a second way to write the same token) is left out: with it, applying merges in
    order and learning them in order would no longer be the same, and vocabularies would not be nested.
    """
    vocabulary = {SEPARATOR: SEPARATOR_ID}
    vocabulary.update((character, byte + 1) for byte, character in enumerate(byte_alphabet()[:255]))
    kept = []
    for left, right in merges:
        if len(vocabulary) == vocab_size:
            break
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            kept.append((left, right))
    tokenizer = _with_text_rules(Tokenizer(models.BPE(vocab=vocabulary, merges=kept)))
    tokenizer.add_special_tokens([AddedToken(SEPARATOR, special=True, normalized=False)])
    tokenizer.encode_special_tokens = True
    return tokenizer


def _with_text_rules(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
