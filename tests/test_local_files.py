"""Reading a person's own files: every format, every way to cut and choose, and a sentence for whatever is wrong."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlx_autoresearch.corpus.local_files import (
    PARAGRAPHS_CHARACTERS,
    SECTION_CHARACTERS,
    list_files,
    read_documents,
    resolve_column,
    text_bytes,
)
from mlx_autoresearch.errors import AutoresearchError


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, text_column: str | None = None) -> list[str]:
    return list(read_documents(list_files(path), text_column))


def refusal(path: Path, text_column: str | None = None) -> str:
    """The one sentence that reading `path` ends with."""
    with pytest.raises(AutoresearchError) as caught:
        read(path, text_column)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ------------------------------------------------------------------------------------------------------ which files


def test_folder_gives_supported_files_sorted_without_hidden_and_empty(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.jsonl", "a/y.CSV", "a/.hidden.txt", ".git/x.txt", "picture.png", "c.txt.gz"):
        write(tmp_path / name, "x")
    write(tmp_path / "empty.txt", "")
    names = [str(file.relative_to(tmp_path)) for file in list_files(tmp_path)]
    assert names == ["a/y.CSV", "a/z.jsonl", "b.txt", "c.txt.gz"]


def test_pattern_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = write(tmp_path / "in/1.txt", "x"), write(tmp_path / "in/deep/2.txt", "x")
    assert list_files(tmp_path / "in/**/*.txt") == [first, second]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list_files("~/in/1.txt") == [first]


def test_name_with_brackets_is_a_file_first(tmp_path: Path) -> None:
    file = write(tmp_path / "a[1].txt", "x")
    assert list_files(file) == [file]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.txt", None, ["no file or folder", "missing.txt"]),
        ("missing/*.txt", None, ["no file", "matches"]),
        ("empty.txt", "", ["is empty"]),
        ("paper.pdf", "x", ["paper.pdf", ".txt", ".parquet", ".gz"]),
        ("table.parquet.gz", "x", ["can't be read", ".parquet"]),
    ],
)
def test_wrong_path(tmp_path: Path, name: str, content: str | None, words: list[str]) -> None:
    if content is not None:
        write(tmp_path / name, content)
    message = refusal(tmp_path / name)
    assert all(word in message for word in words), message


def test_folder_without_supported_files(tmp_path: Path) -> None:
    write(tmp_path / "picture.png", "x")
    assert ".jsonl" in refusal(tmp_path)


def test_unreadable_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", "x")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    assert "Permission denied" in refusal(file)


# ------------------------------------------------------------------------------------------------------ txt and md


def test_end_of_text_separates_wherever_it_stands(tmp_path: Path) -> None:
    text = "One.\n\n\n---\nStill one.\n<|endoftext|>\nTwo.<|endoftext|>Three.\n<|endoftext|>\n\n<|endoftext|>\n"
    assert read(write(tmp_path / "a.txt", text)) == ["One.\n\n\n---\nStill one.", "Two.", "Three."]


@pytest.mark.parametrize("rule", ["---", "***"])
def test_rule_lines_separate_before_blank_lines(tmp_path: Path, rule: str) -> None:
    text = f"# One\n\n\n\nmore\n{rule}\n\nTwo\n-----\nunderlined\n{rule}\n"
    assert read(write(tmp_path / "a.md", text)) == ["# One\n\n\n\nmore", "Two\n-----\nunderlined"]


def test_two_blank_lines_separate_before_single_ones(tmp_path: Path) -> None:
    text = "\n\n\nOne.\n\nStill one.\n\n\nTwo.\n \n\t\n\nThree."
    assert read(write(tmp_path / "a.txt", text)) == ["One.\n\nStill one.", "Two.", "Three."]


def test_paragraphs_of_prose_are_collected(tmp_path: Path) -> None:
    paragraphs = [f"{number} " + "word " * 99 + "end." for number in range(40)]
    documents = read(write(tmp_path / "a.txt", "\n\n".join(paragraphs)))
    assert "\n\n".join(documents) == "\n\n".join(paragraphs)
    assert all(PARAGRAPHS_CHARACTERS <= len(document) < PARAGRAPHS_CHARACTERS + 600 for document in documents[:-1])


def test_long_sections_are_cut_at_blank_lines(tmp_path: Path) -> None:
    chapter = "\n\n".join("word " * 200 for _ in range(60))
    documents = read(write(tmp_path / "a.txt", f"{chapter}\n\n\n{chapter}"))
    assert len(documents) > 4
    assert max(map(len, documents)) < SECTION_CHARACTERS + 1_100


def test_one_endless_line_is_cut_and_nothing_lost(tmp_path: Path) -> None:
    text = "the quick brown fox ä " * 20_000
    documents = read(write(tmp_path / "a.txt", text))
    assert "".join(documents).replace(" ", "") == text.replace(" ", "")
    assert len(documents) >= 6


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", b"\xef\xbb\xbfOne.\r\n\r\n\r\nTwo.\r\n")) == ["One.", "Two."]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"good\nbad \xff here\n", ["line 2", "bytes 5 to", "UTF-8", "iconv"]),
        (b"cut in a character \xc3", ["line 1", "UTF-8"]),
        ("text".encode("utf-16"), ["UTF-16", "iconv"]),
        (b"\x7fELF\0\0\0\0", ["binary"]),
        (b" \n\n \n", ["no text"]),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, words: list[str]) -> None:
    message = refusal(write(tmp_path / "a.txt", content))
    assert all(word in message for word in ["a.txt", *words]), message


# ------------------------------------------------------------------------------------------------------ gz


def test_compressed_files_read_alike(tmp_path: Path) -> None:
    for name, content in {"a.txt": "One.\n\n\nTwo.", "b.jsonl": '{"text": "x"}', "c.csv": "text\nx\n"}.items():
        plain = read(write(tmp_path / name, content))
        assert read(write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))) == plain
    tabs = write(tmp_path / "d.tsv.gz", gzip.compress(b"id\ttext\n1\ta,b\n"))
    assert read(tabs) == ["a,b"]


@pytest.mark.parametrize("content", [gzip.compress(os.urandom(9999))[:-900], b"not packed at all"])
def test_damaged_gzip(tmp_path: Path, content: bytes) -> None:
    assert "gzip" in refusal(write(tmp_path / "a.jsonl.gz", content))


# ------------------------------------------------------------------------------------------------------ jsonl


def test_jsonl_objects_strings_nulls_and_blanks(tmp_path: Path) -> None:
    lines = ['{"text": "One\\nline", "id": 1}', "", '{"id": 2, "text": null}', '{"text": " "}', '"Two"']
    assert read(write(tmp_path / "a.jsonl", "\ufeff" + "\n".join(lines))) == ["One\nline", "Two"]


def test_jsonl_of_strings_has_no_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '"One"\n"Two"\n')
    assert resolve_column([file], None) is None
    assert read(file) == ["One", "Two"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a"}\n\n{"text": \n', ["line 3", "not JSON"]),
        ('{"text": "a"}\n{"body": "b"}\n', ["line 2", "'text'", "body"]),
        ('{"text": "a"}\n{"text": 7}\n', ["line 2", "int", "--text-column"]),
        ('[{"text": "a"}]\n', ["line 1", "list", "jq"]),
        ('{"text": "\\ud83d"}\n', ["line 1", "half a character"]),
        ("[" * 100_000, ["line 1", "not JSON"]),
    ],
)
def test_broken_jsonl(tmp_path: Path, content: str, words: list[str]) -> None:
    message = refusal(write(tmp_path / "a.jsonl", content))
    assert all(word in message for word in ["a.jsonl", *words]), message


# ------------------------------------------------------------------------------------------------------ csv and tsv


def test_csv_with_quotes_line_ends_and_huge_fields(tmp_path: Path) -> None:
    huge = "x" * 300_000  # beyond the csv module's own limit
    content = f'\ufeffid,text\r\n1,"He said ""no"",\r\nand left."\r\n\r\n2,\r\n3,"{huge}"\r\n'
    assert read(write(tmp_path / "a.csv", content)) == ['He said "no",\r\nand left.', huge]


def test_tsv(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.tsv", "id\ttext\n1\tone, two\n")) == ["one, two"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,text\n1,a\n2,b,c\n", ["line 3", "3 fields", "header has 2"]),
        ('id,text\n1,"never closed\n2,b\n', ["line 3", "quote"]),
        ('id,text\n1,"a" b\n', ["line 2", "quote"]),
        ("id;text\n1;a\n", ["no commas"]),
        ("id,text\n", ["no column of text", "id, text"]),
        ("id,text\n1,\xff", ["line 2"]),
    ],
)
def test_broken_csv(tmp_path: Path, content: str, words: list[str]) -> None:
    message = refusal(write(tmp_path / "a.csv", content.encode("latin-1")))
    assert all(word in message for word in ["a.csv", *words]), message


# ------------------------------------------------------------------------------------------------------ parquet


def write_table(path: Path, columns: dict[str, pa.Array | list], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_parquet_string_types(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["One", None, "", "Two"], pa.string()).cast(kind)
    file = write_table(tmp_path / "a.parquet", {"id": [1, 2, 3, 4], "story": texts}, row_group_size=2)
    assert read(file) == ["One", "Two"]


def test_parquet_errors(tmp_path: Path) -> None:
    whole = write_table(tmp_path / "a.parquet", {"id": [1, 2], "text": ["One", "Two"]})
    assert "'id' of" in refusal(whole, "id")
    for content in (whole.read_bytes()[:-20], b"PAR1 and then nothing", b"\0" * 100):
        assert "no whole parquet file" in refusal(write(tmp_path / "b.parquet", content))
    numbers = write_table(tmp_path / "c.parquet", {"id": [1], "size": [2.0]})
    assert "no column of text" in refusal(numbers) and "id, size" in refusal(numbers)


def test_parquet_with_invalid_utf8(tmp_path: Path) -> None:
    offsets, data = pa.array([0, 4, 6], pa.int32()).buffers()[1], pa.py_buffer(b"good\xff\xfe")
    text = pa.StringArray.from_buffers(2, offsets, data)
    message = refusal(write_table(tmp_path / "a.parquet", {"text": text}))
    assert "rows 1 to 2" in message and "UTF-8" in message


READ_AND_PRINT_PEAK = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from mlx_autoresearch.corpus.local_files import read_documents

def peak_megabytes():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    # on Linux ru_maxrss begins with the peak of the process that started this one; VmHWM does not
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3

before = peak_megabytes()
print(sum(1 for _ in read_documents([Path(sys.argv[1])])), peak_megabytes() - before)
"""


