"""Which agent is taken, what it may be told, and edits as language models write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlx_autoresearch import agents
from mlx_autoresearch.agents import AGENTS, AgentOptions, choose_agent, make_agent
from mlx_autoresearch.agents.edits import EditError, apply_blocks, apply_edit
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.spending import Ledger, PriceTable


@pytest.fixture
def options(tmp_path: Path) -> AgentOptions:
    return AgentOptions(Ledger(tmp_path / "spending.jsonl", PriceTable("2026-11-25", {})))


@pytest.mark.parametrize(
    ("variables", "programs", "name", "why"),
    [
        ({"ANTHROPIC_API_KEY": "k"}, ["claude"], "anthropic", "ANTHROPIC_API_KEY is set"),
        ({"ANTHROPIC_AUTH_TOKEN": "k"}, [], "anthropic", "ANTHROPIC_AUTH_TOKEN is set"),
        ({}, ["codex", "claude"], "claude", "claude is installed"),
        ({}, ["codex"], "codex", "codex is installed"),
        ({}, [], "search", "no key is set"),
    ],
)
def test_the_best_agent_is_taken_and_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict, programs: list, name: str, why: str
) -> None:
    for variable in agents.KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(agents.shutil, "which", lambda program: program if program in programs else None)
    chosen, sentence = choose_agent(None)
    assert chosen == name and why in sentence and AGENTS[name].summary in sentence
    assert choose_agent("search")[1].endswith("chosen by name")


def test_unknown_names_and_options_that_do_not_fit_get_a_sentence(options: AgentOptions) -> None:
    with pytest.raises(AutoresearchError, match="no agent named 'clyde'; choose one of: anthropic, claude"):
        choose_agent("clyde")
    with pytest.raises(AutoresearchError, match="--model and --base-url can't be used with the search agent"):
        make_agent("search", AgentOptions(options.ledger, model="m", base_url="u"))
    assert make_agent("search", options).name == "search"


def test_choosing_an_agent_imports_no_library_of_an_agent() -> None:
    code = (
        "import sys; from mlx_autoresearch.agents import choose_agent; choose_agent(None);"
        "print(*({'anthropic', 'optuna', 'mlx_lm', 'httpx2', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == ""


def test_exact_edits() -> None:
    assert apply_edit("a\nb\nc\n", "b\n", "B\n") == "a\nB\nc\n"
    for old, new, words in (
        ("", "x", "is empty"),
        ("x", "x", "are the same"),
        ("missing", "x", "does not occur"),
        ("  b", "x", "nearest line is 'b'"),
        ("\n", "x", "occurs 3 times"),
    ):
        with pytest.raises(EditError, match=words):
            apply_edit("a\nb\nc\n", old, new)


ANSWER = "Words.\n<<<<<<< SEARCH\nb\n=======\nB\n>>>>>>> REPLACE\nMore.\n<<<<<<< SEARCH\nc\n=======\n>>>>>>> REPLACE\n"


def test_blocks() -> None:
    assert apply_blocks("a\nb\nc\n", ANSWER) == "a\nB\n"
    for answer, words in (
        ("nothing", "no SEARCH/REPLACE block"),
        (ANSWER[: ANSWER.rindex(">>>>>>>")], "is not complete"),
        (ANSWER.replace("\nc\n", "\nd\n"), "Block 2 of 2: The text to replace does not occur"),
    ):
        with pytest.raises(EditError, match=words):
            apply_blocks("a\nb\nc\n", answer)
