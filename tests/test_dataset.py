"""Preparing and opening datasets: exact text, nothing half-made, nothing done twice, damage named."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mlx_autoresearch import dataset as dataset_module
from mlx_autoresearch.corpus import Source
from mlx_autoresearch.dataset import Dataset, open_dataset, prepare_dataset
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.paths import data_root
from mlx_autoresearch.splits import SPLITS
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES, token_bytes

PARTS = ["the sun", "a moon", "Übermut", "日本語", "\U0001f389", "$1.5", "<|endoftext|>", "isn't\r\nit", "\n\n", "x\0y"]


def write_documents(count: int = 1200, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [f"{seed}-{index} " + " ".join(draw.choices(PARTS, k=25)) for index in range(count)]


def source_of(documents: list[str], name: str = "mine", **identity: object) -> Source:
    return Source(name, {"kind": "test", **identity}, lambda: iter(documents), None)


def prepare(source: Source, **options: object) -> tuple[Dataset, str]:
    shown = io.StringIO()
    return prepare_dataset(source, console=Console(file=shown, width=200), **options), shown.getvalue()


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture()
def prepared(shared_root: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """One dataset that tests read but don't change."""
    monkeypatch.setenv("MLX_AUTORESEARCH_DATA", str(shared_root))
    return prepare(source_of(write_documents()))[0]


def decode(dataset: Dataset, split: str, vocab_size: int) -> list[str]:
    raw = token_bytes(dataset.tokenizer(vocab_size))
    tokens, starts = dataset.tokens(split, vocab_size), dataset.document_starts(split, vocab_size)
    assert starts.dtype == np.int64 and not tokens[starts].any() and starts[0] == 0
    ends = [*starts[1:], len(tokens)]
    return [
        b"".join(raw[token] for token in tokens[start + 1 : end]).decode()
        for start, end in zip(starts, ends, strict=True)
    ]


def test_every_vocabulary_holds_exactly_the_text(prepared: Dataset) -> None:
    expected = {re.sub("\r\n", "\n", text).replace("\0", "").strip() for text in write_documents()}
    for size in VOCAB_SIZES:
        texts = {split: decode(prepared, split, size) for split in SPLITS}
        assert sum(map(len, texts.values())) == len(expected)
        assert set().union(*texts.values()) == expected
        for split, documents in texts.items():
            assert prepared.text_bytes(split) == sum(len(text.encode()) for text in documents)
            assert len(documents) == prepared.manifest["splits"][split]["documents"]
            assert len(prepared.tokens(split, size)) == prepared.manifest["splits"][split]["tokens"][str(size)]
    assert prepared.tokens("val", 256).dtype == np.uint16


