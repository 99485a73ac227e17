"""Parsers on recorded text, the machine classes at their edges, and the clocks of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_autoresearch import machine
from mlx_autoresearch.machine import GIB

PMSET = """System-wide power settings:
Currently in use:
 standby              1
 Sleep On Power Button 1
 hibernatefile        /var/vm/sleepimage
 powernap             1
 lowpowermode         {mode}
 sleep                1 (sleep prevented by caffeinate)
"""
ON_AC = """Now drawing from 'AC Power'
 -InternalBattery-0 (id=1234567)\t87%; charging; 1:02 remaining present: true
"""
ON_BATTERY = """Now drawing from 'Battery Power'
 -InternalBattery-0 (id=1234567)\t54%; discharging; 5:12 remaining present: true
"""


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("com.apple.system.thermalpressurelevel 0\n", 0),
        ("com.apple.system.thermalpressurelevel 2\n", 2),
        ("com.apple.system.thermalpressurelevel failed, status 7\n", None),
        ("", None),
    ],
)
def test_thermal_level(text: str, level: int | None) -> None:
    assert machine.parse_thermal_level(text) == level


@pytest.mark.parametrize(("text", "level"), [("1\n", 1), ("4\n", 4), ("", None), ("unknown oid 5\n", None)])
def test_memory_pressure(text: str, level: int | None) -> None:
    assert machine.parse_memory_pressure(text) == level


@pytest.mark.parametrize(
    ("text", "low"),
    [
        (PMSET.format(mode=0), False),
        (PMSET.format(mode=1), True),
        (" powermode            2\n", False),  # high power
        (" powermode            1\n", True),
        ("Currently in use:\n sleep 1\n", None),
        ("", None),
    ],
)
def test_low_power_mode(text: str, low: bool | None) -> None:
    assert machine.parse_low_power_mode(text) is low


@pytest.mark.parametrize(("text", "ac_power"), [(ON_AC, True), (ON_BATTERY, False), ("", None)])
def test_power_source(text: str, ac_power: bool | None) -> None:
    assert machine.parse_power_source(text) is ac_power


IOREG = """+-o IOPMrootDomain  <class IOPMrootDomain, id 0x1000002d6, registered, matched, active, busy 0 (0 ms), retain 61>
    {
      "IOPowerManagement" = {"CapabilityFlags"=2,"MaxPowerState"=4,"CurrentPowerState"=4}
      "AppleClamshellCausesSleep" = Yes
      "SystemPowerProfileOverrideDict" = {}
      "AppleClamshellState" = {state}
    }
"""  # noqa: E501


@pytest.mark.parametrize(
    ("text", "closed"),
    [(IOREG.replace("{state}", "No"), False), (IOREG.replace("{state}", "Yes"), True), ("", None)],
)
def test_lid(text: str, closed: bool | None) -> None:
    assert machine.parse_lid(text) is closed


def test_warnings_for_the_night() -> None:
    assert machine.night_warnings(None, None, None) == machine.night_warnings(None, True, False) == []
    (usual,) = machine.night_warnings(False, True, False)
    assert usual.startswith("leave the lid open")
    closed, battery, slow = machine.night_warnings(True, False, True)
    assert "lid is closed" in closed and "battery" in battery and "low-power mode" in slow


@pytest.mark.parametrize(
    ("backend", "memory", "expected"),
    [
        ("cpu", 512 * GIB, 0),
        ("metal", 8 * GIB, 1),
        ("metal", 12 * GIB, 1),
        ("metal", 16 * GIB, 2),
        ("metal", 32 * GIB, 2),
        ("metal", 36 * GIB, 3),
        ("metal", None, 1),
        ("cuda", 8 * GIB, 3),
    ],
)
def test_class_of(backend: str, memory: int | None, expected: int) -> None:
    assert machine.class_of(backend, memory) == expected


def test_this_machine_is_described_and_its_identity_is_stable() -> None:
    facts = machine.describe()
    assert facts.backend in ("metal", "cuda", "cpu") and facts.chip and facts.memory_bytes > GIB // 4
    assert machine.machine_class() == machine.class_of(facts.backend, facts.memory_bytes)
    assert machine.identity() == machine.identity()
    assert all(part in machine.identity() for part in (facts.chip, facts.backend, facts.mlx_version))


def test_clocks_advance_together_and_are_shared_by_processes() -> None:
    meter = machine.SleepMeter()
    before, start = machine.awake_seconds(), machine.elapsed_seconds()
    code = "from mlx_autoresearch.machine import awake_seconds; print(awake_seconds())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_project())
    assert before < float(answer.stdout) < machine.awake_seconds()
    assert machine.elapsed_seconds() - start == pytest.approx(machine.awake_seconds() - before, abs=0.05)
    assert meter.slept_seconds() < 0.05


def test_sleep_is_seen_as_the_drift_between_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = machine.SleepMeter()
    elapsed = machine.elapsed_seconds
    monkeypatch.setattr(machine, "elapsed_seconds", lambda: elapsed() + 3600)
    assert meter.slept_seconds() == pytest.approx(3600, abs=0.1)


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac knows")
def test_readings_are_unknown_where_there_are_none() -> None:
    readings = (machine.thermal_level, machine.memory_pressure, machine.low_power_mode, machine.on_ac_power)
    assert [reading() for reading in (*readings, machine.lid_closed)] == [None] * 5
    assert machine.warnings_for_the_night() == []


def test_keep_awake_starts_caffeinate_for_this_process_and_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, record = tmp_path / "caffeinate", tmp_path / "record"
    program.write_text(f'#!/bin/sh\necho "$@" $$ > {record}.new\nmv {record}.new {record}\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "platform", "darwin")
    with machine.keep_awake():
        deadline = time.monotonic() + 5
        while not record.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    *arguments, process = record.read_text().split()
    assert arguments == ["-i", "-m", "-s", "-w", str(os.getpid())]
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)


def test_keep_awake_does_without_caffeinate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    with machine.keep_awake():
        pass


def _project() -> Path:
    return Path(machine.__file__).resolve().parent.parent
