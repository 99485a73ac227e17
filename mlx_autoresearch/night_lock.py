"""The lock that keeps a second loop away from a night."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from mlx_autoresearch.errors import AutoresearchError

ELSEWHERE = "make room and that folder writable, or keep runs elsewhere: MLX_AUTORESEARCH_RUNS"


class NightLock:
    """Keeps a second loop away from a tag. The operating system holds the lock, so none is ever left behind by a kill.

    The lock belongs to the open file: a child that is forked without `exec` would hold it too; `subprocess` is fine.
    """

    def __init__(self, root: Path) -> None:
        """`root` is runs/<tag>; it is made when missing."""
        self.path = root / "lock"

    def __enter__(self) -> NightLock:
        """Take the lock.

        Raises:
            AutoresearchError: another process holds it, or the file can't be locked.
        """
        self._is_new = not self.path.exists()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise AutoresearchError(f"the lock {self.path} can't be opened: {error.strerror}; {ELSEWHERE}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.path.exists() or not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                raise BlockingIOError  # a loop that was refused removed the file in this very moment
        except BlockingIOError:
            holder = self._holder()
            self._file.close()
            raise AutoresearchError(
                f"another loop ({holder}) is working on this tag ({self.path.parent}); wait for it, stop it, or choose "
                "another --tag"
            ) from None
        except OSError as error:
            self._file.close()
            raise AutoresearchError(
                f"{self.path} can't be locked ({error.strerror}); keep runs on a local disk: MLX_AUTORESEARCH_RUNS"
            ) from None
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with suppress(OSError):  # on a full disk the lock holds all the same, and only its holder has no name
            self._file.truncate(0)
            json.dump({"pid": os.getpid(), "started": started}, self._file)
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the lock back; the file stays, unless the night was refused before anything else was made."""
        if error is not None and self._is_new and os.listdir(self.path.parent) == [self.path.name]:
            with suppress(OSError):  # another loop was quicker, or the disk is read-only: what happened is told already
                self.path.unlink()
                self.path.parent.rmdir()
        self._file.close()

    def _holder(self) -> str:
        try:
            self._file.seek(0)
            holder = json.load(self._file)
            return f"process {int(holder['pid'])}, since {holder['started']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "process unknown"
