"""Prepared datasets: made once from a source of text, then opened by training and scoring without any text.

On disk, below `paths.data_root()`:

    <name>/manifest.json   where it came from, what is in it, the SHA-256 of every file
    <name>/tokenizers/<V>.json
    <name>/{train,val,test}/tokens-<V>.bin, documents-<V>.npy     every document is SEPARATOR, then its tokens
    current                the name of the dataset prepared last

Notable: a dataset is built in a hidden folder and renamed when it is whole, so that a kill leaves none; the token
streams of every vocabulary are counted and must hold exactly the bytes of the text. Memory doesn't grow with the text.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tokenizers import Tokenizer

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import read_json, sha256_of, write_json, write_text
from mlx_autoresearch.paths import data_root
from mlx_autoresearch.settings import CONTEXT
from mlx_autoresearch.splits import (
    SPLITS,
    Choice,
    Survey,
    choose_documents,
    clean_documents,
    copy_documents,
    first_bytes,
    survey_documents,
)
from mlx_autoresearch.tokens import shards
from mlx_autoresearch.tokens.tokenizer import (
    SEPARATOR_ID,
    TRAINING_BYTES,
    VOCAB_SIZES,
    open_tokenizer,
    smaller_tokenizer,
    token_byte_lengths,
    train_tokenizer,
)

if TYPE_CHECKING:
    from mlx_autoresearch.corpus import Source

FORMAT = 1
"""Raised whenever cleaning, splitting, tokenizing or the layout changes: datasets of another format are made anew."""

DEFAULT_MAX_TRAIN_MB = 200.0
"""Train text in MB (10^6 bytes): more than five minutes of training read once, on any machine that this is made for."""

DISK_BYTES_PER_TEXT_BYTE = 7
"""Streams of five vocabularies take about 5 bytes for each byte of English, and the text lies beside them once."""

LARGEST = max(VOCAB_SIZES)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
        folder: where it is.
        manifest: what `manifest.json` says: format, name, source, options, command, splits, tokenizers, files,
            libraries, fingerprint.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """The name it can be opened by."""
        return self.manifest["name"]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all files: equal for equal data, wherever it was prepared."""
        return self.manifest["fingerprint"]

    def tokens(self, split: str, vocab_size: int) -> np.memmap:
        """The token stream of "train", "val" or "test": read-only memory map, uint16 (N,)."""
        return shards.open_tokens(self._split_folder(split, vocab_size), vocab_size)

    def document_starts(self, split: str, vocab_size: int) -> np.ndarray:
        """Where documents start in that stream (at their separators): int64 (documents,), ascending."""
        return shards.open_document_starts(self._split_folder(split, vocab_size), vocab_size)

    def tokenizer(self, vocab_size: int) -> Tokenizer:
        """The tokenizer of one of VOCAB_SIZES; on a small corpus it may have fewer ids than that."""
        return open_tokenizer(self.tokenizer_file(vocab_size))

    def tokenizer_file(self, vocab_size: int) -> Path:
        """The file of one of VOCAB_SIZES' tokenizers."""
        _check_vocabulary(vocab_size)
        return self.folder / "tokenizers" / f"{vocab_size}.json"

    def text_bytes(self, split: str) -> int:
        """UTF-8 bytes of the split's text, separators not counted."""
        return self.manifest["splits"][split]["text_bytes"]

    def verify(self) -> None:
        """Read all files and compare them with the manifest.

        Raises:
            AutoresearchError: a file is missing or its content changed; names it and what to type.
        """
        for name, expected in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file() or sha256_of(path) != expected["sha256"]:
                raise _damaged(path, self.folder, self.manifest)

    def _split_folder(self, split: str, vocab_size: int) -> Path:
        _check_vocabulary(vocab_size)
        if split not in SPLITS:
            raise AutoresearchError(f"there is no split {split!r}; there are {', '.join(SPLITS)}")
        return self.folder / split


