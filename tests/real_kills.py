"""The real loop, killed with SIGKILL at random instants of every stage and started again at once (Linux).

Part of `python -m tests.survival`. The training file is `tiny_train.py`, whose score depends on the seed alone, and the
search agent proposes what follows from the scores: so a night that was killed a hundred times has to come to the
scores, descriptions and statuses of one that nobody disturbed. Runs begin at other times in it, and a verdict weighs
how far apart they are: what is `ESTIMATED` from that may differ a little. Stages are found by the files that begin
them.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_autoresearch.dataset import Dataset, prepare_dataset
from mlx_autoresearch.history import Night
from mlx_autoresearch.process_tree import all_processes, descendants
from tests.fault_report import Report
from tests.night_state import consistent, end_state, survivors
from tests.small_project import make_project

TAG = "t"

BUDGET_SECONDS = 25
"""Never used up: the tiny file takes its steps in less than a second. So short that it is practice, or the loop would
wait for the machine to be as usual, which it never is while processes are killed and started again."""

LIFE_SECONDS = 240.0
"""A loop that does not come to the stage that is waited for within this time hangs."""

ORPHAN_SECONDS = 3.0
"""What a killed loop had started may live so long."""

POLL_SECONDS = 0.004

MEASURED = ("footprint_bytes", "started", "threads")
"""Facts of a run besides `night_state.TIMES` that are different in every real night."""

ESTIMATED = ("sentence", "interval", "incumbent_bpb", "probability_better", "noise", "expected_gain", "gain_error")
ESTIMATED += ("claimed_gain", "claimed_gain_half_width")
ESTIMATED_SHARE, ESTIMATED_BITS = 0.1, 2e-3
"""What a verdict estimates from scores and times, and how far it may be off where runs began at other times: as a
share, and in bits per byte (these scores are about 7)."""

TINY = Path(__file__).with_name("tiny_train.py")


@dataclass(frozen=True)
class Stage:
    """Where to kill.

    Attributes:
        name: for the table.
        begins: what has to be true, one after the other, before it has begun.
        seconds: the kill comes at a random time up to so much later.
        share: how often it is chosen, against the others.
    """

    name: str
    begins: tuple[Callable[[RealNight], bool], ...]
    seconds: float
    share: int = 2


@dataclass
class RealNight:
    """A night of the real loop in a copy of the project.

    Attributes:
        project: the copy.
        cache: where its processes keep compiled kernels.
        records: content of every record that was ever seen, by path: none may change or vanish.
        loop: the process of the present life.
        seen, probes_seen: what was there when this life began, so that a stage is one of its own.
        orphans: what killed lives had started, with the time of the kill.
        longest_orphan: seconds that any of it lived on.
    """

    project: Path
    cache: Path
    experiments: int
    records: dict[Path, Any] = field(default_factory=dict)
    loop: subprocess.Popen | None = None
    seen: dict[Path, int] = field(default_factory=dict)
    probes_seen: set[Path] = field(default_factory=set)
    orphans: dict[int, tuple[str, float]] = field(default_factory=dict)
    longest_orphan: float = 0.0

    @property
    def root(self) -> Path:
        """The folder of the night."""
        return self.project / "runs" / TAG

    def start(self) -> None:
        """Begin a life."""
        command = [sys.executable, "-m", "mlx_autoresearch.loop", "--agent", "search", "--tag", TAG]
        command += ["--budget", str(BUDGET_SECONDS), "--experiments", str(self.experiments)]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.project), "MLX_DISABLE_COMPILE": "1"}
        environment["MLX_AUTORESEARCH_CACHE"] = str(self.cache)
        self.seen = {path: _stamp(path) for path in [*self.root.glob("*"), *self.root.glob("experiments/**/*")]}
        self.probes_seen = set(self.cache.glob("probe-*"))
        with (self.project.parent / "said").open("ab") as said:
            self.loop = subprocess.Popen(
                command, cwd=self.project, env=environment, stdout=said, stderr=said, start_new_session=True
            )

    def new(self, pattern: str) -> bool:
        """Whether something in the night's folder that fits has appeared, or was made anew, in this life."""
        return any(_stamp(path) not in (0, self.seen.get(path)) for path in self.root.glob(pattern))

    def run_until(self, stage: Stage, chance: random.Random) -> bool:
        """Wait for a random instant of a stage; False when the loop has ended before."""
        deadline = time.monotonic() + LIFE_SECONDS
        for begins in stage.begins:
            while not begins(self):
                if self.loop.poll() is not None:
                    return False
                if time.monotonic() > deadline:
                    raise AssertionError(f"the loop hangs before {stage.name}: {self.last_words()}")
                self.look_at_orphans()
                time.sleep(POLL_SECONDS)
        time.sleep(chance.uniform(0.0, stage.seconds))
        return self.loop.poll() is None

    def kill(self, how: str, chance: random.Random) -> None:
        """SIGKILL the loop: alone, with its process group, or after one of its children."""
        send = os.killpg if how == "group" else os.kill
        send(self.loop.pid, signal.SIGSTOP)  # this is the instant; what it has started is looked up in peace
        started = self.started()
        if how == "child" and started:
            _kill(chance.choice(list(started)))
        send(self.loop.pid, signal.SIGKILL)
        self.loop.wait()
        self.orphans |= {number: (birth, time.monotonic()) for number, birth in started.items()}

    def started(self) -> dict[int, str]:
        """The living processes that the loop has started, however deep, with their times of birth."""
        numbers = descendants(self.loop.pid, all_processes())
        return {number: birth for number in numbers if (birth := birth_of(number))}

    def look_at_orphans(self) -> None:
        """Forget those that are gone, and note how long they lived."""
        for number, (birth, since) in list(self.orphans.items()):
            age = time.monotonic() - since
            if birth_of(number) != birth:
                del self.orphans[number]
            else:
                self.longest_orphan = max(self.longest_orphan, age)

    def finish(self) -> int:
        """Let this life come to its end; its exit status."""
        self.loop.wait(20 * LIFE_SECONDS)
        return self.loop.returncode

    def last_words(self) -> str:
        """The end of what all lives said."""
        return (self.project.parent / "said").read_text(errors="replace")[-3000:]

    def lost_records(self) -> list[str]:
        """Records that were seen earlier and are gone, changed or torn; new ones are remembered."""
        if not (self.root / "identity.json").exists():
            return []
        night = Night.read(self.root)
        faults = [*night.damage, *night.skipped.values()]
        there = {}
        for name in ("proposal.json", "train_mlx.py", "verdict.json", "commit.txt", "runs/*/result.json"):
            for path in self.root.glob(f"experiments/[0-9][0-9][0-9][0-9]/{name}"):
                there[path] = _content(path)
        for path, content in self.records.items():
            if there.get(path) != content:
                faults.append(f"{path.relative_to(self.root)} was {content!r}, is {there.get(path)!r}")
        self.records |= there
        return faults


