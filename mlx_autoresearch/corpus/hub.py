"""TinyStories from the Hugging Face Hub: one large file, downloaded so that no interruption costs what already arrived.

`huggingface_hub` supplies addresses, metadata, headers, and the HTTP session, and with them HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, and proxies. Its own download starts from zero in a new process, so the body
is fetched here. What arrived lies in a part file whose name carries the SHA-256 the Hub announces, and the rest is
requested by byte range at the commit that announced it: bytes of two versions can't meet in one file. (An If-Range
header would not do: the storage behind the Hub has entity tags of its own.) The whole is checked by its hash.
"""

from __future__ import annotations

import errno
import fcntl
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import build_hf_headers
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import flush_folder, flush_to_disk, sha256_of
from mlx_autoresearch.paths import data_root

Answer = TypeVar("Answer")

DISK_MARGIN_BYTES = 500_000_000
"""Disk space that must stay free beside the download: the prepared dataset goes to the same disk."""

WAYS_OUT = (
    "Try again later (what has arrived is kept, the download resumes), set HF_ENDPOINT to a mirror of the Hub, "
    "use `--dataset /path/to/file` for text you have, or `python prepare.py --dataset stories`, "
    "which needs no download."
)


@dataclass(frozen=True)
class HubFile:
    """A file of a dataset repository on the Hub, and the column of it that holds the text."""

    repo: str
    file: str
    text_column: str


TINYSTORIES = HubFile("karpathy/tinystories-gpt4-clean", "tinystories_gpt4_clean.parquet", "text")
"""The cleaned TinyStories: about 2.7 million stories, 673 MB."""


@dataclass(frozen=True)
class Patience:
    """How failing requests are repeated: `attempts` in a row without a new byte, waits doubling up to the longest."""

    attempts: int = 8
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0

    def wait_seconds(self, failures: int, error: Exception) -> float:
        """Seconds to wait after the `failures`-th failure in a row; the server's Retry-After counts, up to the cap."""
        asked = _status_header(error, "Retry-After")
        wait = float(asked) if asked.isdigit() else self.first_wait_seconds * 2.0 ** (failures - 1)
        return min(wait, self.longest_wait_seconds)


@dataclass(frozen=True)
class _Remote:
    """What the Hub says about the file: its address at a fixed commit, its SHA-256, its size in bytes."""

    url: str
    sha256: str
    size: int


def tinystories_file(patience: Patience | None = None) -> Path:
    """The TinyStories parquet file on this machine: found, or downloaded (resumed where it stopped) and verified.

    Looked for in `data_root()/downloads`, then in the cache of `huggingface_hub`; downloaded to the former.

    Raises:
        AutoresearchError: no network, offline mode, refused or unknown address, full disk, another download running,
            or a file whose hash is not the announced one (it is deleted).
    """
    target = data_root() / "downloads" / TINYSTORIES.file
    if target.exists():
        return target
    cached = _cached_by_huggingface_hub()
    if cached is not None:
        return cached
    if constants.is_offline_mode():
        raise AutoresearchError(
            f"HF_HUB_OFFLINE is set and {TINYSTORIES.file} was not downloaded before. Unset it, or use "
            "`python prepare.py --dataset stories`, which needs no download, or `--dataset /path/to/file`."
        )
    _download(target, patience or Patience())
    return target


def _cached_by_huggingface_hub() -> Path | None:
    """A copy that `huggingface_hub` downloaded earlier, if it is whole: its blobs are named by their SHA-256."""
    found = try_to_load_from_cache(TINYSTORIES.repo, TINYSTORIES.file, repo_type="dataset")
    if not isinstance(found, str):
        return None
    blob = Path(found).resolve()
    return blob if blob.name == sha256_of(blob) else None