def open_dataset(name_or_path: str | Path | None = None, splits: Sequence[str] = SPLITS) -> Dataset:
    """Open a prepared dataset by name or folder; None is the one prepared last.

    Files are checked for being there with their full length, those of other splits than `splits` left out: a sandboxed
    process doesn't see them. `Dataset.verify` reads them.

    Raises:
        AutoresearchError: none is prepared, there is none of that name, or it is damaged or of another format.
    """
    folder = _find(name_or_path)
    try:
        manifest = read_json(folder / MANIFEST)
        prepared_format, files = manifest["format"], manifest["files"].items()
    except FileNotFoundError:
        raise AutoresearchError(f"there is no prepared dataset in {folder}: run `python prepare.py`") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AutoresearchError(
            f"{folder / MANIFEST} can't be read ({error}): delete {folder} and run `python prepare.py` again"
        ) from None
    if prepared_format != FORMAT:
        raise AutoresearchError(
            f"{folder} was prepared by another version (format {prepared_format}, this is {FORMAT}): "
            f"run `{manifest.get('command', 'python prepare.py')}` again"
        )
    for name, expected in files:
        path, part = folder / name, name.split("/")[0]
        if part in SPLITS and part not in splits:
            continue
        if not path.is_file() or path.stat().st_size != expected["bytes"]:
            raise _damaged(path, folder, manifest)
    return Dataset(folder, manifest)


def open_same(name: str, fingerprint: str, splits: Sequence[str] = SPLITS) -> Dataset:
    """Open the dataset that something was trained on: as `open_dataset`, and with that fingerprint.

    Raises:
        AutoresearchError: as `open_dataset`, or it was prepared anew from other data.
    """
    dataset = open_dataset(name, splits)
    if dataset.fingerprint != fingerprint:
        raise AutoresearchError(
            f"The dataset {dataset.folder} is not the one that was trained on: it was prepared anew since, so its "
            f"tokens and scores mean something else. `{dataset.manifest['command']}` with the files of that time makes "
            "that one again."
        )
    return dataset


def prepare_dataset(
    source: Source,
    max_train_mb: float = DEFAULT_MAX_TRAIN_MB,
    command: str = "python prepare.py",
    console: Console | None = None,
) -> Dataset:
    """Make a dataset from `source`, or open it when the same one is prepared already, and make it the current one.

    Args:
        source: where the text comes from; its name is the dataset's.
        max_train_mb: MB (10^6 bytes) of train text at most, chosen evenly from the whole corpus by hash.
        command: what a person types to prepare it again; kept for messages.
        console: where progress is shown; stderr by default.

    Raises:
        AutoresearchError: too little text, too little disk, or another process is preparing at the same time.
    """
    if not 0 < max_train_mb < float("inf"):
        raise AutoresearchError(f"--max-train-mb must be a number above 0, not {max_train_mb}")
    console = console or Console(stderr=True)
    root = data_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _only_one(root):
            dataset = _prepared_already(source, max_train_mb)
            if dataset is not None:
                console.print(f"{source.name} is already prepared.")
            else:
                dataset = _prepare(source, max_train_mb, command, root, console)
            write_text(root / "current", source.name + "\n")
    except OSError as error:
        raise AutoresearchError(
            f"preparing stopped: {error}. No half-made dataset is left; see to it and run `{command}` again"
        ) from None
    return dataset


def _prepare(source: Source, max_train_mb: float, command: str, root: Path, console: Console) -> Dataset:
    folder, partial, old = root / source.name, root / f".{source.name}.partial", root / f".{source.name}.old"
    for stale in (partial, old):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()
    try:
        with _progress(console) as progress:
            _build(partial, source, max_train_mb, command, progress)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    finally:
        for stale in (partial, old):
            shutil.rmtree(stale, ignore_errors=True)
    return open_dataset(folder)


