"""`python -m tests.soak`: hundreds of short experiments, a fault in every fifth, and the loop may not grow (Linux).

The real loop with real processes in the sandbox; the edits are `soak_agent.py`'s. From outside are watched: the loop's
resident memory, its open files, its processes, and the disk that every experiment takes. Memory may grow by less than
5 % between a tenth of the way and the end, files and processes not at all, disk by a stated amount per experiment.
Prints a table; exit status 1 when it grew.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.history import Night
from mlx_autoresearch.process_tree import all_processes, descendants
from mlx_autoresearch.sandbox.guard import content_of
from tests.night_state import survivors
from tests.real_kills import TINY, tiny_dataset
from tests.small_project import make_project, sandbox_options, small_source

TAG = "soak"

AGENT = Path(__file__).with_name("soak_agent.py")

POLL_SECONDS = 0.25

MOST_FILES = 1_000_000

MOST_GROWTH = 0.05
"""Of resident memory, from a tenth of the way to the end."""

DISK_BYTES_PER_EXPERIMENT = 2 << 20
"""What an experiment may add to the night's folder on average: its text, logs and curves; a kept one adds a model."""


@dataclass(frozen=True)
class Sample:
    """What the loop held while one experiment was under way: the least of many looks, so that its phases don't count.

    Attributes:
        experiments: decided so far.
        seconds: since the start.
        memory_bytes: resident memory, the median of the looks.
        files: open files.
        processes: processes that it had started.
        threads: threads of its own.
        disk_bytes: the night's folder.
    """

    experiments: int
    seconds: float
    memory_bytes: int
    files: int
    processes: int
    threads: int
    disk_bytes: int


def training_file() -> str:
    """The tiny training file, as long as the real one: what the loop remembers of every experiment is its text."""
    return TINY.read_text() + "".join(f"# {line}\n" for line in small_source().splitlines())


def watch(loop: subprocess.Popen, root: Path) -> list[Sample]:
    """Samples of the loop until it ends, one for every experiment."""
    samples, looks, started, decided = [], [], time.monotonic(), -1
    while loop.poll() is None:
        time.sleep(POLL_SECONDS)
        try:
            looks.append(_look(loop.pid))
        except OSError:  # it has just ended
            break
        now = len(list(root.glob("experiments/*/verdict.json")))
        if now != decided and len(looks) > 3:
            memory, files, processes, threads = zip(*looks, strict=True)
            seconds = time.monotonic() - started
            least = (int(median(memory)), min(files), min(processes), min(threads))
            samples.append(Sample(now, seconds, *least, content_of(root, MOST_FILES)[0]))
            decided, looks = now, []
            if now % 10 == 1:
                print(row(samples[-1]), flush=True)
    return samples


def _look(pid: int) -> tuple[int, int, int, int]:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    files, threads = (len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE"), files, len(descendants(pid, all_processes())), threads


HEADING = "experiments  seconds  memory MiB  files  processes  threads  disk MiB"


def row(sample: Sample) -> str:
    """A line of the table."""
    return (
        f"{sample.experiments:11} {sample.seconds:8.0f} {sample.memory_bytes / 2**20:11.1f} {sample.files:6} "
        f"{sample.processes:10} {sample.threads:8} {sample.disk_bytes / 2**20:9.1f}"
    )


def growth(samples: list[Sample]) -> list[str]:
    """What grew that may not, a sentence each."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth], samples[-tenth:]
    found = []
    before, after = (median(sample.memory_bytes for sample in part) for part in (early, late))
    print(
        f"Resident memory: {before / 2**20:.1f} MiB after a tenth, {after / 2**20:.1f} at the end: "
        f"{after / before - 1:+.1%}."
    )
    if after > before * (1 + MOST_GROWTH):
        found.append(f"resident memory grew by {after / before - 1:.1%}")
    for name in ("files", "processes", "threads"):
        before, after = (min(getattr(sample, name) for sample in part) for part in (early, late))
        print(f"{name.capitalize()}: {before} after a tenth, {after} at the end.")
        if after > before:
            found.append(f"{name} grew from {before} to {after}")
    middle = samples[len(samples) // 2]
    halves = [(middle, samples[tenth]), (samples[-1], middle)]
    rates = [(new.disk_bytes - old.disk_bytes) / max(1, new.experiments - old.experiments) for new, old in halves]
    print(f"Disk: {rates[0] / 1024:.0f} KiB per experiment in the first half, {rates[1] / 1024:.0f} in the second.")
    if max(rates) > DISK_BYTES_PER_EXPERIMENT:
        found.append(f"disk grew by {max(rates) / 1024:.0f} KiB per experiment")
    seconds = [(new.seconds - old.seconds) / max(1, new.experiments - old.experiments) for new, old in halves]
    print(f"Time: {seconds[0]:.1f} s per experiment in the first half, {seconds[1]:.1f} in the second.")
    return found


def main() -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--budget", type=float, default=2.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        dataset = tiny_dataset(folder / "data")
        project = make_project(folder / "clone", dataset, training_file())
        agent = shlex.join([sys.executable, str(AGENT), str(folder / "counter")])
        command = [
            sys.executable,
            "-m",
            "mlx_autoresearch.loop",
            "--tag",
            TAG,
            "--agent",
            "command",
            "--command",
            agent,
        ]
        command += ["--budget", str(arguments.budget), "--experiments", str(arguments.experiments), *sandbox_options()]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(project), "MLX_DISABLE_COMPILE": "1"}
        print(HEADING, flush=True)
        with (folder / "said").open("wb") as said:
            loop = subprocess.Popen(command, cwd=project, env=environment, stdout=said, stderr=said)
        samples = watch(loop, project / "runs" / TAG)
        words = (folder / "said").read_text(errors="replace")
        if loop.wait() != 0 or len(samples) < 10:
            raise AutoresearchError(f"the loop ended with {loop.returncode}: {words[-2000:]}")
        print(row(samples[-1]))
        found = growth(samples)
        found += [f"process {process} lives on" for process in survivors(str(project))]
        experiments = Night.read(project / "runs" / TAG).experiments
        reasons = [e.verdict.sentence for e in experiments if e.verdict.status == "crash"]
        print(f"{len(experiments) - 1} experiments, {len(reasons)} without a score:")
        for reason in sorted({reason[:90] for reason in reasons}):
            print(f"  {sum(one.startswith(reason) for one in reasons):4}  {reason}")
    for sentence in found:
        print(f"FAULT  {sentence}")
    return 1 if found else 0


if __name__ == "__main__":
    run_command_line(main)
