"""The night in a dozen lines: what it says, at every width, whatever agents and runs write into it."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_night import make_night
from rich.cells import cell_len
from rich.console import Console

from mlx_autoresearch.history import Night
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.report.view import NightReader, duration, picture, sparkline
from mlx_autoresearch.status import BY_HAND, BY_ITSELF, OVER, Status

HOSTILE = "[bold]wider[/] \x1b[31mhead \u202e\x07\r\n[link=x]日本語の文字" + "x" * 300


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = make_night(tmp_path_factory.mktemp("runs") / "nov24", 12, seed=2)
    night.add(Proposal(night.incumbent().source + "\n", HOSTILE, parent=night.incumbent().number))
    folder = night.experiments[-1].new_run_folder()
    points = [{"step": s, "seconds": s / 4, "tokens": 1024 * s, "loss": 2 + 3 / s} for s in range(1, 200)]
    (folder / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    return night


def training(night: Night, **changes: object) -> Status:
    """The status of a loop that trains the night's last experiment for 100 of 300 s."""
    folder = os.path.relpath(night.experiments[-1].run_folder(1), night.root)
    status = Status(1, "2", "anthropic", 300.0, None, 100, "run 1", 13, "train", folder, awake_seconds() - 100)
    return replace(status, **changes)


def shown(night: Night, status: Status | None, working: bool = True, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True)
    console.print(picture(NightReader(night.root).view(night, status, working), width))
    return console.file.getvalue().splitlines()


def test_it_says_what_is_going_on(night: Night) -> None:
    (night.root / "queue").mkdir(exist_ok=True)
    for name in ("000001.json", "-00001.json", "000002.partial.json"):
        (night.root / "queue" / name).write_text("{}")
    text = "\n".join(shown(night, training(night)))
    assert "nov24 · 12 of 100 edits decided" in text
    assert "0013 run 1: [bold]wider[/] [31mhead" in text
    assert "training, 200 of 300 s left · ━━━━━━━─────────────" in text
    assert "step 199 · loss 2.015 · 4,096 tokens/s · █" in text
    incumbent = night.incumbent()
    assert f"{incumbent.mean_bpb:.4f} val_bpb" in text and "others used 0.1 of 10 cores" in text
    assert "2 waiting · anthropic" in text and "tokens, $" in text
    last = [e for e in night.experiments if e.verdict][:-4:-1]
    assert [f"{e.number:04d} {e.verdict.status}" in text for e in last] == [True] * 3


def test_time_left_is_that_of_the_nearer_limit(night: Night) -> None:
    for number, experiment in enumerate(night.experiments):
        experiment.created = f"2026-11-24T22:{4 * number:02d}:00+00:00"
    hour = awake_seconds() + 3660

    def left(**limits: object) -> str:
        return shown(night, training(night, **limits))[1].partition(" kept")[2]

    assert left(experiments=None) == ""
    assert left(experiments=None, ends=hour) == " · 61 min left"
    assert left(experiments=22) == left(experiments=22, ends=hour) == " · about 40 min left"
    assert left(experiments=100, ends=hour) == " · 61 min left"
    assert left(experiments=100) == " · about 5 h 52 min left"


@pytest.mark.parametrize("width", [200, 80, 40, 20, 9, 1])
def test_no_line_is_wider_than_the_terminal(night: Night, width: int) -> None:
    lines = shown(night, training(night), width=width)
    assert 10 < len(lines) < 30 and max(cell_len(line) for line in lines) <= width
    assert all(line.isprintable() for line in lines)


def test_a_night_without_anything(tmp_path: Path, night: Night) -> None:
    empty = Night.open(tmp_path / "t", night.identity)
    text = "\n".join(shown(empty, Status(1, "2", "search", 300.0, since=awake_seconds())))
    assert "0 edits decided" in text and "starting, 0 s" in text and "the baseline is not measured yet" in text
    assert "money" not in text and "queue" not in text and "machine" not in text and "last" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ended": OVER}, "nothing runs: the night is over"),
        ({"ended": BY_HAND}, "nothing runs: the night was stopped; the same command goes on"),
        ({"ended": BY_ITSELF, "reason": "the disk is full"}, "has stopped by itself. the disk is full"),
        ({"pid": 77}, "nothing runs: the loop (process 77) is gone"),
    ],
)
def test_a_night_that_does_not_run(night: Night, changes: dict, words: str) -> None:
    text = "\n".join(shown(night, training(night, **changes), working=False))
    assert words in text and "left" not in text and "tokens/s" not in text
    assert "nothing is known to run" in "\n".join(shown(night, None, working=False))


def test_phases(night: Night) -> None:
    def text(**changes: object) -> str:
        return "\n".join(shown(night, training(night, **changes)))

    assert "handing in" in text(since=awake_seconds() - 301)
    assert "scoring, 7 s" in text(phase="score", since=awake_seconds() - 7)
    assert "writing the report, 2 s" in text(stage="writing the report", experiment=None, since=awake_seconds() - 2)
    assert "the time is over" in text(ends=awake_seconds() - 1)


def test_a_run_may_write_what_it_likes_into_its_curve(night: Night, tmp_path: Path) -> None:
    reader = NightReader(tmp_path)
    status = training(night, folder=".")
    for lines in (b"\xff\x00{", b'{"step": 1, "seconds": 0, "loss": null, "tokens": 5}\n', b"[" * 10_000):
        (tmp_path / "curve.jsonl").write_bytes(lines)
        picture(reader.view(night, status, True), 60)
    (tmp_path / "curve.jsonl").write_text('{"step": 2, "seconds": 1, "loss": 1e17, "tokens": -1e17}\n')
    assert "step 2" in picture(reader.view(night, status, True), 100).plain
    (tmp_path / "curve.jsonl").unlink()
    os.mkfifo(tmp_path / "curve.jsonl")
    picture(reader.view(night, status, True), 60)


def test_a_growing_curve_is_followed_and_stays_bounded(night: Night, tmp_path: Path) -> None:
    reader, status = NightReader(tmp_path), training(night, folder=".")
    for step in range(1, 1500):
        with (tmp_path / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "seconds": step, "loss": 1.0, "tokens": step}) + "\n")
        points = reader.view(night, status, True).points
    assert points[-1]["step"] == 1499 and points[0]["step"] < 10 and 200 < len(points) <= 600


def test_sparkline() -> None:
    assert sparkline([], 10) == "" and sparkline([None, None], 10) == ""
    assert sparkline([3.0, 3.0], 10) == "▁▁"
    assert sparkline([float(n) for n in range(8)], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([900.0, *[8.0 - n for n in range(8)], None] * 1, 10) == "██▇▆▅▄▃▂▁ "
    assert len(sparkline([1.0] * 1001, 24)) <= 24


def test_duration() -> None:
    assert [duration(s) for s in (-3, 45.4, 90, 5399, 25500)] == ["0 s", "45 s", "2 min", "1 h 30 min", "7 h 05 min"]
