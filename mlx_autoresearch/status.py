"""What the loop is doing at this moment, for whoever looks at the night: one small file, written at every new stage.

    runs/<tag>/status.json

Nothing is decided by it. A loop that was killed leaves it behind, so it names its process and when that was born: a
file whose process is gone says where the night stopped, not that it runs. Times are those of `machine.awake_seconds()`,
which is the same in every process until the machine starts anew.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from mlx_autoresearch.experiment import Progress
from mlx_autoresearch.files import write_json
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.process_tree import processes_of_proc
from mlx_autoresearch.stored_records import DamagedFileError, build_record, read_object

STATUS_FILE = "status.json"

OVER, BY_HAND, BY_ITSELF = "over", "stopped by hand", "stopped by itself"
"""How a loop ends: a limit is reached, a person stopped it, or it can't go on."""


@dataclass(frozen=True)
class Status:
    """What one loop is doing.

    Attributes:
        pid: number of its process.
        birth: when that was born, as `birth_of` has it.
        agent: name of the researcher.
        budget_seconds: training time of a run.
        ends: time at which no further experiment is started; None for no limit.
        experiments: number of decided edits after which it ends; None for no limit.
        stage: "smoke run", "run 2", "closer look" of an experiment, or in words what else is going on.
        experiment: number of the experiment that the stage belongs to; None where it belongs to none.
        phase: "smoke", "train", "score" or "sample", see `experiment.Progress`; empty before the first of a stage.
        folder: where that phase writes its learning curve, relative to runs/<tag>; empty for none.
        since: time at which the phase began, or the stage where there is no phase.
        ended: one of OVER, BY_HAND, BY_ITSELF; empty while the loop works.
        reason: why it stopped by itself, in a sentence; empty otherwise.
    """

    pid: int
    birth: str
    agent: str
    budget_seconds: float
    ends: float | None = None
    experiments: int | None = None
    stage: str = "starting"
    experiment: int | None = None
    phase: str = ""
    folder: str = ""
    since: float = 0.0
    ended: str = ""
    reason: str = ""


class StatusBoard:
    """Keeps the status of this process's loop: `status` is the newest, and the file in `root` (runs/<tag>) follows it.

    A file that can't be written is no reason to stop: what matters more will tell of a full disk.
    """

    def __init__(
        self,
        root: Path,
        agent: str,
        budget_seconds: float,
        ends: float | None = None,
        experiments: int | None = None,
    ) -> None:
        """For the arguments see `Status`."""
        self._root = root
        birth = birth_of(os.getpid()) or ""
        self.status = Status(os.getpid(), birth, agent, budget_seconds, ends, experiments, since=awake_seconds())
        self._write()

    def stage(self, stage: str, experiment: int | None = None) -> None:
        """A new stage begins; again the same one changes nothing."""
        now = self.status
        if (now.stage, now.experiment, now.phase) != (stage, experiment, ""):
            fresh = {"phase": "", "folder": "", "since": awake_seconds()}
            self.status = replace(now, stage=stage, experiment=experiment, **fresh)
            self._write()

    def progress(self, progress: Progress) -> None:
        """What a stage's child process is at; called often, and writes only when the phase is a new one."""
        folder = os.path.relpath(progress.folder, self._root)
        if (self.status.phase, self.status.folder) != (progress.stage, folder):
            since = awake_seconds() - progress.seconds
            self.status = replace(self.status, phase=progress.stage, folder=folder, since=since)
            self._write()

    def end(self, ended: str, reason: str = "") -> None:
        """The loop ends: OVER, BY_HAND or BY_ITSELF."""
        self.status = replace(self.status, ended=ended, reason=reason, since=awake_seconds())
        self._write()

    def _write(self) -> None:
        with suppress(OSError):
            write_json(self._root / STATUS_FILE, asdict(self.status))


def read_status(root: Path) -> Status | None:
    """The status of the loop that worked last on the night in `root`; None where there is none that can be read."""
    try:
        return build_record(Status, read_object(root / STATUS_FILE), root / STATUS_FILE)
    except DamagedFileError:
        return None


def is_working(status: Status | None) -> bool:
    """Whether the loop that this is the status of is at work now."""
    return status is not None and not status.ended and bool(status.birth) and birth_of(status.pid) == status.birth


def birth_of(pid: int) -> str | None:
    """When a living process was born, on a clock that nobody can set; None where there is no such process.

    On Linux in ticks since the machine was started, elsewhere (not yet run on a Mac) in seconds since 1970, as the
    system wrote them down then.
    """
    if sys.platform == "linux":
        process = processes_of_proc().get(pid)
        return None if process is None or process.dead else process.birth
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except (psutil.Error, ValueError, OverflowError):
        return None