def _content(path: Path) -> Any:
    """A record; test_bpb may come later, in the closer look before a keep."""
    text = path.read_text()
    return {**json.loads(text), "test_bpb": None} if path.name == "result.json" else text


def _kill(number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def _stamp(path: Path) -> int:
    """What tells a file or folder from a later one of the same name; 0 where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return 0
    return hash((facts.st_ino, facts.st_mtime_ns))


def birth_of(number: int) -> str | None:
    """When a living process was born, None where there is none."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def appears(pattern: str) -> Callable[[RealNight], bool]:
    """The condition that something new is in the night's folder."""
    return lambda night: night.new(pattern)


def _is_testing(night: RealNight) -> bool:
    return not night.probes_seen.issuperset(night.cache.glob("probe-*"))


def _has_tested(night: RealNight) -> bool:
    return not _is_testing(night)


STAGES = (
    Stage("starting Python", (), 1.2),
    Stage("testing the sandbox", (_is_testing,), 1.5),
    Stage("opening the branch", (_is_testing, _has_tested), 0.3),
    Stage("going on after a kill", (appears("results.tsv"),), 0.3),
    Stage("proposal", (appears("experiments/*"),), 0.03),
    Stage("smoke run", (appears("experiments/*/smoke"),), 2.5),
    Stage("training", (appears("experiments/*/runs/*/run.json"),), 1.5, 3),
    Stage("hand-in", (appears("experiments/*/runs/*/handin.json"),), 0.2),
    Stage("scoring", (appears("experiments/*/runs/*/score.log"),), 1.5, 3),
    Stage("result, verdict", (appears("experiments/*/runs/*/result.json"),), 0.1, 3),
    Stage("commit, best/, results.tsv", (appears("experiments/*/verdict.json"),), 0.25, 4),
    Stage("best/", (appears("best.*"),), 0.02),
)

WAYS = ("loop", "loop", "group", "child")

DECIMAL = re.compile(r"\d+\.\d+")


def tiny_dataset(folder: Path) -> Dataset:
    """A small prepared dataset."""
    from mlx_autoresearch.corpus import Source
    from tests.conftest import simple_documents

    os.environ["MLX_AUTORESEARCH_DATA"] = str(folder)
    documents = simple_documents()
    return prepare_dataset(Source("simple", {"kind": "test"}, lambda: iter(documents), None))


def real_nights(kills: int, experiments: int, seed: int) -> int:
    """Kill real nights so often; prints a table and returns how many faults were found."""
    report, chance = Report(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="survival-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        dataset, cache = tiny_dataset(folder / "data"), folder / "cache"
        cache.mkdir()
        reference = new_night(folder / "reference", dataset, cache, experiments)
        started = time.monotonic()
        reference.start()
        if reference.finish() != 0 or (faults := consistent(reference.root, reference.project)):
            raise AssertionError(f"an undisturbed night fails: {faults} {reference.last_words()}")
        wanted = real_end_state(reference)
        statuses = [facts["verdict"]["status"] for facts in wanted["experiments"].values()]
        print(f"An undisturbed real night took {time.monotonic() - started:.0f} s: {', '.join(statuses)}.", flush=True)
        done, number, longest = 0, 0, 0.0
        while done < kills:
            number += 1
            night = new_night(folder / f"killed-{number}", dataset, cache, experiments)
            done += kill_a_night(night, kills - done, chance, report, wanted)
            longest = max(longest, night.longest_orphan)
        report.add("a child alone", *kill_children(new_night(folder / "children", dataset, cache, experiments), chance))
    report.show("The real loop, killed and started again", "kills")
    print(f"{number} nights; what a killed loop had started lived on for at most {longest:.1f} s.")
    return report.found


def new_night(folder: Path, dataset: Dataset, cache: Path, experiments: int) -> RealNight:
    """A copy of the project with the tiny training file."""
    folder.mkdir()
    return RealNight(make_project(folder / "clone", dataset, TINY.read_text()), cache, experiments)


def kill_a_night(night: RealNight, most: int, chance: random.Random, report: Report, wanted: dict[str, Any]) -> int:
    """Kill a night until it is through or was killed `most` times; returns how often it was."""
    stages = [stage for stage in STAGES for _ in range(stage.share)]
    kills, last = 0, "the end"
    night.start()
    while kills < most:
        stage = chance.choice(stages)
        if not night.run_until(stage, chance):
            break
        night.kill(chance.choice(WAYS), chance)
        kills, last = kills + 1, stage.name
        report.add(stage.name, 1, 1, night.lost_records())
        if kills % 20 == 0:
            print(f"{kills} kills, {len(list(night.root.glob('experiments/*')))} experiments", flush=True)
        night.start()
    report.add("the end", 0, 1, end_of_night(night, wanted, last))
    return kills


def kill_children(night: RealNight, chance: random.Random) -> tuple[int, int, list[str]]:
    """Kill what the loop has started, now and then, and let the loop live: kills, lives and what is wrong in the end.

    Experiments may fail so, and the night goes on. A baseline that is killed would end it, rightly, so that is spared.
    The second life makes up for commits whose git was killed.
    """
    kills = 0
    night.start()
    while night.loop.poll() is None and not night.new("experiments/0001"):
        time.sleep(0.1)
    while night.loop.poll() is None:
        time.sleep(chance.uniform(0.2, 6.0))
        if started := night.started():
            _kill(chance.choice(list(started)))
            kills += 1
    faults = [] if night.loop.returncode == 0 else [f"it ended with {night.loop.returncode}: {night.last_words()}"]
    night.start()
    faults += [] if night.finish() == 0 else [f"it ended with {night.loop.returncode}: {night.last_words()}"]
    return kills, 2, faults + consistent(night.root, night.project)


def end_of_night(night: RealNight, wanted: dict[str, Any], last: str) -> list[str]:
    """Let a night come to its end; what is wrong with it then."""
    if night.finish() != 0:
        return [f"after a kill at {last} the loop ends with {night.loop.returncode}: {night.last_words()}"]
    faults = [*night.lost_records(), *consistent(night.root, night.project)]
    if not faults:
        there = real_end_state(night)
        faults = list(differences(there, wanted))
    night.look_at_orphans()
    if night.longest_orphan > ORPHAN_SECONDS:
        faults.append(f"a process outlived its loop by {night.longest_orphan:.1f} s")
    faults += [f"process {words} lives on" for words in survivors(str(night.project))]
    left = [
        *night.cache.glob("probe-*-*"),
        *night.cache.glob("sandbox/scoring-*"),
        *night.cache.glob("sandbox/making-*"),
    ]
    return faults + [f"{path} is left" for path in left]


def real_end_state(night: RealNight) -> dict[str, Any]:
    """The end state without the logs of failed runs, which hold times, and without the models' bytes."""
    state = end_state(night.root, night.project)
    for facts in state["experiments"].values():
        facts["verdict"]["details"] = {}
        for run in facts["runs"].values():
            for name in MEASURED:
                run.pop(name)
    best = {name: content.decode() for name, content in state["best"].items() if not name.startswith("model")}
    return state | {"best": best | {"score.json": json.loads(best["score.json"])}}


def differences(there: Any, wanted: Any, where: str = "the night") -> Iterator[str]:
    """Where two end states are not the same, a sentence each."""
    if isinstance(wanted, dict) and isinstance(there, dict) and wanted.keys() == there.keys():
        for name in wanted:
            if not (name in ESTIMATED and _is_close(there[name], wanted[name])):
                yield from differences(there[name], wanted[name], f"{where}, {name}")
    elif isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        for number, pair in enumerate(zip(there, wanted, strict=True)):
            yield from differences(*pair, f"{where}, {number}")
    elif there != wanted:
        yield f"{where}: {there!r} is not {wanted!r}"


def _is_close(there: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(there, float):
        return math.isclose(there, wanted, rel_tol=ESTIMATED_SHARE, abs_tol=ESTIMATED_BITS)
    if isinstance(wanted, str) and isinstance(there, str) and DECIMAL.split(there) == DECIMAL.split(wanted):
        pairs = zip(DECIMAL.findall(there), DECIMAL.findall(wanted), strict=True)
        return all(_is_close_decimal(*pair) for pair in pairs)
    return False


def _is_close_decimal(there: str, wanted: str) -> bool:
    """Whether two rounded numbers are close, their last place included."""
    last_place = 10.0 ** -len(wanted.partition(".")[2])
    return math.isclose(float(there), float(wanted), rel_tol=ESTIMATED_SHARE, abs_tol=1.01 * last_place)