def _build(folder: Path, source: Source, max_train_mb: float, command: str, progress: Progress) -> None:
    """Fill `folder` with a whole dataset, manifest last."""
    total = source.text_bytes
    with _stage(progress, "reading", total) as advance:
        survey = survey_documents(clean_documents(_counted(source.documents(), advance)), source.split_key)
    choice = choose_documents(survey, max_train_mb * 1e6)
    sizes = {split: int(survey.lengths[choice.splits[split]].sum(dtype=np.int64)) for split in SPLITS}
    _check_disk(folder, sum(sizes.values()))
    with _stage(progress, "choosing text", total) as advance:
        documents = clean_documents(_counted(source.documents(), advance))
        sample = _copy_text(documents, survey, choice, folder)
    with _stage(progress, "learning the vocabulary", None):
        tokenizers = _make_tokenizers(sample, folder / "tokenizers")
    del sample
    splits = {
        split: {"documents": len(choice.splits[split]), "text_bytes": sizes[split], "tokens": {}} for split in SPLITS
    }
    with _stage(progress, f"encoding {sum(sizes.values()) / 1e6:,.0f} MB", sum(sizes.values())) as advance:
        for split in SPLITS:
            texts = _read_text(_text_path(folder, split))
            count = shards.write_encoded(texts, tokenizers[LARGEST], folder / split, LARGEST, advance)
            splits[split]["tokens"][str(LARGEST)] = count
            _text_path(folder, split).unlink()
            _check_rows(split, count)
    steps = sum(each["tokens"][str(LARGEST)] for each in splits.values()) * len(VOCAB_SIZES)
    with _stage(progress, "smaller vocabularies", steps) as advance:
        for split in SPLITS:
            for size in VOCAB_SIZES:
                if size != LARGEST:
                    count = shards.write_narrower(tokenizers[LARGEST], folder / split, LARGEST, size, advance)
                    splits[split]["tokens"][str(size)] = count
                _check_bytes(folder / split, tokenizers[size], size, splits[split])
    _write_manifest(folder, source, max_train_mb, command, survey, choice, splits, tokenizers)


def _copy_text(documents: Iterable[str], survey: Survey, choice: Choice, folder: Path) -> list[str]:
    """Write each split's documents to its text file; returns the sample that the vocabulary is learned from.

    Train is in the order of the corpus (batches are shuffled anyway); val and test, which are small, in that of their
    hashes, so that their first rows come from all over the corpus.
    """
    in_sample = np.zeros(len(survey.lengths), bool)
    in_sample[first_bytes(choice.splits["train"], survey.lengths, TRAINING_BYTES)] = True
    sample: list[str] = []
    held_out: dict[int, bytes] = {}
    for split in SPLITS:
        (folder / split).mkdir()
    with _text_path(folder, "train").open("wb") as file:

        def keep(split: str, index: int, raw: bytes) -> None:
            if split == "train":
                file.write(raw + b"\0")
                if in_sample[index]:
                    sample.append(raw.decode())
            else:
                held_out[index] = raw

        copy_documents(documents, survey, choice, keep)
    for split in ("val", "test"):
        _text_path(folder, split).write_bytes(b"".join(held_out[index] + b"\0" for index in choice.splits[split]))
    return sample


def _text_path(folder: Path, split: str) -> Path:
    """A split's text while the dataset is being made: documents in UTF-8, each followed by a NUL."""
    return folder / f"{split}.text"


def _read_text(path: Path) -> Iterator[str]:
    rest = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            *documents, rest = (rest + block).split(b"\0")
            for raw in documents:
                yield raw.decode()


def _make_tokenizers(sample: list[str], folder: Path) -> dict[int, Tokenizer]:
    folder.mkdir()
    largest = train_tokenizer(sample, LARGEST)
    tokenizers = {size: smaller_tokenizer(largest, size) for size in VOCAB_SIZES}
    for size, tokenizer in tokenizers.items():
        write_text(folder / f"{size}.json", tokenizer.to_str())
    return tokenizers


def _check_bytes(folder: Path, tokenizer: Tokenizer, vocab_size: int, split: dict[str, Any]) -> None:
    """The tokens must be the text: same bytes, one separator a document, no id outside of the vocabulary."""
    counts = shards.count_tokens(shards.open_tokens(folder, vocab_size), vocab_size)
    size = int(counts[:vocab_size] @ token_byte_lengths(tokenizer, vocab_size).astype(np.int64))
    if len(counts) > vocab_size or size != split["text_bytes"] or counts[SEPARATOR_ID] != split["documents"]:
        raise RuntimeError(
            f"vocabulary {vocab_size} of {folder.name} holds {size} bytes in {counts[SEPARATOR_ID]} documents, "
            f"the text {split['text_bytes']} in {split['documents']}: please report this as a bug"
        )


