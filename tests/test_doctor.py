"""What the doctor says about machines that lack something, and that it never shows a key."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mlx_autoresearch import doctor, paths
from mlx_autoresearch.doctor import MISSING, OK, WARNING, Readings
from mlx_autoresearch.machine import GIB

CPU = Readings(
    "AMD EPYC", "cpu", 24 * GIB, 0, "0.32.4", "Linux 6.1", "OpenBLAS 0.3.34", "", 150.0, "/tmp", "/usr/bin/g++"
)


def test_readings_come_from_a_launched_process() -> None:
    readings = doctor.readings_of_a_run()
    assert isinstance(readings, Readings)
    assert readings.gflops > 0 and readings.chip
    if sys.platform == "linux" and readings.backend == "cpu":
        assert readings.blas.startswith("OpenBLAS")


def test_mlx_that_does_not_run_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "launch_command", lambda _: [sys.executable, "-c", "raise ImportError('no libmlx')"])
    (check,) = doctor.check_mlx(doctor.readings_of_a_run())
    assert check.state == MISSING and "no libmlx" in check.found and check.fix


def test_slow_blas_is_a_warning_with_its_reason() -> None:
    assert doctor.check_speed(CPU).state == OK
    check = doctor.check_speed(replace(CPU, blas=None, blas_reason="patchelf is not installed", gflops=3.1))
    assert check.state == WARNING and "patchelf is not installed" in check.found and check.fix
    assert doctor.check_speed(replace(CPU, gflops=3.1)).state == WARNING
    assert doctor.check_speed(replace(CPU, backend="metal", gflops=3.1)).name == "speed"


def test_python_versions() -> None:
    states = [doctor.check_python((3, minor, 1)).state for minor in (9, 10, 13, 14)]
    assert states == [MISSING, OK, OK, MISSING]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_packages().state == OK
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-here"))
    check = doctor.check_packages()
    assert check.state == MISSING and "no-such-package-here" in check.found and "numpy" not in check.found


def test_compiler(tmp_path: Path) -> None:
    assert doctor.check_compiler(None, tmp_path).state == WARNING
    assert doctor.check_compiler(str(paths.cache_root() / "compiler-x" / "g++"), tmp_path).state == OK
    assert doctor.check_compiler("/usr/bin/g++", tmp_path).state == WARNING  # slow kernels
    assert doctor.check_compiler("/usr/bin/g++", tmp_path / "absent").state == MISSING


def test_dataset_states(tmp_path: Path) -> None:
    assert "none prepared" in doctor.check_dataset(tmp_path).found
    (tmp_path / "current").write_text("stories\n")
    assert doctor.check_dataset(tmp_path).state == WARNING
    (tmp_path / "stories").mkdir()
    manifest = tmp_path / "stories" / "manifest.json"
    for broken in ("{", "[]"):
        manifest.write_text(broken)
        check = doctor.check_dataset(tmp_path)
        assert check.state == WARNING and "prepare.py" in check.fix
    manifest.write_text("{}")
    assert doctor.check_dataset(tmp_path).state == OK


def test_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(tmp_path) in doctor.check_disk(tmp_path / "runs" / "tag").found
    monkeypatch.setattr(doctor, "LITTLE_DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "ENOUGH_DISK_GIB", 1e9)
    assert doctor.check_disk(tmp_path).state == MISSING


def test_git_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    assert "is no repository" in doctor.check_git(tmp_path).found
    git("init")
    assert "has no commit" in doctor.check_git(tmp_path).found
    git("-c", "user.name=A", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "x")
    assert doctor.check_git(tmp_path).state == WARNING
    git("config", "user.name", "Ada")
    assert doctor.check_git(tmp_path).state == OK
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_git(tmp_path).found == "not installed"


def test_power_and_heat_of_a_mac() -> None:
    assert not list(doctor.check_power(None, None, None))
    assert [check.state for check in doctor.check_power(True, False, 0)] == [OK] * 3
    bad = list(doctor.check_power(False, True, 2))
    assert [check.state for check in bad] == [WARNING] * 3 and all(check.fix for check in bad)
    assert "heavy" in bad[2].found


def test_table_and_plain_lines_show_brackets_as_they_are() -> None:
    checks = [doctor.Check("packages", MISSING, "no [test] extra", "pip install -e '.[test]'")]
    for terminal in (True, False):
        output = io.StringIO()
        doctor.show(checks, Console(file=output, force_terminal=terminal, width=160))
        assert "no [test] extra" in output.getvalue() and ".[test]" in output.getvalue()
        assert ("│" in output.getvalue()) is terminal


def test_command_line_names_what_is_missing_and_never_shows_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["doctor"])
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setattr(doctor, "readings_of_a_run", lambda: CPU)
    monkeypatch.setattr(doctor, "check_git", lambda _: doctor.Check("git", OK, "git version 2"))
    assert doctor.main() == 0
    monkeypatch.setattr(doctor, "readings_of_a_run", lambda: "MLX does not run")
    assert doctor.main() == 1
    output = capsys.readouterr().out
    assert "ANTHROPIC_API_KEY is set" in output and "sk-secret" not in output and "Missing: MLX." in output


def test_readings_are_one_json_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["doctor", "--readings"])
    monkeypatch.setattr(doctor, "take_readings", lambda: CPU)
    assert doctor.main() == 0
    assert Readings(**json.loads(capsys.readouterr().out)) == CPU
