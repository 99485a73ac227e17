"""Files that are either whole or absent: every result is written under a temporary name, flushed, then renamed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

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
def errors_naming(path: Path) -> Iterator[None]:
    """An OSError of the block names `path` where it names no file: a write that fails doesn't say which."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it is flushed and renamed, otherwise removed.

    The temporary name ends like the real one, because some writers choose the format by it.
    """
    temporary = path.with_name(path.stem + TEMPORARY_SUFFIX + path.suffix)
    try:
        with errors_naming(path):
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
    with errors_naming(path), path.open("ab+") as file:
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


def open_plain(path: Path) -> BinaryIO:
    """Open for reading what somebody else may have put there: a regular file and nothing else, without waiting.

    Raises:
        OSError: it is absent, a link (also a hard link to a file elsewhere), a pipe, a device, a socket or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
        os.close(descriptor)
        raise OSError(f"{path} is not a file of its own")
    return os.fdopen(descriptor, "rb")


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds; absent is fine.

    For what a training run left: links are removed, not followed, permissions are taken, and folders are lifted to the
    top one by one, so that no nesting is too deep. Killed in the middle, it can be called again.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    while entries := list(os.scandir(path)):
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _lift_folders(entry.path, path)
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
    path.rmdir()


def _lift_folders(folder: str, top: Path) -> None:
    os.chmod(folder, 0o700)
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)  # moving a folder writes to it
            os.rename(entry.path, top / f".removing-{os.urandom(8).hex()}")
        else:
            os.unlink(entry.path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def put_in_place(new: Path, place: Path, old: Path) -> None:
    """Let the complete folder `new` take the place of the folder `place`, which goes by way of `old`.

    A kill between the two renames leaves no `place`: who calls this puts that right at the next start.
    """
    flush_folder(new)
    if place.exists():
        os.rename(place, old)
    os.rename(new, place)
    flush_folder(place.parent)
    remove_tree(old)
