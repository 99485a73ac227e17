"""`python -m tests.escapes`: a hostile training file attacks this machine's sandbox in every way we could think of.

Prints a table of attempts and what became of them, and the price: how fast an honest run is inside. What the attacker
says isn't believed where the outside can tell: the files, sockets and processes around it are looked at afterwards.
Exit status 1 when anything got through, 2 where there is no sandbox to attack.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlx_autoresearch import blas, compiler, experiment, paths, process
from mlx_autoresearch.dataset import Dataset, open_dataset, prepare_dataset
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.experiment import Laboratory
from mlx_autoresearch.files import remove_tree
from mlx_autoresearch.process import tail
from mlx_autoresearch.records import RunResult
from mlx_autoresearch.sandbox import NO_SANDBOX, Sandbox
from mlx_autoresearch.sandbox.choice import candidates, choose, problem_with
from mlx_autoresearch.sandbox.jobs import kernels_of
from mlx_autoresearch.sandbox.policy import Limits, python_and_project

HOSTILE = Path(__file__).with_name("hostile_train.py")

KEY = "sk-ant-bait-0123456789"

BUDGET_SECONDS = 1.0
GRACE_SECONDS = 4.0
LOG_LIMIT_BYTES = 4 << 20
LIMITS = Limits(memory_bytes=1 << 30, processes=64, file_bytes=256 << 20, disk_bytes=256 << 20)

MAY_USE_SECONDS = BUDGET_SECONDS + GRACE_SECONDS + 15.0
"""An attack whose run takes longer than this was not stopped for certain; start-up and scoring are in it."""

HONEST_SECONDS, HONEST_PAIRS = 10.0, 4

LEAST_SPEED = 0.85
"""The best run's steps inside over the best one's outside: what else the machine does slows single runs, not the best.

The sandbox is in nobody's way once a run has started."""

ANOTHER_SCORE = ("a link where the scorer's log goes", "a link where the result goes", "folders 3000 deep",
                 "records that are no records", "live on as a daemon", "a link for a log")  # fmt: skip
"""Attacks after which an honest model may still be scored: they have to be harmless, not to fail."""


@dataclass(frozen=True)
class Row:
    """One attempt: what was tried, whether it got through, and what happened."""

    name: str
    got_through: bool
    outcome: str


class Surroundings:
    """What an attacker could want, laid out around it in a temporary folder, and a look at it afterwards."""

    def __init__(self, root: Path, dataset: Dataset) -> None:
        self.root, self.dataset = root, dataset
        self.home, self.other, self.victim = root / "home", root / "other-experiment", root / "victim"
        self.signalled = False
        for path in (".ssh/id_ed25519", "Library/Keychains/login.keychain-db", ".claude/.credentials.json", ".bashrc"):
            (self.home / path).parent.mkdir(parents=True, exist_ok=True)
            (self.home / path).write_text("secret")
        self.other.mkdir()
        for path in (self.other / "train_mlx.py", self.other / "result.json", self.victim):
            path.write_text("untouched")
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self._sockets = {"TCP": tcp, "UDP": udp, "a unix socket": unix, "an abstract unix socket": abstract}
        self.abstract = f"mlx-autoresearch-{os.getpid()}"
        addresses = (("127.0.0.1", 0), ("127.0.0.1", 0), str(root / "socket"), "\0" + self.abstract)
        for one, address in zip(self._sockets.values(), addresses, strict=True):
            if sys.platform == "linux" or one is not abstract:
                one.bind(address)
            one.setblocking(False)
            if (one.type == socket.SOCK_STREAM and one is not abstract) or (sys.platform == "linux" and one is not udp):
                one.listen()
        self._before = self._contents()

    def bait(self) -> dict:
        """What the hostile file is told: an attacker would know or guess all of it."""
        ports = [self._sockets[name].getsockname()[1] for name in ("TCP", "UDP")]
        return {
            "key": KEY,
            "home": str(self.home),
            "real_home": str(Path.home()),
            "named_in_home": named_in(Path.home()),
            "pid": os.getpid(),
            "dataset": str(self.dataset.folder),
            "other": str(self.other),
            "victim": str(self.victim),
            "project": str(paths.PROJECT),
            "compiler": str(compiler.make_wrapper()),
            "blas": str(blas.make_copy()),
            "cache": str(paths.cache_root()),
            "tcp": ports[0],
            "udp": ports[1],
            "unix": str(self.root / "socket"),
            "abstract": self.abstract,
            "memory_bytes": LIMITS.memory_bytes,
        }

    def damage(self) -> list[str]:
        """What was done to the surroundings, as seen from outside."""
        found = [f"{path} changed" for path, content in self._contents().items() if content != self._before[path]]
        for name, one in self._sockets.items():
            try:
                one.recv(1) if one.type == socket.SOCK_DGRAM else one.accept()[0].close()
            except OSError:
                continue
            found.append(f"{name} was reached")
        planted = [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), paths.cache_root()]
        found += [str(path) for folder in planted for path in folder.glob("*escaped*")]
        found += [str(path) for path in (paths.PROJECT / ".git" / "hooks").glob("*escaped*")]
        return found + (["the harness got a signal"] if self.signalled else [])

    def close(self) -> None:
        """Close the sockets."""
        for one in self._sockets.values():
            one.close()

    def _contents(self) -> dict[Path, tuple]:
        watched = [path for path in self.root.rglob("*") if path.is_file() and "experiment-" not in str(path)]
        watched += [path for name in ("train", "val", "test") for path in (self.dataset.folder / name).iterdir()]
        watched += [paths.PROJECT / "prepare.py", *(paths.PROJECT / "mlx_autoresearch").glob("*.py")]
        facts = {path: path.stat() for path in watched}
        return {path: (fact.st_size, fact.st_mtime_ns, fact.st_mode) for path, fact in facts.items()}