def _download(target: Path, patience: Patience) -> None:
    """Download to `target`, continuing a part file of the same version; parts of other versions are dropped."""
    console = Console(stderr=True)
    at_first = replace(patience, attempts=min(patience.attempts, 4))  # nothing is under way yet: say soon what is wrong
    remote = _repeated(_ask_hub, at_first, console)
    part = target.with_name(f"{target.name}.{remote.sha256}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for other in target.parent.glob(f"{target.name}.*.part"):
            if other != part:
                other.unlink()
        with part.open("ab") as file:
            _lock(file, target)
            _check_disk_space(part, remote.size)
            _fetch(remote, file, patience, console)
            flush_to_disk(file.fileno())
            _verify(part, remote)
            part.replace(target)
            flush_folder(target.parent)
    except OSError as error:  # httpx2's own errors are no OSErrors: this is the disk
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise AutoresearchError(
            f"Could not write {target}: {reason}. Free space or set MLX_AUTORESEARCH_DATA to a folder on another disk; "
            "the download resumes."
        ) from None


def _ask_hub() -> _Remote:
    """Ask the Hub for the file's current version."""
    address = partial(hf_hub_url, TINYSTORIES.repo, TINYSTORIES.file, repo_type="dataset")
    metadata = get_hf_file_metadata(address())
    sha256 = metadata.etag or ""
    if not re.fullmatch("[0-9a-f]{64}", sha256) or metadata.commit_hash is None or metadata.size is None:
        raise AutoresearchError(
            f"{constants.ENDPOINT} does not say which version of {TINYSTORIES.file} it has (commit, size, SHA-256), "
            "so a download could not be checked. Unset HF_ENDPOINT, or set it to a full mirror of the Hub."
        )
    return _Remote(address(revision=metadata.commit_hash), sha256, metadata.size)


def _lock(file: BinaryIO, target: Path) -> None:
    """Hold the part file for this process; the system lets go of it however the process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AutoresearchError(
            f"Another process is downloading {target.name} into {target.parent}. Wait for it, then run this again."
        ) from None


def _check_disk_space(part: Path, size: int) -> None:
    missing = size - part.stat().st_size + DISK_MARGIN_BYTES
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise AutoresearchError(
            f"The download needs {missing / 1e9:.1f} GB in {part.parent}, where {free / 1e9:.1f} GB are free. "
            "Free space, or set MLX_AUTORESEARCH_DATA to a folder on another disk."
        )


def _fetch(remote: _Remote, file: BinaryIO, patience: Patience, console: Console) -> None:
    """Append to `file` until it has `remote.size` bytes, with a progress bar."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(TINYSTORIES.file), *columns, console=console) as progress:
        bar = progress.add_task("", total=remote.size, completed=_size(file))

        def append() -> None:
            _append(remote, file, lambda: progress.update(bar, completed=_size(file)))

        if _size(file) != remote.size:
            _repeated(append, patience, console, progress_made=lambda: _size(file))


def _append(remote: _Remote, file: BinaryIO, show: Callable[[], None]) -> None:
    """Request the bytes that `file` lacks and append them as they come.

    The session drops the token when the Hub redirects to its storage, which is another host.
    """
    have = _size(file)
    if have > remote.size:
        file.truncate(0)
        have = 0
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", remote.url, headers=headers, timeout=timeout) as response:
        response.raise_for_status()
        expected = f"bytes {have}-{remote.size - 1}/{remote.size}"
        if response.status_code != 206 or response.headers.get("Content-Range") != expected:
            if response.status_code == 206:
                raise httpx2.RemoteProtocolError(f"asked for {expected}, got {response.headers.get('Content-Range')}")
            file.truncate(0)  # the server ignored the range and sends the file from its start
        for piece in response.iter_raw():
            file.write(piece)
            file.flush()  # a kill costs no byte that arrived
            show()
    if _size(file) != remote.size:
        raise httpx2.RemoteProtocolError(f"{_size(file)} of {remote.size} bytes arrived")


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _repeated(
    request: Callable[[], Answer], patience: Patience, console: Console, progress_made: Callable[[], int] = lambda: 0
) -> Answer:
    """Repeat `request` while it fails for reasons that pass; a failure after new progress counts as the first again.

    Raises:
        AutoresearchError: it failed too often in a row, or for a reason that stays.
    """
    failures, before = 0, progress_made()
    while True:
        try:
            return request()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            after = progress_made()
            failures = 1 if after > before else failures + 1
            before = after
            if not _passes(error) or failures >= patience.attempts:
                raise AutoresearchError(_sentence(error)) from None
            wait = patience.wait_seconds(failures, error)
            console.print(f"The Hub does not answer ({_reason(error)}); next attempt in {wait:.0f} s.", style="yellow")
            time.sleep(wait)


def _status(error: Exception) -> int | None:
    """HTTP status behind an error; None when there was no answer at all."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _status_header(error: Exception, name: str) -> str:
    response = getattr(error, "response", None)
    return "" if response is None else response.headers.get(name, "")


def _passes(error: Exception) -> bool:
    """Whether the same request may succeed later: no answer, a busy server, or one in trouble."""
    if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        return False
    status = _status(error)
    return status is None or status in (408, 416, 425, 429) or status >= 500


def _reason(error: Exception) -> str:
    status = _status(error)
    return f"HTTP {status}" if status is not None else str(error) or type(error).__name__


def _sentence(error: Exception) -> str:
    status, where = _status(error), f"{TINYSTORIES.repo}/{TINYSTORIES.file}"
    if status in (401, 403):
        return (
            f"The Hub at {constants.ENDPOINT} refuses access to {where} (HTTP {status}). The dataset is public: unset "
            "HF_TOKEN (or correct it), check HF_ENDPOINT, or use `python prepare.py --dataset stories`."
        )
    if status == 404:
        return (
            f"The Hub at {constants.ENDPOINT} has no {where} (HTTP 404). Check HF_ENDPOINT, "
            "or use `python prepare.py --dataset stories`."
        )
    return f"The download of {TINYSTORIES.file} from {constants.ENDPOINT} failed ({_reason(error)}). {WAYS_OUT}"


def _verify(part: Path, remote: _Remote) -> None:
    found = sha256_of(part)
    if found == remote.sha256:
        return
    part.unlink()
    raise AutoresearchError(
        f"What arrived as {TINYSTORIES.file} is damaged (SHA-256 {found[:12]}…, announced {remote.sha256[:12]}…) "
        "and was deleted. Run this again; if it happens twice, set HF_ENDPOINT to another mirror or unset it."
    )