def test_held_out_rows_come_from_all_over_the_corpus(prepared: Dataset) -> None:
    places = np.array([int(text.split("-")[1].split()[0]) for text in decode(prepared, "val", 256)])
    assert not np.all(np.diff(places) > 0)
    first = places[: len(places) // 2]
    assert first.min() < 300 and first.max() > 900


def test_manifest(prepared: Dataset) -> None:
    manifest = prepared.manifest
    listed = {str(path.relative_to(prepared.folder)) for path in prepared.folder.rglob("*") if path.is_file()}
    assert listed == {*manifest["files"], "manifest.json"}
    assert manifest["tokenizers"]["256"] == 256 and manifest["tokenizers"]["8192"] <= 8192
    assert manifest["corpus"]["documents"] == 1200 and re.fullmatch("[0-9a-f]{64}", prepared.fingerprint)
    prepared.verify()


def test_opening_by_name_folder_and_as_current(prepared: Dataset) -> None:
    for way in ("mine", prepared.folder, str(prepared.folder), None):
        assert open_dataset(way).folder == prepared.folder
    assert (data_root() / "current").read_text().strip() == "mine"


def test_wrong_names_are_sentences(prepared: Dataset) -> None:
    with pytest.raises(AutoresearchError, match=r"no vocabulary of 512.*8192"):
        prepared.tokens("train", 512)
    with pytest.raises(AutoresearchError, match="no split 'trian'"):
        prepared.document_starts("trian", 256)
    with pytest.raises(AutoresearchError, match=r"no prepared dataset in .*other.*prepare\.py"):
        open_dataset("other")


def test_nothing_prepared_is_a_sentence() -> None:
    with pytest.raises(AutoresearchError, match=r"no dataset is prepared .*python prepare\.py"):
        open_dataset()


def test_prepared_twice_does_nothing_but_other_text_or_options_do(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = write_documents(700)
    first, shown = prepare(source_of(documents, size=1))
    assert "already" not in shown
    (data_root() / "current").write_text("another")
    with monkeypatch.context() as forbidden:
        forbidden.setattr(dataset_module, "_build", None)
        again, shown = prepare(source_of([], size=1))
    assert "already prepared" in shown and again == first and open_dataset().folder == first.folder
    smaller, _ = prepare(source_of(documents, size=1), max_train_mb=0.05)
    assert smaller.folder == first.folder and smaller.fingerprint != first.fingerprint
    assert 45_000 < smaller.text_bytes("train") <= 50_000
    assert smaller.text_bytes("val") == first.text_bytes("val")
    other, _ = prepare(source_of(write_documents(700, 2), size=2))
    assert other.fingerprint not in (first.fingerprint, smaller.fingerprint)


def test_same_text_gives_the_same_fingerprint() -> None:
    one, _ = prepare(source_of(write_documents(700), "one"))
    two, _ = prepare(source_of(write_documents(700), "two", other=True))
    assert one.fingerprint == two.fingerprint


def test_interrupted_preparing_leaves_nothing_and_starts_over() -> None:
    documents = write_documents(700)
    passes = []

    def documents_interrupted() -> Iterator[str]:
        passes.append(1)
        yield from documents
        if len(passes) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(Source("mine", {}, documents_interrupted, None))
    assert [path.name for path in data_root().iterdir()] == [".prepare.lock"]
    stale = data_root() / ".mine.partial"
    (stale / "train").mkdir(parents=True)
    (stale / "train" / "tokens-256.bin").write_bytes(b"half")
    dataset, _ = prepare(Source("mine", {}, documents_interrupted, None))
    dataset.verify()
    assert not stale.exists()


def test_two_at_the_same_time_are_refused() -> None:
    def documents() -> Iterator[str]:
        prepare(source_of(write_documents(10), "inner"))
        yield "never"

    with pytest.raises(AutoresearchError, match="another process is preparing"):
        prepare(Source("outer", {}, documents, None))


def test_damage_is_named_with_what_to_type() -> None:
    dataset, _ = prepare(source_of(write_documents(700)), command="python prepare.py --dataset x")
    path = dataset.folder / "val" / "tokens-1024.bin"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    open_dataset()  # same length: found by verify only
    with pytest.raises(AutoresearchError, match=r"val/tokens-1024\.bin .*damaged.*python prepare\.py --dataset x"):
        dataset.verify()
    path.write_bytes(content[:-2])
    with pytest.raises(AutoresearchError, match=r"tokens-1024\.bin"):
        open_dataset()
    repaired, shown = prepare(source_of(write_documents(700)))  # a damaged one does not count as prepared
    assert "already" not in shown
    repaired.verify()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 0, "files": {}}'])
def test_unreadable_manifest_is_a_sentence(content: str) -> None:
    folder = data_root() / "broken"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(AutoresearchError, match=r"prepare\.py"):
        open_dataset("broken")


def test_too_little_text_leaves_no_folder() -> None:
    with pytest.raises(AutoresearchError, match="at least 100 kB"):
        prepare(source_of(["one", "two", "three"]))
    assert not (data_root() / "mine").exists() and not (data_root() / ".mine.partial").exists()


def test_one_long_document_is_enough() -> None:
    book = "\n\n".join(write_documents(800))
    dataset, _ = prepare(source_of([book]))
    assert all(dataset.manifest["splits"][split]["documents"] >= 1 for split in SPLITS)


def test_bad_options_and_full_disk_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (0, -1, float("nan"), float("inf")):
        with pytest.raises(AutoresearchError, match="max-train-mb"):
            prepare(source_of(write_documents(10)), max_train_mb=size)
    monkeypatch.setattr(dataset_module, "DISK_BYTES_PER_TEXT_BYTE", 1e12)
    with pytest.raises(AutoresearchError, match="GB are free"):
        prepare(source_of(write_documents(700)))


def test_write_error_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_module, "_write_manifest", refuse)
    with pytest.raises(AutoresearchError, match="No space left on device"):
        prepare(source_of(write_documents(700)))
    assert not (data_root() / "mine").exists()


def test_wrong_token_streams_are_never_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "token_byte_lengths", lambda _, size: np.ones(size, np.int32))
    with pytest.raises(RuntimeError, match="bug"):
        prepare(source_of(write_documents(700)))
    assert not (data_root() / "mine").exists()


def test_manifest_is_json_without_this_machine(prepared: Dataset) -> None:
    assert str(data_root()) not in json.dumps(prepared.manifest)