def _check_rows(split: str, tokens: int) -> None:
    if tokens <= CONTEXT:
        raise AutoresearchError(
            f"the {split} split has {tokens} tokens, less than one row of {CONTEXT}: the corpus is too small or "
            "repeats itself too much; add text"
        )


def _check_disk(folder: Path, text_bytes: int) -> None:
    needed, free = DISK_BYTES_PER_TEXT_BYTE * text_bytes, shutil.disk_usage(folder).free
    if free < needed:
        raise AutoresearchError(
            f"preparing {text_bytes / 1e6:,.0f} MB of text needs about {needed / 1e9:.1f} GB in {data_root()}, where "
            f"{free / 1e9:.1f} GB are free: make room, lower --max-train-mb, or name a folder on another disk in "
            "MLX_AUTORESEARCH_DATA"
        )


def _write_manifest(
    folder: Path,
    source: Source,
    max_train_mb: float,
    command: str,
    survey: Survey,
    choice: Choice,
    splits: dict[str, Any],
    tokenizers: dict[int, Tokenizer],
) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths
    }
    manifest = {
        "format": FORMAT,
        "name": source.name,
        "fingerprint": sha256(json.dumps([FORMAT, files], sort_keys=True).encode()).hexdigest(),
        "source": source.identity,
        "options": {"max_train_mb": max_train_mb},
        "command": command,
        "corpus": {
            "documents": len(survey.lengths),
            "text_bytes": int(survey.lengths.sum(dtype=np.int64)),
            "duplicates": choice.duplicates,
            "same_key": choice.same_key,
            "held_out_share": choice.held_out_share,
        },
        "splits": splits,
        "tokenizers": {str(size): tokenizer.get_vocab_size() for size, tokenizer in tokenizers.items()},
        "files": files,
        "libraries": {name: version(name) for name in ("tokenizers", "numpy")},
    }
    write_json(folder / MANIFEST, manifest)


def _prepared_already(source: Source, max_train_mb: float) -> Dataset | None:
    try:
        dataset = open_dataset(data_root() / source.name)
    except AutoresearchError:
        return None
    same_text = dataset.manifest["source"] == json.loads(json.dumps(source.identity))
    return dataset if same_text and dataset.manifest["options"] == {"max_train_mb": max_train_mb} else None


def _find(name_or_path: str | Path | None) -> Path:
    if name_or_path is None:
        try:
            return data_root() / (data_root() / "current").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise AutoresearchError(f"no dataset is prepared in {data_root()}: run `python prepare.py`") from None
    path = Path(name_or_path)
    return path.absolute() if (path / MANIFEST).is_file() or path.is_absolute() else data_root() / path


def _damaged(path: Path, folder: Path, manifest: dict[str, Any]) -> AutoresearchError:
    again = manifest.get("command", "python prepare.py")
    return AutoresearchError(f"{path} is missing or damaged: delete {folder} and run `{again}` again")


def _check_vocabulary(vocab_size: int) -> None:
    if vocab_size not in VOCAB_SIZES:
        raise AutoresearchError(f"there is no vocabulary of {vocab_size}; there are {', '.join(map(str, VOCAB_SIZES))}")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Hold the lock of preparing; the system lets go of it when the process ends, however it ends."""
    with (root / ".prepare.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AutoresearchError(
                f"another process is preparing a dataset in {root}: wait until it is done"
            ) from None
        yield


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def _stage(progress: Progress, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A line of the progress display; yields what to call with the amount done. Estimated totals end at 100 % too."""
    task = progress.add_task(description, total=total)
    yield lambda amount: progress.advance(task, amount)
    done = max(1, int(progress.tasks[task].completed))
    progress.update(task, total=done, completed=done)


def _counted(documents: Iterable[str], advance: Callable[[int], None]) -> Iterator[str]:
    """Pass documents on, telling `advance` their UTF-8 bytes about once a megabyte."""
    size = 0
    for text in documents:
        yield text
        size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if size >= 1 << 20:
            advance(size)
            size = 0
    advance(size)
