"""What `python -m tests.soak` judges by, and the edits that it makes; the soak itself is a command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_autoresearch.gate import check_source, fingerprint
from tests import soak_agent
from tests.soak import AGENT, DISK_BYTES_PER_EXPERIMENT, Sample, growth, training_file

STEADY = [Sample(number, 8.0 * number, 100 << 20, 4, 0, 3, number << 20) for number in range(100)]


def test_a_steady_loop_passes() -> None:
    assert growth(STEADY) == []


@pytest.mark.parametrize("name", ["memory_bytes", "files", "processes", "threads", "disk_bytes"])
def test_growth_is_found(name: str) -> None:
    step = {"memory_bytes": 1 << 18, "disk_bytes": 2 * DISK_BYTES_PER_EXPERIMENT}.get(name, 1)
    growing = [replace(sample, **{name: getattr(sample, name) + step * at}) for at, sample in enumerate(STEADY)]
    (fault,) = growth(growing)
    assert name.split("_")[0] in fault


def test_every_fifth_edit_has_a_fault_and_a_repair_takes_it_out(tmp_path: Path) -> None:
    (tmp_path / "train_mlx.py").write_text(training_file())
    seen = set()
    for number in range(2 * soak_agent.EVERY + 1):
        command = [sys.executable, AGENT, tmp_path / "counter"]
        said = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
        source = (tmp_path / "train_mlx.py").read_text()
        check_source(source)
        seen.add(fingerprint(source, 0))
        has_fault = number % soak_agent.EVERY == soak_agent.EVERY - 1
        assert ("if step > 3:" in source) is has_fault and said.startswith("DESCRIPTION: ")
    assert len(seen) == 2 * soak_agent.EVERY + 1


def test_all_faults_are_python(tmp_path: Path) -> None:
    for code in soak_agent.FAULTS.values():
        place = soak_agent.PLACE
        source = training_file().replace(place, f"{place}        if step > 3:\n            {code}\n", 1)
        assert source != training_file()
        check_source(source)
