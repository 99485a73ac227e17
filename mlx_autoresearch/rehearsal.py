"""The text of smoke runs: noise in the form of a prepared dataset.

A smoke run may take three minutes, and the kernels that it compiles are kept for the runs that count. On real text it
could train all that time and hide what it learned among them. Noise teaches nothing, and two steps need no more.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from mlx_autoresearch.dataset import MANIFEST, Dataset
from mlx_autoresearch.files import TEMPORARY_SUFFIX, remove_tree, sha256_of, write_json
from mlx_autoresearch.paths import cache_root
from mlx_autoresearch.tokens.shards import TOKEN_TYPE, stream_written
from mlx_autoresearch.tokens.tokenizer import SEPARATOR_ID, VOCAB_SIZES

TOKENS = 1 << 18
"""For each vocabulary; a batch that needs more sees them twice."""

DOCUMENT_TOKENS = 200


def rehearsal_of(dataset: Dataset) -> Path:
    """Folder of the noise that goes with a dataset: its tokenizers, and a train split of random tokens; made once."""
    folder = cache_root() / "rehearsal" / dataset.fingerprint[:16]
    if (folder / MANIFEST).is_file():
        return folder
    partial = folder.with_name(f"{folder.name}-{os.getpid()}{TEMPORARY_SUFFIX}")
    remove_tree(partial)
    partial.mkdir(parents=True)
    _write(dataset, partial)
    with suppress(OSError):  # another process was quicker
        partial.rename(folder)
    remove_tree(partial)
    return folder


def _write(dataset: Dataset, folder: Path) -> None:
    """Fill `folder`, manifest last."""
    (folder / "tokenizers").mkdir()
    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    counts = {}
    for size in VOCAB_SIZES:
        shutil.copyfile(dataset.tokenizer_file(size), folder / "tokenizers" / f"{size}.json")
        tokens = rng.integers(SEPARATOR_ID + 1, dataset.manifest["tokenizers"][str(size)], TOKENS, dtype=TOKEN_TYPE)
        tokens[::DOCUMENT_TOKENS] = SEPARATOR_ID
        with stream_written(folder / "train", size) as stream:
            stream.append(tokens)
        counts[str(size)] = TOKENS
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths
    }
    documents = -(-TOKENS // DOCUMENT_TOKENS)
    train = {**dataset.manifest["splits"]["train"], "documents": documents, "tokens": counts}
    splits = {**dataset.manifest["splits"], "train": train}
    write_json(folder / MANIFEST, {**dataset.manifest, "files": files, "splits": splits})
