"""Whole nights with a language-model researcher: the real loop, the real SDK, a made-up server."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_llm import FakeLLM, text, tool_use
from small_project import make_project, sandbox_options
from test_loop import UNCOMPILED, MadeUpLaboratory, Script, make_loop, rate, small_baseline  # noqa: F401 (a fixture)

from mlx_autoresearch import thinking
from mlx_autoresearch.agents import AgentOptions
from mlx_autoresearch.agents.anthropic import AnthropicAgent
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.chat import ChatAgent
from mlx_autoresearch.agents.patience import Patience
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.history import Night
from mlx_autoresearch.knobs import read_knobs, write_knobs
from mlx_autoresearch.loop import Limits
from mlx_autoresearch.proposals import ProposalQueue
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.spending import Ledger, known_prices
from mlx_autoresearch.thinking import Researcher, ThinkingAhead
from mlx_autoresearch.timeline import read_spans

THINKING_SECONDS = 0.4
"""The made-up researcher takes so long for an answer."""

# --- A scripted researcher --------------------------------------------------------------------------------------------


def edit(old: str, new: str) -> dict:
    return tool_use("edit", old=old, new=new)


def submit(description: str) -> dict:
    return tool_use("submit", description=description, hypothesis="it should help", expected="-0.01")


class ScriptedResearcher:
    """Answers conversation after conversation by script; a repair has scripts of its own.

    A script is a list of answers, an answer a list of blocks. What the tools answered is kept in `results`.
    """

    def __init__(self, ideas: list[list[list[dict]]], repairs: list[list[list[dict]]]) -> None:
        self.ideas, self.repairs = iter(ideas), iter(repairs)
        self.script: Iterator[list[dict]] = iter(())
        self.results: list[str] = []

    def __call__(self, body: dict, api: str) -> list[dict]:
        time.sleep(THINKING_SECONDS)
        messages = body["messages"]
        if len(messages) == 1:
            is_repair = "mend an edit that failed" in json.dumps(messages)
            self.script = iter(next(self.repairs if is_repair else self.ideas, [[text("Nothing comes to mind.")]]))
        else:
            self.results += [block["content"] for block in messages[-1]["content"] if block["type"] == "tool_result"]
        return next(self.script, [text("Nothing more.")])


def knob_line(source: str, name: str) -> str:
    return next(line for line in source.splitlines() if line.startswith(f"{name} "))


def with_value(source: str, name: str, value: object) -> str:
    return knob_line(write_knobs(source, {name: value}, 0), name)


SLOW = {"MATRIX_LR": 0.0004, "EMBEDDING_LR": 0.006, "HEAD_LR": 0.0001}


def a_night_of_a_researcher(source: str) -> ScriptedResearcher:
    """A good edit, a syntax error, a crash and its repair, a duplicate, a model that sees the future.

    With so low a cap on its logits a model can't say what it knows: that is surely worse, and decided after one run.
    """

    def change(name: str, value: object) -> dict:
        return edit(knob_line(source, name), with_value(source, name, value))

    good = [[tool_use("read_experiment", number=0)], [change("HEAD_LR", 0.01), change("EMBEDDING_LR", 0.6)]]
    good.append([submit("learning rates that learn")])
    broken = [
        [edit("    clock = Clock()\n", "    clock = Clock(\n"), submit("no closing bracket")],
        [edit("    clock = Clock(\n", "    clock = Clock()\n"), change("SOFTCAP", 0.5), submit("a low cap instead")],
    ]
    crash = [[edit("    step += 1\n", "    step += undefined_name\n"), submit("count steps differently")]]
    again = [
        [change("SOFTCAP", 0.5), submit("the same cap")],
        [edit(with_value(source, "SOFTCAP", 0.5), with_value(source, "SOFTCAP", 0.4)), submit("an even lower cap")],
    ]
    cheat = [[edit("visible = (back >= 0) & (back < window)", "visible = back < window"), submit("see more context")]]
    mended = [[edit("    step += undefined_name\n", "    step += 1\n"), change("SOFTCAP", 0.3), submit("mended")]]
    return ScriptedResearcher([good, broken, crash, again, cheat], [mended])


def test_a_night_with_a_scripted_researcher(tmp_path: Path, dataset: Dataset) -> None:
    """Takes about a minute and a half: the real loop, SDK, training and scoring."""
    project = make_project(tmp_path / "clone", dataset)
    training_file = project / "train_mlx.py"
    source = write_knobs(training_file.read_text(), SLOW, 0)
    # As many steps on a busy machine as on an idle one: how many fit into three seconds would decide the scores.
    source = source.replace("while clock.running():", "while clock.running() and step < 15:")
    training_file.write_text(source)
    researcher = a_night_of_a_researcher(source)
    with FakeLLM(researcher) as fake:
        fake.faults = ["ok", "status:529", "ok", "cut:12", "ok", "reset"]
        command = [sys.executable, "-m", "mlx_autoresearch.loop", "--tag", "t", "--budget", "3", "--experiments", "6"]
        variables = {"ANTHROPIC_API_KEY": "test-key", "ANTHROPIC_BASE_URL": fake.url, "HOME": str(tmp_path)}
        environment = {"PATH": os.environ["PATH"], **UNCOMPILED, **variables}
        night = subprocess.run(
            [*command, "--max-usd", "9", *sandbox_options()],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert night.returncode == 0, night.stdout + night.stderr
    root = project / "runs" / "t"
    rows = list(csv.DictReader((root / "results.tsv").open(), delimiter="\t"))
    by_words = {row["description"]: row for row in rows}
    assert by_words["learning rates that learn"]["status"] == "keep"
    assert by_words["count steps differently"]["status"] == "crash"
    assert by_words["see more context"]["status"] == "crash"
    for words in ("a low cap instead", "mended", "an even lower cap"):
        assert by_words[words]["status"] in ("keep", "discard", "inconclusive"), words
    assert "no closing bracket" not in by_words and "the same cap" not in by_words
    check_what_the_researcher_was_told(researcher, root)
    check_costs(root, rows)
    check_timeline(root)
    assert "test-key" not in "".join(path.read_text(errors="replace") for path in root.rglob("*.log"))


def check_what_the_researcher_was_told(researcher: ScriptedResearcher, root: Path) -> None:
    told = "\n".join(researcher.results)
    assert "Not submitted. train_mlx.py is not valid Python in line" in told
    assert "The same program" in told and "a low cap instead" in told
    experiments = {experiment.proposal.description: experiment for experiment in Night.read(root).experiments}
    assert experiments["mended"].proposal.repairs == experiments["count steps differently"].number
    assert "undefined_name" in experiments["count steps differently"].verdict.sentence
    assert "later token" in experiments["see more context"].verdict.sentence
    kept = read_knobs(experiments["learning rates that learn"].source, 0)
    assert kept["HEAD_LR"].value == 0.01


def check_costs(root: Path, rows: list[dict]) -> None:
    ledger = [json.loads(line) for line in (root / "spending.jsonl").read_text().splitlines()]
    assert all(entry["model"] == "claude-opus-5-5" and entry["dollars"] > 0 for entry in ledger)
    paid = [row for row in rows if row["agent"] == "anthropic"]
    assert len(paid) == 6 and all(int(row["llm_tokens"]) > 0 and float(row["usd"]) > 0 for row in paid)
    assert sum(int(row["llm_tokens"]) for row in paid) <= sum(entry["tokens"] for entry in ledger)


def check_timeline(root: Path) -> None:
    """Most thinking happened while the machine trained, and the machine never waited three seconds for it."""
    spans = read_spans(root / "timeline.jsonl")
    thoughts = [span for span in spans if span["what"] == "thinking"]
    runs = [span for span in spans if "experiment" in span]
    hidden = sum(overlap(thought, run) for thought in thoughts for run in runs)
    total = sum(thought["end"] - thought["start"] for thought in thoughts)
    assert total > 3 * THINKING_SECONDS and hidden > 0.7 * total
    busy = [span for span in spans if "experiment" in span or span["what"] == "report"]
    gaps = [after["start"] - before["end"] for before, after in itertools.pairwise(busy)]
    assert max(gaps) < 3.0, gaps


def overlap(first: dict, second: dict) -> float:
    return max(0.0, min(first["end"], second["end"]) - max(first["start"], second["start"]))


# --- Faults -----------------------------------------------------------------------------------------------------------

FAULTS = (
    *("status:429", "status:429:7200", "status:500", "status:503", "status:529", "reset", "close", "hang:0.3", "html"),
    *("badjson", "emptybody", "shape", "badgzip", "shortlen", "huge:2000000", "stop:max_tokens", "stop:refusal"),
)
STREAM_FAULTS = ("midreset:3", "cut:1", "cut:9", "stall:0.3", "sse_error:overloaded_error", "badsse", "badinput")


def messages_policy() -> Callable[[dict, str], list[dict]]:
    """A new MATRIX_LR in every conversation; sometimes a wrong tool first, or no change at all."""
    count = itertools.count(1)

    def policy(body: dict, api: str) -> list[dict]:
        number = next(count)
        if number % 5 == 3 and len(body["messages"]) == 1:
            return [tool_use("run_shell", command="rm -rf /"), submit("nothing")]
        if number % 5 == 4 and len(body["messages"]) == 1:
            return [submit("no change")]
        return [edit(*new_rate(body["messages"][0]["content"][0]["text"], number)), submit(f"rate {number}")]

    return policy


def chat_policy() -> Callable[[dict, str], list[dict]]:
    """A new MATRIX_LR in every answer, as SEARCH/REPLACE text."""
    count = itertools.count(1)

    def policy(body: dict, api: str) -> list[dict]:
        number = next(count)
        old, new = new_rate(body["messages"][0]["content"], number)
        blocks = f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
        return [text(f"DESCRIPTION: rate {number}\nHYPOTHESIS: h\nEXPECTED: e\n{blocks}")]

    return policy


def new_rate(source: str, number: int) -> tuple[str, str]:
    """The line of MATRIX_LR as it is, and with a value that no other number gives."""
    return knob_line(source, "MATRIX_LR"), f"MATRIX_LR         = {0.3 + 0.001 * number:.4f}       # Muon"


@pytest.mark.parametrize("kind", [AnthropicAgent, ChatAgent])
def test_a_night_survives_every_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable) -> None:
    """Each fault twice in a row, so that the agent's own patience ends and the loop has to bridge the outage."""
    monkeypatch.setattr(thinking, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(thinking, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(thinking, "LONGEST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(thinking, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
    streams = kind is AnthropicAgent
    faults = [fault for fault in FAULTS + (STREAM_FAULTS if streams else ()) for _ in range(2)]
    stand_in = Awaited([rate(0.5 + 0.0007 * number) for number in range(500)])
    policy = messages_policy() if streams else chat_policy()

    def slow_once(body: dict, api: str) -> list[dict]:
        stand_in.asked.wait(60)  # the first answer comes only when the loop has turned to something else
        return policy(body, api)

    with FakeLLM(slow_once) as fake:
        fake.faults = list(faults)
        ledger = Ledger(tmp_path / "spending.jsonl", known_prices())
        options = AgentOptions(ledger, model="claude-opus-5-5", base_url=fake.url)
        loop = make_loop(tmp_path / "night", [], SlowedLaboratory())
        loop.agent = kind(options, Patience(tries=2, first_wait=0.01, longest_wait=0.1))
        researcher = Researcher(loop.agent, loop.terminal.say, loop.timeline)
        loop.thinking = ThinkingAhead(researcher, ProposalQueue(tmp_path / "queue"))
        loop.limits = Limits()
        loop.stand_in = stand_in
        loop._finished = lambda: not fake.faults and loop.night.experiments[-1].proposal.agent == loop.agent.name
        loop.run()
        loop.thinking.close()
        assert {request.fault for request in fake.requests} >= set(faults)
    experiments = Night.read(tmp_path / "night").experiments
    agents = {experiment.proposal.agent for experiment in experiments}
    assert agents == {"person", loop.agent.name, "script"}, "both the researcher and its stand-in had their turns"
    assert all(experiment.verdict.status != "crash" for experiment in experiments)
    outcomes = {span["outcome"] for span in read_spans(tmp_path / "night" / "timeline.jsonl") if "outcome" in span}
    assert outcomes == {"proposal", "unavailable", "no proposal"}


class Awaited(Script):
    """Tells when it was asked for the first time."""

    def __init__(self, edits: list[Callable[[str], str]]) -> None:
        super().__init__(edits)
        self.asked = threading.Event()

    def propose(self, briefing: Briefing) -> Proposal:
        self.asked.set()
        return super().propose(briefing)


class SlowedLaboratory(MadeUpLaboratory):
    """A run takes a moment, as if something were trained."""

    def run(self, *arguments: object, **options: object) -> object:
        time.sleep(0.2)
        return super().run(*arguments, **options)
