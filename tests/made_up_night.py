"""A whole night in half a second: the loop's own `main`, real files and real git, but nothing is trained.

A night lives in a forked process, so that it can be killed, or refused a write, at any of its file operations
(`Fault`), and started again. Everything in it is deterministic, so two nights must end in the same state to the bit.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from mlx_autoresearch import briefings, conditions_meter, loop, machine, machine_watch
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.files import write_json
from mlx_autoresearch.fixed_files import FixedFiles
from mlx_autoresearch.knobs import read_knobs, write_knobs
from mlx_autoresearch.records import Proposal, RunResult
from mlx_autoresearch.sandbox import NO_SANDBOX
from mlx_autoresearch.sandbox.choice import Choice
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

TAG = "t"

SOURCE = """\
from prepare import hand_in, run

FIRST = 0.5   # {0.001..1.0 log}

SECOND = 0.5  # {0.001..1.0 log}

THIRD = 0.5   # {0.001..1.0 log}

FOURTH = 0.5  # {0.001..1.0 log}


def build_model():
    return FIRST + SECOND + THIRD + FOURTH


def main():
    hand_in(build_model())


run(main)
"""

EDITS = ("FIRST 0.2", "SECOND 0.9", "THIRD 0.51", "fails in smoke", "fails in training", "FOURTH 0.05")
"""A keep, a discard, one that is lucky once, two failures, and a keep again: in whatever order they are
thought of, they come to the same files."""

STATUSES = ("keep", "keep", "discard", "inconclusive", "crash", "crash", "keep")
"""What must come of the baseline and of the edits."""

FREEING = {"os.rename", "os.remove", "os.rmdir"}

CHANGES = {"os.mkdir", *FREEING}

GIT = "subprocess.Popen"

DEVICES = ("/dev/null", "/dev/tty")

BROKEN = 70
"""Exit status of a life that ended in a traceback."""


class MadeUpLaboratory:
    """Scores a file by its knobs and the seed, and leaves the files that a run leaves."""

    budget_seconds = 300.0

    def __init__(self, on_run: Callable[[], None] = lambda: None) -> None:
        """`on_run` is called in the middle of every run."""
        self._on_run = on_run

    def smoke(self, training_file: Path, folder: Path) -> RunResult | None:
        """Leave a log, and fail where the file says so."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.log").write_text("smoke\n")
        if "fails in smoke" in training_file.read_text():
            return RunResult(0, failure="python error", reason="ValueError: no")
        (folder / "run.log").unlink()
        folder.rmdir()
        return None

    def run(self, training_file: Path, folder: Path, seed: int, splits: tuple[str, ...]) -> RunResult:
        """Leave a curve and a model."""
        write_json(folder / "run.json", {"seed": seed})
        (folder / "curve.jsonl").write_text('{"step": 1, "seconds": 1.0, "tokens": 10, "loss": 2.0}\n')
        self._on_run()
        source = training_file.read_text()
        if "fails in training" in source:
            return RunResult(seed, failure="nan", reason="the loss is nan")
        for name in ("model.mlxfn", "model.safetensors"):
            (folder / name).write_text(f"{name} of {training_file.parent.name}, seed {seed}")
        knobs = read_knobs(source, 0)
        bpb = 1 + sum(abs(knob.value - 0.05) for knob in knobs.values()) + 0.0001 * (seed % 3)
        if seed == 1 and knobs["THIRD"].value == 0.51:
            bpb -= 0.02
        test_bpb = bpb + 0.01 if "test" in splits else None
        return RunResult(seed, val_bpb=round(bpb, 6), test_bpb=test_bpb, tokens=10, steps=1, vocab_size=1024)

    def score(self, folder: Path, result: RunResult, splits: list[str], every_cut: bool) -> RunResult:
        """The closer look before a keep."""
        (folder / "score.log").write_text("{}\n")
        return RunResult(**{**vars(result), "test_bpb": round(result.val_bpb + 0.01, 6)})


class Script:
    """Proposes EDITS in order; which is next is read off the history, so that a kill changes nothing."""

    name = "search"

    def __init__(self, thinks_ahead: bool = False) -> None:
        self.thinks_ahead = thinks_ahead

    def propose(self, briefing: Briefing) -> Proposal:
        """The next edit."""
        known = {entry.description for entry in briefing.history} | {entry.description for entry in briefing.waiting}
        edit = next((edit for edit in EDITS if edit not in known), None)
        if edit is None:
            raise AutoresearchError("nothing is left to propose")
        if edit.startswith("fails"):
            source = briefing.source.replace("    return FIRST", f"    assert {edit!r}\n    return FIRST")
        else:
            name, value = edit.split()
            source = write_knobs(briefing.source, {name: float(value)}, 0)
        return Proposal(source, edit, "it should help", agent=self.name, parent=briefing.incumbent)

    def close(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True)
class Fault:
    """What befalls a night at one of its operations, counted from 1: writing, mkdir, rename, remove, starting git.

    Attributes:
        at: number of the operation.
        kind: "kill" ends the process just before it, "torn" after half a write; an `errno` makes it fail.
        lasts: whether all later ones fail as well, as on a full disk.
    """

    at: int
    kind: str | int
    lasts: bool = False


@dataclass(frozen=True)
class Life:
    """How one life of a night ended.

    Attributes:
        status: exit status; negative is the signal that ended it.
        operations: what it did, in order.
        said: what it printed.
    """

    status: int
    operations: list[str]
    said: str