def test_parquet_is_read_with_bounded_memory(tmp_path: Path) -> None:
    """A single row group of 90 MB of text must not be held at once."""
    texts = [random.hex() * 20 for random in map(os.urandom, [75] * 30_000)]
    file = write_table(tmp_path / "a.parquet", {"text": texts}, use_dictionary=False, compression="none")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", READ_AND_PRINT_PEAK, str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    count, megabytes = done.stdout.split()
    assert int(count) == 30_000
    assert float(megabytes) < 50


# ------------------------------------------------------------------------------------------------------ columns


def test_column_is_chosen_by_kind_then_by_name(tmp_path: Path) -> None:
    only = write(tmp_path / "a.csv", "score,remark\n1,good\n2.5e3,bad\n")
    assert resolve_column([only], None) == "remark"
    usual = write(tmp_path / "b.jsonl", json.dumps({"title": "t", "Content": "c", "review": "r"}))
    assert resolve_column([usual], None) == "Content"
    assert resolve_column([usual], "title") == "title"


def test_column_that_can_not_be_chosen_lists_them(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "left,right\na,b\n")
    assert "left, right" in refusal(file) and "--text-column" in refusal(file)
    assert "'middle'" in refusal(file, "middle") or "left, right" in refusal(file, "middle")


def test_files_with_different_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text\nx\n")
    write(tmp_path / "b.jsonl", '{"body": "x"}')
    message = refusal(tmp_path)
    assert "b.jsonl" in message and "'text'" in message and "body" in message


