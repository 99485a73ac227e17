"""Files that are either whole or absent: every result is written under a temporary name, flushed, then renamed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".partial"


def flush_to_disk(descriptor: int) -> None:
    """Flush a file to the drive itself; on macOS `fsync` alone stops at the drive's cache, F_FULLFSYNC does not."""
    full_fsync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_fsync is not None:
        with suppress(OSError):  # some network file systems refuse it; plain fsync below still works there
            fcntl.fcntl(descriptor, full_fsync)
            return
    os.fsync(descriptor)


def flush_folder(folder: Path) -> None:
    """Make a rename or creation inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can flush a folder; the rename itself is still atomic
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it is flushed and renamed, otherwise removed.

    The temporary name ends like the real one, because some writers choose the format by it.
    """
    temporary = path.with_name(path.stem + TEMPORARY_SUFFIX + path.suffix)
    try:
        yield temporary
        with temporary.open("rb") as file:
            flush_to_disk(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` atomically, line ends as they are."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def append_line(path: Path, line: str) -> None:
    """Append one line of UTF-8 text to `path` and flush it to the drive.

    A line that an earlier kill tore is closed first, so that it spoils nothing but itself.
    """
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
            file.write(b"\n" if torn else b"")
        file.write(line.encode("utf-8") + b"\n")
        file.flush()
        flush_to_disk(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically; NaN and infinity raise ValueError: unknown is null."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