def make_project(folder: Path) -> Path:
    """A git repository with a training file; returns `folder`."""
    folder.mkdir(parents=True)
    (folder / "train_mlx.py").write_text(SOURCE)
    (folder / "program.md").write_text("the program\n")
    (folder / ".gitignore").write_text("runs/\ncache/\n")
    (folder / "tokenizer.json").write_text("{}")
    identity = ("-c", "user.name=A", "-c", "user.email=a@localhost")
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-qm", "start"]):
        subprocess.run(["git", "-C", folder, *command], check=True, capture_output=True)
    return folder


def live(project: Path, fault: Fault | None = None, around: Callable[[], None] = lambda: None) -> Life:
    """One life of the night in `project`: until its end, its death or its refusal.

    Args:
        project: made by `make_project`; the night is in its runs/t.
        fault: what befalls it.
        around: called in the forked process before the night starts, to change something there.
    """
    said, done = project.with_name("said"), project.with_name("operations")
    for path in (said, done):
        path.write_text("")
    child = os.fork()
    if child == 0:
        status = BROKEN
        try:
            output, log = (os.open(path, os.O_WRONLY | os.O_APPEND) for path in (said, done))
            for stream in (1, 2):
                os.dup2(output, stream)
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            _make_up_the_world(project)
            around()
            _watch_operations(fault, log)
            status = _status_of_main()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Life(status, done.read_text().splitlines(), said.read_text(errors="replace"))


def _status_of_main() -> int:
    try:
        run_command_line(loop.main)
    except SystemExit as ended:
        return ended.code
    return BROKEN


def _make_up_the_world(project: Path) -> None:
    """Replace what would train, measure this machine or read a real dataset; for a process that ends with the night."""
    splits = {"train": {"text_bytes": 4, "tokens": {str(size): 1 for size in VOCAB_SIZES}}}
    dataset = SimpleNamespace(
        name="simple",
        fingerprint="f" * 64,
        folder=project,
        manifest={"splits": splits},
        verify=lambda: None,
        tokenizer_file=lambda size: project / "tokenizer.json",
    )
    environment = {
        "MLX_AUTORESEARCH_RUNS": str(project / "runs"),
        "MLX_AUTORESEARCH_CACHE": str(project / "cache"),
        "HOME": str(project),
        "PATH": os.environ["PATH"],
    }
    sys.argv = ["loop", "--agent", "search", "--tag", TAG, "--experiments", str(len(EDITS))]
    mock.patch.dict(os.environ, environment, clear=True).start()
    for module, name, value in (
        (loop, "PROJECT", project),
        (briefings, "PROJECT", project),
        (loop, "open_or_make_dataset", lambda name, terminal: dataset),
        (loop, "choose", lambda: Choice(NO_SANDBOX, ("none is needed",), "nothing to do")),
        (loop, "make_agent", lambda name, options: Script()),
        (loop, "Laboratory", lambda *_: MadeUpLaboratory()),
        (loop, "FixedFiles", SimpleNamespace(of=lambda *_: FixedFiles(project, {}, project, {}, ""))),
        (loop, "NightClock", SimpleNamespace(after=lambda night: SimpleNamespace(now=lambda: 1_795_557_600.0))),
        (loop, "update_report", lambda *_: None),  # files that are written anew each time and decide nothing
        (loop, "rewrite_report", lambda *_, **__: None),
        (machine_watch, "run_probe", lambda: None),
        (conditions_meter, "read_counters", lambda: None),
        (machine, "identity", lambda: "a machine"),
        (machine, "machine_class", lambda: 0),
    ):
        mock.patch.object(module, name, value).start()


def _watch_operations(fault: Fault | None, log: int) -> None:
    """From now on write every file operation of this process to `log`, and let `fault` befall it."""
    seen = 0
    busy = False

    def watch(event: str, facts: tuple) -> None:
        nonlocal seen, busy
        if busy or not _is_change(event, facts):
            return
        busy = True  # what is done here is no operation of the night
        try:
            seen += 1
            target = os.fsdecode(facts[0]) if event != GIT else " ".join(map(str, facts[1][-3:]))
            os.write(log, f"{event} {target}\n".encode())
            if fault is not None and (seen == fault.at or (fault.lasts and seen > fault.at)):
                _befall(fault, event, facts)
        finally:
            busy = False

    sys.addaudithook(watch)


def _is_change(event: str, facts: tuple) -> bool:
    if event == "open":
        named = isinstance(facts[0], str | bytes | os.PathLike) and os.fsdecode(facts[0]) not in (
            "/dev/null",
            "/dev/tty",
        )
        return named and bool(facts[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES or event == GIT


def _befall(fault: Fault, event: str, facts: tuple) -> None:
    if fault.kind in ("torn", errno.ENOSPC) and event == "open":
        with suppress(OSError), open(facts[0], "ab" if facts[2] & os.O_APPEND else "wb") as file:
            file.write(b'{"torn')
    if isinstance(fault.kind, str):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.kind == errno.ENOSPC and event in FREEING:
        return
    place = (os.fsdecode(facts[0]),) if event in CHANGES or fault.kind != errno.ENOSPC else ()
    raise OSError(fault.kind, os.strerror(fault.kind), *place)  # a write that fails doesn't name its file
