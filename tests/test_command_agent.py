"""The command agent: stand-in programs of every temper, recorded output of claude and codex, and the real CLIs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from entries import entry_of
from fake_llm import FakeLLM, text, tool_use
from waiting import alive, wait_until

from mlx_autoresearch.agents import (
    AgentOptions,
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
    command,
    make_agent,
)
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.command import (
    SHORTEST_WAIT_SECONDS,
    Answer,
    CommandAgent,
    Output,
    Preset,
    claude_argv,
    codex_argv,
    failure,
    read_claude,
    read_codex,
    seconds_until_reset,
)
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.gate import SIZE_LIMIT
from mlx_autoresearch.records import CRASH, KEEP
from mlx_autoresearch.spending import Ledger, PriceTable, SpendingLimits, Usage

PROJECT = Path(__file__).resolve().parent.parent

SOURCE = """from prepare import hand_in, run

WIDTH = 96  # {64..512 step 32}

def build_model():
    return WIDTH

run(lambda clock: hand_in(build_model()))
"""

EDIT = "open('train_mlx.py', 'w').write(source.replace('WIDTH = 96', 'WIDTH = 128'))\n"

SAY = "print('Done.\\nDESCRIPTION: wider\\nHYPOTHESIS: more room\\nEXPECTED: 0.01 lower')\n"


def briefing(**changes: object) -> Briefing:
    history = [entry_of(0, None, SOURCE, "baseline", KEEP, 1.2)]
    return replace(Briefing("# The program", SOURCE, 0, 1.2, 0.01, history, 0, 300.0), **changes)


def ledger(folder: Path, **limits: float) -> Ledger:
    return Ledger(folder / "spending.jsonl", PriceTable("2026-11-25", {}), SpendingLimits(**limits))


def agent(folder: Path, code: str) -> CommandAgent:
    """The command agent with a Python program; `source` is train_mlx.py, `prompt` what it was asked."""
    program = folder / "program.py"
    program.write_text("import os, sys, time\nprompt, source = sys.stdin.read(), open('train_mlx.py').read()\n" + code)
    line = shlex.join([sys.executable, str(program)])
    return make_agent("command", AgentOptions(ledger(folder), command=line))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's temporary folder, which is as empty after every test as before."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


# Stand-in programs


def test_an_edit_becomes_a_proposal(tmp_path: Path) -> None:
    proposal = agent(tmp_path, EDIT + SAY).propose(briefing())
    assert proposal.source == SOURCE.replace("WIDTH = 96", "WIDTH = 128")
    assert (proposal.description, proposal.hypothesis, proposal.expected) == ("wider", "more room", "0.01 lower")
    assert (proposal.agent, proposal.parent, proposal.tokens, proposal.dollars) == ("command", 0, 0, None)
    assert not (tmp_path / "spending.jsonl").exists()


def test_what_the_program_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret of the person")
    seen = tmp_path / "seen"
    code = (
        f"import json\nfiles = {{name: open(name).read() for name in os.listdir()}}\n"
        f"json.dump([files, prompt, os.environ['SOME_KEY'], os.getcwd()], open({str(seen)!r}, 'w'))\n"
    )
    agent(tmp_path, code + EDIT).propose(briefing())
    files, prompt, key, folder = json.loads(seen.read_text())
    assert set(files) == {"train_mlx.py", "program.md", "briefing.md"} and files["train_mlx.py"] == SOURCE
    assert "# The program" in files["program.md"] and "1.2000" in files["briefing.md"]
    assert all(word in prompt for word in ("program.md", "briefing.md", "Run nothing", "DESCRIPTION:", "EXPECTED:"))
    assert key == "secret of the person" and folder == os.path.realpath(folder)


def test_a_crashed_edit_is_mended_in_its_own_file(tmp_path: Path) -> None:
    crashed = entry_of(1, 0, SOURCE + "CRASH = 1 / 0\nprint(CRASH)\n", "a crash", CRASH, None, "python error")
    repair = briefing(history=[*briefing().history, crashed], repair=1)
    code = "assert 'a crash' in open('briefing.md').read()\n"
    code += "open('train_mlx.py', 'w').write(source.replace('1 / 0', '1 / 2'))\n"
    proposal = agent(tmp_path, code).propose(repair)
    assert "CRASH = 1 / 2" in proposal.source and proposal.parent == 0


def test_a_refused_edit_is_mended_by_the_same_program(tmp_path: Path) -> None:
    log = tmp_path / "prompts"
    code = (
        f"open({str(log)!r}, 'a').write(prompt + '\\0')\n"
        "if 'refused' not in prompt:\n"
        "    open('train_mlx.py', 'w').write(source + 'def broken(:\\n')\n"
        "else:\n"
        "    open('train_mlx.py', 'w').write(source.replace('def broken(:', 'WIDTH = 128'))\n"
    )
    proposal = agent(tmp_path, code).propose(briefing())
    assert proposal.source == SOURCE + "WIDTH = 128\n"
    first, second, _ = log.read_text().split("\0")
    assert "refused" not in first and "not valid Python in line 9" in second and "holds your edit" in second


SPOILED = {
    "nothing changed": ("", "exactly the file you were given"),
    "a comment": ("open('train_mlx.py', 'a').write('# a comment')", "changes nothing that the program reads"),
    "a link": ("os.remove('train_mlx.py'); os.symlink('/etc/passwd', 'train_mlx.py')", "not a plain file"),
    "a folder": ("os.remove('train_mlx.py'); os.mkdir('train_mlx.py')", "not a plain file"),
    "a pipe": ("os.remove('train_mlx.py'); os.mkfifo('train_mlx.py')", "not a plain file"),
    "gone": ("os.remove('train_mlx.py')", "can't be read: No such file"),
    "large": (f"open('train_mlx.py', 'a').write('x' * {SIZE_LIMIT})", "characters"),
    "huge": (f"open('train_mlx.py', 'a').write('x' * {9 * SIZE_LIMIT})", "bytes"),
    "not UTF-8": ("open('train_mlx.py', 'ab').write(b'# \\xff')", "not UTF-8: invalid start byte at byte"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_an_edit_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(command, "MENDS", 0)
    code, reason = SPOILED[kind]
    with pytest.raises(NoProposalError, match=reason):
        agent(tmp_path, code).propose(briefing())


def test_a_program_that_never_edits_is_asked_three_times(tmp_path: Path) -> None:
    count = tmp_path / "count"
    with pytest.raises(NoProposalError, match="no usable edit in 3 tries; the last: Nothing was changed"):
        agent(tmp_path, f"open({str(count)!r}, 'a').write('x')").propose(briefing())
    assert count.read_text() == "xxx"


@pytest.mark.parametrize("kind", ["a link", "the folder gone"])
def test_a_spoiled_file_is_put_back_and_never_written_through(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.write_text("untouched")
    spoil = {
        "a link": f"os.remove('train_mlx.py'); os.symlink({str(other)!r}, 'train_mlx.py')",
        "the folder gone": "import shutil; shutil.rmtree(os.getcwd())",
    }
    code = (
        "if 'put back as you got it' in prompt:\n"
        f"    assert source == {SOURCE!r} and not os.path.islink('train_mlx.py')\n    {EDIT}"
        f"else:\n    {spoil[kind]}\n"
    )
    assert "WIDTH = 128" in agent(tmp_path, code).propose(briefing()).source
    assert other.read_text() == "untouched"


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(command.UnusableFileError, match="can't be read"):
        command.read_edit(tmp_path / ("x" * 300))


def test_words_without_the_form(tmp_path: Path) -> None:
    proposal = agent(tmp_path, EDIT + "print('I made it wider.')").propose(briefing())
    assert (proposal.description, proposal.hypothesis) == ("changes WIDTH 96 -> 128", "")


def test_a_program_that_prints_its_prompt(tmp_path: Path) -> None:
    code = EDIT + "print(prompt + '\\n**DESCRIPTION:** wi\\x07der\\nEXPECTED: less')"
    proposal = agent(tmp_path, code).propose(briefing())
    assert (proposal.description, proposal.hypothesis, proposal.expected) == ("wi der", "", "less")


def test_a_failing_program(tmp_path: Path) -> None:
    with pytest.raises(AgentUnavailableError, match="command failed: exit status 3: no disk") as caught:
        agent(
            tmp_path, EDIT + "sys.exit('no \\033disk') if 0 else (print('no disk', file=sys.stderr), sys.exit(3))"
        ).propose(briefing())
    assert caught.value.retry_after is None


def test_a_program_that_vanished(tmp_path: Path) -> None:
    preset = Preset("command", (str(tmp_path / "gone"),), command.read_custom, "")
    with pytest.raises(AgentUnavailableError, match="gone can't be started: No such file"):
        CommandAgent(preset, AgentOptions(ledger(tmp_path))).propose(briefing())


def test_a_program_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TIME_LIMIT_SECONDS", 0.6)
    pid = tmp_path / "pid"
    code = f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    with pytest.raises(AgentUnavailableError, match=r"took more than 0\.01 minutes and was stopped"):
        agent(tmp_path, code).propose(briefing())
    assert not alive(int(pid.read_text()))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_endless_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr(command, "OUTPUT_LIMIT_BYTES", 1 << 20)
    with pytest.raises(AgentUnavailableError, match="printed more than 1 MiB and was stopped"):
        agent(tmp_path, f"while True: sys.{stream}.write('x' * 10_000)").propose(briefing())


def test_a_grandchild_that_keeps_the_output_open(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "if os.fork() == 0:\n    os.setsid()\n"
        f"    open({str(pid)!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)\n"
        f"while not os.path.exists({str(pid)!r}): time.sleep(0.01)\n"
    )
    started = time.monotonic()
    agent(tmp_path, code + EDIT).propose(briefing())
    assert time.monotonic() - started < 10
    if sys.platform == "linux":  # elsewhere only what a walk has seen is found
        assert not alive(int(pid.read_text()))


def test_close_ends_a_running_program(tmp_path: Path) -> None:
    pid, caught = tmp_path / "pid", []
    hanging = agent(tmp_path, f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")

    def propose() -> None:
        try:
            hanging.propose(briefing())
        except AgentUnavailableError as error:
            caught.append(str(error))

    thread = threading.Thread(target=propose)
    thread.start()
    assert wait_until(lambda: pid.exists() and pid.read_text() != "", 10)
    started = time.monotonic()
    hanging.close()
    assert not alive(int(pid.read_text())) and time.monotonic() - started < 3
    thread.join(5)
    assert caught == ["command was told to end"]
    hanging.close()
    with pytest.raises(AgentUnavailableError, match="told to end"):
        hanging.propose(briefing())


def test_kill_9_leaves_no_process_and_the_next_start_no_folder(tmp_path: Path, temporary: Path) -> None:
    pid = tmp_path / "pid"
    program = tmp_path / "program.py"
    program.write_text(f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    parent_code = (
        f"import sys, tempfile; sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / 'tests')!r}]\n"
        f"from pathlib import Path; import test_command_agent as t; tempfile.tempdir = {str(temporary)!r}\n"
        f"options = t.options(Path({str(tmp_path)!r}), command={shlex.join([sys.executable, str(program)])!r})\n"
        "t.make_agent('command', options).propose(t.briefing())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code])
    assert wait_until(lambda: pid.exists() and pid.read_text() != "", 20)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_until(lambda: not alive(int(pid.read_text())), 5)
    assert len(list(temporary.iterdir())) == 1
    (temporary / f"{command.FOLDER_NAME}-{os.getpid()}-mine").mkdir()
    (temporary / f"{command.FOLDER_NAME}-words-more").mkdir()
    agent(tmp_path, "")
    assert {path.name.removeprefix(command.FOLDER_NAME + "-") for path in temporary.iterdir()} == {
        f"{os.getpid()}-mine",
        "words-more",
    }
    for folder in temporary.iterdir():
        folder.rmdir()


def test_a_full_disk_is_no_end_of_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = agent(tmp_path, EDIT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(AgentUnavailableError, match="could not be run"):
        ready.propose(briefing())


# Costs


def reporting(folder: Path, usage: Usage | None, problem: str | None = None, **limits: float) -> CommandAgent:
    """An agent whose program edits on every second run only, and says what it used."""
    program = folder / "program.py"
    program.write_text(
        "import sys\nsource = open('train_mlx.py').read()\nif 'refused' in sys.stdin.read():\n    " + EDIT
    )
    preset = Preset("fake", (sys.executable, str(program)), lambda _: Answer("ok", usage, problem), "help")
    return CommandAgent(preset, AgentOptions(ledger(folder, **limits), model="some-model"))


def entries(folder: Path) -> list[dict]:
    path = folder / "spending.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_run_is_in_the_ledger(tmp_path: Path) -> None:
    proposal = reporting(tmp_path, Usage(100, 20, dollars=0.25)).propose(briefing())
    assert (proposal.tokens, proposal.dollars) == (240, 0.5)
    assert [(e["agent"], e["model"], e["tokens"], e["dollars"]) for e in entries(tmp_path)] == [
        ("fake", "some-model", 120, 0.25)
    ] * 2


def test_a_price_that_is_not_known_stays_unknown(tmp_path: Path) -> None:
    proposal = reporting(tmp_path, Usage(100, 20)).propose(briefing())
    assert (proposal.tokens, proposal.dollars) == (240, None)


def test_a_failed_run_is_paid_for(tmp_path: Path) -> None:
    with pytest.raises(AgentUnavailableError):
        reporting(tmp_path, Usage(100, 20), "overloaded").propose(briefing())
    assert len(entries(tmp_path)) == 1


def test_the_limit_is_kept_between_two_runs(tmp_path: Path) -> None:
    limited = reporting(tmp_path, Usage(100, 20), tokens=120)
    with pytest.raises(SpendingLimitError, match="120 of the 120 tokens"):
        limited.propose(briefing())
    with pytest.raises(SpendingLimitError):
        limited.propose(briefing())
    assert len(entries(tmp_path)) == 1


# Command lines


def options(folder: Path, **chosen: str) -> AgentOptions:
    return AgentOptions(ledger(folder), **chosen)


def test_argv_of_claude(tmp_path: Path) -> None:
    argv = claude_argv(options(tmp_path, model="some-model", effort="high"), with_key=True)
    assert argv[:4] == ("claude", "-p", "--output-format", "json")
    at = argv.index("--tools")
    assert argv[at : at + 5] == ("--tools", "Read,Edit", "--allowedTools", "Read(./**)", "Edit(./train_mlx.py)")
    assert argv[at - 2 : at] == ("--permission-mode", "dontAsk") and "--bare" in argv and "--safe-mode" not in argv
    assert argv[-4:] == ("--model", "some-model", "--effort", "high")
    plain = claude_argv(options(tmp_path), with_key=False)
    assert "--safe-mode" in plain and not {"--bare", "--model", "--effort"} & set(plain)


def test_argv_of_codex(tmp_path: Path) -> None:
    argv = codex_argv(options(tmp_path, model="some-model", effort="high"))
    assert argv[:3] == ("codex", "exec", "--json") and argv[5:7] == ("-s", "workspace-write")
    assert argv[-5:] == ("-m", "some-model", "-c", 'model_reasoning_effort="high"', "-")
    plain = codex_argv(options(tmp_path))
    assert plain[-1] == "-" and "-m" not in plain and not any("effort" in word for word in plain)


def test_agents_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("claude", "codex"):
        with pytest.raises(AgentUnusableError, match=f"the program {name} is not installed.*npm install"):
            make_agent(name, options(tmp_path))
    with pytest.raises(AgentUnusableError, match="the program nothing is not installed"):
        make_agent("command", options(tmp_path, command="nothing --fast"))


def test_command_lines_that_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line, reason in ((None, "needs a command line"), (" ", "needs a command line"), ("sh 'x", "can't be split")):
        with pytest.raises(AgentUnusableError, match=reason):
            make_agent("command", options(tmp_path, command=line))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "train_mlx.py").write_text("")
    with pytest.raises(AgentUnusableError, match=f"where there is no mine.py; write {tmp_path}/mine.py"):
        make_agent("command", options(tmp_path, command="sh mine.py"))
    make_agent("command", options(tmp_path, command=f"sh {tmp_path}/mine.py train_mlx.py " + "x" * 5000))


def test_a_program_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.sh").write_text("#!/bin/sh\nsed -i.bak 's/WIDTH = 96/WIDTH = 160/' train_mlx.py\n")
    (tmp_path / "agent.sh").chmod(0o755)
    made = make_agent("command", options(tmp_path, command="./agent.sh"))
    assert "WIDTH = 160" in made.propose(briefing()).source


def test_dollars_of_codex_cannot_be_limited_without_a_price(tmp_path: Path) -> None:
    with pytest.raises(AutoresearchError, match="the price of codex is not known"):
        make_agent("codex", AgentOptions(ledger(tmp_path, dollars=5)))


# What claude prints: recorded from 2.1.197

CLAUDE_RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "api_error_status": None,
    "num_turns": 5,
    "result": "Done.\nDESCRIPTION: a\nHYPOTHESIS: b\nEXPECTED: c",
    "stop_reason": "end_turn",
    "total_cost_usd": 0.00136875,
    "usage": {
        "input_tokens": 44,
        "cache_creation_input_tokens": 28,
        "cache_read_input_tokens": 400,
        "output_tokens": 20,
    },
    "modelUsage": {
        "claude-opus-4-8[1m]": {
            "inputTokens": 55,
            "outputTokens": 25,
            "cacheReadInputTokens": 500,
            "cacheCreationInputTokens": 35,
            "costUSD": 0.00136875,
        }
    },
    "permission_denials": [],
}


def claude_error(words: str, status: int | None = None) -> dict:
    changes = {"is_error": True, "api_error_status": status, "result": words, "total_cost_usd": 0, "modelUsage": {}}
    return {**CLAUDE_RESULT, **changes}


def claude_output(result: object, exit_status: int = 0) -> Output:
    return Output(exit_status, json.dumps(result) + "\n", "")


@pytest.mark.parametrize("shape", [CLAUDE_RESULT, [{"type": "system"}, CLAUDE_RESULT]])
def test_claude_done(shape: object) -> None:
    answer = read_claude(claude_output(shape))
    assert answer == Answer(CLAUDE_RESULT["result"], Usage(55, 25, 500, 35, dollars=0.00136875))


def test_claude_done_after_a_warning() -> None:
    assert read_claude(Output(0, "a warning\n" + json.dumps(CLAUDE_RESULT), "")).problem is None


PRESET = Preset("claude", ("claude",), read_claude, "run `claude` by hand")


@pytest.mark.parametrize(
    ("words", "status", "kind"),
    [
        ("Not logged in · Please run /login", None, AgentUnusableError),
        ("Failed to authenticate. API Error: 401 invalid x-api-key", 401, AgentUnusableError),
        ("Invalid API key · Fix external API key", None, AgentUnusableError),
        ("Credit balance is too low", 400, AgentUnusableError),
        (
            "There's an issue with the selected model (x). It may not exist or you may not have access to it.",
            404,
            AgentUnusableError,
        ),
        ("API Error: 529 overloaded", 529, AgentUnavailableError),
        ("API Error: 400 fake 400", 400, AgentUnavailableError),
        ("API Error: Connection error.", None, AgentUnavailableError),
    ],
)
def test_claude_failed(words: str, status: int | None, kind: type[Exception]) -> None:
    answer = read_claude(claude_output(claude_error(words, status), 1))
    error = failure(PRESET, answer)
    assert type(error) is kind and words in str(error) and answer.usage is None
    assert kind is AgentUnavailableError or str(error).endswith("; run `claude` by hand")


@pytest.mark.parametrize("exit_status", [0, 1])
def test_claude_that_is_used_up(exit_status: int) -> None:
    for words in ("You've hit your session limit · resets 3am (UTC)", "Claude AI usage limit reached|1764050400"):
        for result in (claude_error(words, 429), {**CLAUDE_RESULT, "result": words}):
            error = failure(PRESET, read_claude(claude_output(result, exit_status)))
            assert type(error) is AgentUnavailableError and error.retry_after >= SHORTEST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (Output(0, "", ""), "no result in JSON"),
        (Output(0, "<html>", ""), "no result in JSON"),
        (Output(0, '{"type": "result"}', ""), "exit status 0"),
        (Output(0, "[1, null]", ""), "no result in JSON"),
        (Output(0, "[" * 100_000, ""), "no result in JSON"),
        (Output(1, "", "error: unknown option '--bare'\n"), "unknown option '--bare'"),
        (Output(137, "", ""), "exit status 137"),
    ],
)
def test_claude_in_another_form(output: Output, words: str) -> None:
    assert words in str(failure(PRESET, read_claude(output)))


def test_claude_usage_in_another_form() -> None:
    odd = {"modelUsage": {"a": 1, "b": {"inputTokens": -3, "outputTokens": "7"}}, "total_cost_usd": float("nan")}
    assert read_claude(claude_output({**CLAUDE_RESULT, **odd})).usage is None


# What codex prints: recorded from 0.169.0

CODEX_EVENTS = [
    {"type": "thread.started", "thread_id": "01a21202-715f-71b3-a627-0448a29b5850"},
    {"type": "item.completed", "item": {"id": "item_0", "type": "error", "message": "Model metadata not found."}},
    {"type": "turn.started"},
    {"type": "error", "message": "Reconnecting... 1/5 (unexpected status 401 Unauthorized: fake, url: http://x)"},
    {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "I look first."}},
    {
        "type": "item.completed",
        "item": {"id": "item_2", "type": "command_execution", "aggregated_output": "A = 2\n", "exit_code": 0},
    },
    {"type": "item.completed", "item": {"id": "item_3", "type": "agent_message", "text": "Done.\nDESCRIPTION: a"}},
    {
        "type": "turn.completed",
        "usage": {
            "input_tokens": 120,
            "cached_input_tokens": 80,
            "cache_write_input_tokens": 10,
            "output_tokens": 15,
            "reasoning_output_tokens": 9,
        },
    },
]


def codex_output(*events: object, exit_status: int = 0) -> Output:
    return Output(exit_status, "".join(json.dumps(event) + "\n" for event in events), "WARNING: something\n")


def codex_failed(message: str) -> Answer:
    events = [*CODEX_EVENTS[:3], {"type": "error", "message": message}]
    return read_codex(codex_output(*events, {"type": "turn.failed", "error": {"message": message}}, exit_status=1))


def test_codex_done() -> None:
    answer = read_codex(codex_output("no event", *CODEX_EVENTS))
    assert answer == Answer("Done.\nDESCRIPTION: a", Usage(30, 15, 80, 10)) and answer.usage.tokens == 135


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            "unexpected status 401 Unauthorized: Missing bearer authentication in header, url: http://x",
            AgentUnusableError,
        ),
        ("Missing environment variable: `OPENAI_API_KEY`.", AgentUnusableError),
        ("unexpected status 404 Not Found: fake 404, url: http://127.0.0.1:37121/v1/responses", AgentUnusableError),
        ('{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}', AgentUnusableError),
        ("The 'x' model is not supported when using Codex with a ChatGPT account.", AgentUnusableError),
        ("Quota exceeded. Check your plan and billing details.", AgentUnusableError),
        ("stream disconnected before completion: error sending request for url", AgentUnavailableError),
        ("unexpected status 503 Service Unavailable: overloaded", AgentUnavailableError),
        ("Selected model is at capacity. Please try a different model.", AgentUnavailableError),
    ],
)
def test_codex_failed(message: str, kind: type[Exception]) -> None:
    error = failure(PRESET, codex_failed(message))
    assert type(error) is kind and message[:250] in str(error)


def test_codex_that_is_used_up() -> None:
    words = (
        "You\u2019ve hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro), visit "
        "https://chatgpt.com/settings/usage to purchase more credits or try again at 11:31 AM."
    )
    now = datetime(2026, 11, 25, 10, 51, tzinfo=timezone.utc)
    error = failure(PRESET, codex_failed(words), now)
    assert type(error) is AgentUnavailableError and error.retry_after == 40 * 60 and "11:31 AM" in str(error)
    later = failure(
        PRESET, codex_failed("You\u2019ve hit your usage limit. To get more access now, try again later."), now
    )
    assert type(later) is AgentUnavailableError and later.retry_after is None


def test_codex_without_events() -> None:
    assert (
        "exit status 2: error: unexpected argument" in read_codex(Output(2, "", "error: unexpected argument")).problem
    )


# When a subscription is there again

NOW = datetime(2026, 11, 25, 2, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ("Claude AI usage limit reached|1795571400", 20),
        ("You've hit your session limit · resets 3am", 30),
        ("You've hit your session limit · resets 3:10am (Europe/Berlin)", 40),
        ("Your limit will reset at 3am (Europe/Berlin).", 30),
        ("You've hit your limit · resets 2am (UTC)", 30),
        ("You've hit your limit · resets 7:15am (Asia/Calcutta)", 15),
        ("You've hit your limit · resets 3am (Mars/Olympus)", 30),
        ("You've hit your weekly limit · resets Nov 25, 3am (Europe/Berlin)", 30),
        ("You've hit your limit · resets at 02:45", 15),
        ("5-hour limit reached ∙ resets 12am", 21.5 * 60),
        ("You've hit your usage limit. Upgrade to Pro (https://x) or try again in 25 minutes.", 25),
        ("or try again in 2 hours 5 minutes.", 125),
        ("or try again in 1 day 1 hour 33 minutes", 25 * 60 + 33),
        ("or try again in 5 minutes, 30 seconds.", 5.5),
        ("limit reached, resets in 12m", 12),
        ("or try again at 2:50 AM.", 20),
        ("or try again at Nov 25th, 2026 3:05 AM.", 35),
        ("or try again at Nov 30th, 2026 3:05 AM.", 5 * 1440 + 35),
        ("resets Jan 2, 3am", 38 * 1440 + 30),
        ("resets 2:29am", 1),  # it passed just now
        ("resets 1am", 22.5 * 60),  # tomorrow
    ],
)
def test_seconds_until_reset(words: str, minutes: float) -> None:
    assert seconds_until_reset(words, NOW) == 60 * minutes


@pytest.mark.parametrize(
    "words",
    [
        "You've hit your limit",
        "try again later",
        "resets next month",
        "resets 3",
        "resets 25:61",
        "resets 13pm",
        "resets Foo 3, 3am",
    ],
)
def test_times_that_are_none(words: str) -> None:
    assert seconds_until_reset(words, NOW) is None


# The real CLIs against a server on this machine


def work_folder(temporary: Path) -> Path:
    return next(temporary.resolve().glob("*/work"))


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without the person's settings and credentials."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / ".codex").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CODEX_HOME", str(home / ".codex"))
    return home


needs_claude = pytest.mark.skipif(shutil.which("claude") is None, reason="claude is not installed")
needs_codex = pytest.mark.skipif(shutil.which("codex") is None, reason="codex is not installed")


class ClaudeResearcher:
    """A policy for claude: reads, tries what is not allowed, edits; on its first run it changes nothing."""

    def __init__(self, temporary: Path) -> None:
        self.temporary, self.results, self.prompts = temporary, {}, []

    def __call__(self, body: dict, api: str) -> list[dict]:
        if not body.get("tools"):  # a title for the session
            return [text("a title")]
        for message in body["messages"]:
            if message["role"] == "user" and not isinstance(message["content"], str):
                for block in message["content"]:
                    if block["type"] == "tool_result":
                        self.results[block["tool_use_id"]] = block
        folder = work_folder(self.temporary)
        asked = json.dumps(body["messages"])
        if "was refused" not in asked:
            return [text("DESCRIPTION: nothing")]
        if "WIDTH = 128" not in asked:
            file = str(folder / "train_mlx.py")
            return [
                {**tool_use("Read", file_path=str(folder / "briefing.md")), "id": "read_briefing"},
                {**tool_use("Read", file_path=file), "id": "read_file"},
                {**tool_use("Read", file_path="/etc/hosts"), "id": "read_elsewhere"},
                {**tool_use("Edit", file_path=file, old_string="WIDTH = 96", new_string="WIDTH = 128"), "id": "edit"},
                {
                    **tool_use("Edit", file_path=str(folder / "program.md"), old_string="The", new_string="My"),
                    "id": "other",
                },
                {**tool_use("Bash", command="touch hacked"), "id": "bash"},
            ]
        return [text("Done.\nDESCRIPTION: wider\nHYPOTHESIS: room\nEXPECTED: -0.01")]


@needs_claude
@pytest.mark.parametrize("flag", ["--bare", "--safe-mode"])
def test_real_claude(
    tmp_path: Path, temporary: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY" if flag == "--bare" else "ANTHROPIC_AUTH_TOKEN", "fake")
    researcher = ClaudeResearcher(temporary)
    with FakeLLM(researcher) as fake:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url)
        made = make_agent("claude", options(tmp_path))
        proposal = made.propose(briefing())
    assert "WIDTH = 128" in proposal.source and proposal.description == "wider" and proposal.expected == "-0.01"
    refused = {name for name, block in researcher.results.items() if block.get("is_error")}
    assert set(researcher.results) - refused == {"read_briefing", "read_file", "edit"}
    written = entries(tmp_path)
    assert len(written) == 2 and all(entry["dollars"] > 0 for entry in written)  # its first run changed nothing
    assert proposal.tokens == sum(entry["tokens"] for entry in written) > 100
    assert proposal.dollars == sum(entry["dollars"] for entry in written)


@needs_claude
def test_real_claude_fails(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLLM(lambda body, api: [text("x")]) as fake:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url)
        with pytest.raises(AgentUnusableError, match="Not logged in"):
            make_agent("claude", options(tmp_path)).propose(briefing())
        monkeypatch.setenv("ANTHROPIC_API_KEY", "fake")
        made = make_agent("claude", options(tmp_path, model="claude-none", effort="low"))
        fake.faults = ["status:404"] * 8
        with pytest.raises(AgentUnusableError, match="issue with the selected model"):
            made.propose(briefing())
        assert {request.body["model"] for request in fake.requests} >= {"claude-none"}
        fake.faults = ["credit"] * 8
        with pytest.raises(AgentUnusableError, match=r"[Cc]redit balance"):
            made.propose(briefing())


def write_codex_config(home: Path, url: str) -> None:
    (home / ".codex" / "config.toml").write_text(
        'model = "some-model"\nmodel_provider = "fake"\n[model_providers.fake]\nname = "fake"\nwire_api = "responses"\n'
        f'base_url = "{url}/v1"\nenv_key = "FAKE_KEY"\nrequest_max_retries = 0\nstream_max_retries = 0\n'
    )


@needs_codex
def test_real_codex(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", "fake")
    outside = tmp_path / "outside"

    def policy(body: dict, api: str) -> list[dict]:
        asked = json.dumps(body["input"])
        if "was refused" not in asked:
            return [text("DESCRIPTION: nothing")]
        if "function_call_output" not in asked:
            script = f"sed -i.bak 's/WIDTH = 96/WIDTH = 128/' train_mlx.py; touch {outside}; wc -c *.md"
            return [tool_use("exec_command", cmd=script)]
        return [text("Done.\nDESCRIPTION: wider\nHYPOTHESIS: room\nEXPECTED: -0.01")]

    with FakeLLM(policy) as fake:
        write_codex_config(own_home, fake.url)
        made = make_agent("codex", options(tmp_path, effort="high"))
        proposal = made.propose(briefing())
    assert "WIDTH = 128" in proposal.source and proposal.hypothesis == "room" and not outside.exists()
    written = entries(tmp_path)
    assert [(entry["agent"], entry["model"], entry["dollars"]) for entry in written] == [("codex", "codex", None)] * 2
    assert proposal.tokens == sum(entry["tokens"] for entry in written) == 3 * 15 and proposal.dollars is None
    assert {request.body["reasoning"]["effort"] for request in fake.requests} == {"high"}


@needs_codex
def test_real_codex_fails(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLLM(lambda body, api: [text("x")]) as fake:
        write_codex_config(own_home, fake.url)
        made = make_agent("codex", options(tmp_path, model="other-model"))
        with pytest.raises(AgentUnusableError, match="Missing environment variable: `FAKE_KEY`"):
            made.propose(briefing())
        monkeypatch.setenv("FAKE_KEY", "fake")
        for fault, kind in (("status:401", AgentUnusableError), ("status:500", AgentUnavailableError)):
            fake.faults = [fault] * 8
            with pytest.raises(kind, match="codex"):
                made.propose(briefing())
        assert {request.body["model"] for request in fake.requests} == {"other-model"}