def named_in(home: Path) -> list[str]:
    """Names in a folder that lead to what the sandbox shows: Python or the project may lie in the home folder."""
    shown = [path.absolute() for path in (*python_and_project(), paths.cache_root())]
    return sorted({path.relative_to(home).parts[0] for path in shown if home in path.parents})


def survivors(folder: Path) -> list[str]:
    """Processes that still have to do with a run's folder (Linux: by environment, arguments or working folder)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (
                (entry / "environ").read_bytes()
                + (entry / "cmdline").read_bytes()
                + os.readlink(entry / "cwd").encode()
            )
        except OSError:
            continue
        if str(folder).encode() in words and int(entry.name) != os.getpid():
            found.append(entry.name)
    return found


def attack(name: str, sandbox: Sandbox, around: Surroundings) -> tuple[RunResult, Path, float]:
    """One run of the hostile file with the attack `name`: result, its folder, seconds."""
    folder = Path(tempfile.mkdtemp(prefix="experiment-", dir=around.root))
    training_file = folder / "train_mlx.py"
    source = HOSTILE.read_text(encoding="utf-8").replace('ATTACK = "none"', f"ATTACK = {name!r}")
    training_file.write_text(source.replace('r"""{}"""', f'r"""{json.dumps(around.bait())}"""'), encoding="utf-8")
    (folder / "run").mkdir()
    kernels = kernels_of(training_file)  # made here: compiling before the run would be one more run of the attack
    laboratory = Laboratory(around.dataset.folder, BUDGET_SECONDS, sandbox=sandbox, limits=LIMITS)
    started = time.monotonic()
    result = laboratory.run(training_file, folder / "run", seed=1)
    seconds = time.monotonic() - started
    remove_tree(kernels)
    return result, folder / "run", seconds


def steal(sandbox: Sandbox, around: Surroundings) -> Iterator[Row]:
    """All attempts of one run that looks around: a row each, and one for what the outside saw."""
    result, folder, _ = attack("steal", sandbox, around)
    lines = [line for line in tail(folder / "run.log", 100_000).splitlines() if line.startswith("ATTEMPT ")]
    for line in lines:
        attempt = json.loads(line.removeprefix("ATTEMPT "))
        yield Row(attempt["name"], attempt["got_through"], attempt["answer"])
    if len(lines) < 25:
        yield Row("all attempts are made", True, f"only {len(lines)} were: {result.failure} {result.reason}")
    damage = around.damage()
    yield Row("(seen from outside)", bool(damage), "; ".join(damage) or "nothing was touched or reached")


def ravage(name: str, sandbox: Sandbox, around: Surroundings) -> Row:
    """One attack that has a run to itself: it must end in time, leave nothing behind and touch nothing."""
    result, folder, seconds = attack(name, sandbox, around)
    wrong = around.damage()
    time.sleep(0.2)
    if alive := survivors(folder):
        wrong.append(f"processes {', '.join(alive)} live on")
    if seconds > MAY_USE_SECONDS:
        wrong.append(f"it took {seconds:.0f} s")
    strange = [path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file()]
    wrong += [f"{name} is left" for name in strange]
    size = sum(path.lstat().st_size for path in folder.iterdir())
    if size > LIMITS.disk_bytes:
        wrong.append(f"{size:,} bytes are left")
    if result.failure is None and name not in ANOTHER_SCORE:
        wrong.append("it was scored")
    outcome = f"{result.failure}: {result.reason}" if result.failure else f"harmless, scored {result.val_bpb:.2f}"
    outcome += f" ({seconds:.1f} s)"
    return Row(name, bool(wrong), "; ".join([*wrong, outcome] if wrong else [outcome]))


def speed(sandbox: Sandbox, dataset: Dataset, root: Path) -> tuple[list[int], list[int]]:
    """Steps of the project's own train_mlx.py inside and outside, from runs in turn; kernels are compiled beforehand.

    One BLAS thread for all: how many there are depends on what else the machine does when a run starts.

    Raises:
        AutoresearchError: an honest run failed.
    """
    os.environ[blas.THREADS_VARIABLE] = "1"
    steps: dict[bool, list[int]] = {True: [], False: []}
    for number in range(-2, 2 * HONEST_PAIRS):
        inside = number % 2 == 0
        laboratory = Laboratory(dataset.folder, HONEST_SECONDS, sandbox=sandbox if inside else NO_SANDBOX)
        folder = root / f"honest-{number}"
        folder.mkdir()
        result = laboratory._train(paths.PROJECT / "train_mlx.py", folder, seed=1, smoke=number < 0)
        if result.failure is not None or not result.steps:
            raise AutoresearchError(f"an honest run failed ({result.failure}): {result.reason}")
        if number >= 0:
            steps[inside].append(result.steps)
    return steps[True], steps[False]


@contextmanager
def strict_harness(around: Surroundings) -> Iterator[None]:
    """Short limits, so that attacks which must be waited out take seconds; signals to the harness are noticed."""
    before = experiment.GRACE_SECONDS, process.LOG_LIMIT_BYTES

    def notice(*_: object) -> None:
        around.signalled = True

    previous = signal.signal(signal.SIGUSR1, notice)
    experiment.GRACE_SECONDS, process.LOG_LIMIT_BYTES = GRACE_SECONDS, LOG_LIMIT_BYTES
    try:
        yield
    finally:
        experiment.GRACE_SECONDS, process.LOG_LIMIT_BYTES = before
        signal.signal(signal.SIGUSR1, previous)


def attack_names() -> list[str]:
    """The attacks that have a run to themselves, as the hostile file lists them."""
    text = HOSTILE.read_text(encoding="utf-8").partition("ATTACKS = {")[2]
    names = [line.split('"')[1] for line in text.partition("\n}")[0].splitlines() if line.startswith('    "')]
    return [name for name in names if name not in ("none", "steal")]


def show(row: Row) -> None:
    """A line of the table."""
    print(f"{'GOT THROUGH' if row.got_through else 'refused':12} {row.name:36} {row.outcome[:150]}", flush=True)


def run_all(sandbox: Sandbox, quick: bool, only: str | None = None) -> int:
    """Every attempt against a sandbox, printed as they are made; returns how many got through."""
    got_through = attempts = 0
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="escapes-", ignore_cleanup_errors=True)))
        dataset = _dataset(root, quick)
        around = Surroundings(root, dataset)
        stack.callback(around.close)
        with strict_harness(around):
            for row in _rows(sandbox, around, only):
                show(row)
                attempts, got_through = attempts + 1, got_through + row.got_through
        print(f"{attempts} attempts against {sandbox.name}, {got_through} got through.")
        if not quick:
            inside, outside = speed(sandbox, dataset, root)
            ratio, best = sum(inside) / sum(outside), max(inside) / max(outside)
            print(f"An honest run's steps in {HONEST_SECONDS:g} s: inside {inside}, outside {outside}.")
            print(f"Inside over outside: {ratio:.3f} of all, {best:.3f} of the best.")
            got_through += best < LEAST_SPEED
    return got_through


def _rows(sandbox: Sandbox, around: Surroundings, only: str | None) -> Iterator[Row]:
    if only is None:
        yield from steal(sandbox, around)
    for name in attack_names():
        if only is None or only in name:
            yield ravage(name, sandbox, around)


def _dataset(root: Path, quick: bool) -> Dataset:
    """The dataset prepared last; in the quick form, and where there is none, small built-in stories of our own."""
    if not quick and (paths.data_root() / "current").exists():
        return open_dataset()
    from mlx_autoresearch.corpus import Source

    os.environ["MLX_AUTORESEARCH_DATA"] = str(root / "data")
    documents = [
        f"{number}. Ada found a kite. Ben lost {number} pears and drew the blue boat." for number in range(3000)
    ]
    return prepare_dataset(Source("escapes", {"kind": "test"}, lambda: iter(documents), None))


def main() -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.escapes", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small dataset, and no measurement of speed")
    parser.add_argument("--only", metavar="WORDS", help="only attacks with these words in their names ('' for none)")
    parser.add_argument("--kind", help="attack this kind (bubblewrap, Landlock, Seatbelt), not the best one")
    arguments = parser.parse_args()
    if os.environ.get("ANTHROPIC_API_KEY") != KEY:  # a key that lies in this process's /proc entry as well
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.escapes", *sys.argv[1:]],
            os.environ | {"ANTHROPIC_API_KEY": KEY},
        )
    if arguments.kind is None:
        choice = choose()
        if not choice.works:
            print(f"There is no sandbox here: {'; '.join(choice.problems)}. {choice.advice}")
            return 2
        sandbox = choice.sandbox
    else:
        known = [one for one in candidates() if isinstance(one, Sandbox) and one.kind == arguments.kind]
        if not known or (problem := problem_with(known[0])):
            print(f"There is no {arguments.kind} here{': ' + problem if known else ''}.")
            return 2
        sandbox = known[0]
    return 1 if run_all(sandbox, arguments.quick, arguments.only) else 0


if __name__ == "__main__":
    run_command_line(main)