def test_column_for_files_without_columns(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="leave out --text-column"):
        resolve_column([write(tmp_path / "a.txt", "x")], "text")


def test_folder_of_all_formats(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text\nfrom csv\n")
    write(tmp_path / "b.jsonl", '{"text": "from jsonl"}')
    write_table(tmp_path / "c.parquet", {"text": ["from parquet"]})
    write(tmp_path / "d.md", "from md")
    assert read(tmp_path) == ["from csv", "from jsonl", "from parquet", "from md"]
    assert text_bytes(list_files(tmp_path), "text") > 30
    write(tmp_path / "e.txt.gz", gzip.compress(b"x"))
    assert text_bytes(list_files(tmp_path), "text") is None


# ------------------------------------------------------------------------------------------------------ real samples


def test_real_reviews(samples: Path) -> None:
    """The text column is found among numeric ones; its reviews have quotes, commas, and line ends."""
    files = list_files(samples / "reviews_sample.csv")
    assert resolve_column(files, None) == "text"
    documents = list(read_documents(files))
    assert len(documents) > 1000
    assert documents[0].startswith("While the original titillates") and "\n\nThere was promise" in documents[0]


def test_real_table_without_prose(samples: Path) -> None:
    message = refusal(samples / "diamonds.csv")
    assert "cut, color, clarity" in message and "--text-column" in message


def test_real_stories(samples: Path) -> None:
    files = list_files(samples / "tinystories_sample.parquet")
    documents = list(read_documents(files))
    assert len(documents) == 9906
    size = sum(len(document.encode()) for document in documents)
    assert text_bytes(files, "text") == pytest.approx(size, rel=0.05)
