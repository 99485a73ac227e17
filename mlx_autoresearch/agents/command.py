"""The command agent: a coding CLI edits a copy of train_mlx.py in a throw-away folder. Presets: `claude` and `codex`.

    <system's temp>/mlx-autoresearch-agent-<pid>-xxxx/
        work/train_mlx.py, program.md, briefing.md    the program's current folder
        prompt, output, errors                        its standard input, output and error

Notable: of all that the program did only work/train_mlx.py is read back, once nothing of it runs any more. It gets
files and no pipes, because a grandchild that holds a pipe open keeps the reader waiting for ever. It has the person's
whole environment, for it needs its credentials. What the CLIs print is read by pure functions, written after recorded
output of Claude Code 2.1.197 and codex-cli 0.169.0 and the limit messages that people reported of earlier ones.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from mlx_autoresearch.agents import (
    AgentOptions,
    AgentUnavailableError,
    AgentUnusableError,
    NoProposalError,
    SpendingLimitError,
)
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.briefing_text import changing_text, program_text
from mlx_autoresearch.agents.conversation import labelled_proposal
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.gate import SIZE_LIMIT
from mlx_autoresearch.machine import awake_seconds
from mlx_autoresearch.process import kill_group, tail
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.spending import Cost, Usage
from mlx_autoresearch.supervise import supervised
from mlx_autoresearch.temporary import remove_leftovers, temporary_folder
from mlx_autoresearch.text import shortened

FILES = TRAINING_FILE, PROGRAM_FILE, BRIEFING_FILE = "train_mlx.py", "program.md", "briefing.md"
"""What lies in the program's folder."""

TIME_LIMIT_SECONDS = 15 * 60.0
"""For one run of the program. Without a network `claude` goes on trying by itself for minutes."""

OUTPUT_LIMIT_BYTES = 32 << 20
"""A program that prints more is stopped: endless output would fill the disk."""

MENDS = 2
"""How often a refused edit goes back to the program."""

POLL_SECONDS = 0.1

STOP_SECONDS = 10.0
"""For the supervisor to kill everything; it needs a fraction of a second."""

SHORTEST_WAIT_SECONDS = 60.0
"""Reset times are rounded, and some are over when they are told."""

JUST_PASSED = timedelta(minutes=15)
"""A reset time that passed no longer ago than this is meant as now, not as tomorrow."""

FOLDER_NAME = "mlx-autoresearch-agent"

FORM = """End your answer with these three lines:
DESCRIPTION: what you changed, in one line
HYPOTHESIS: why it should help
EXPECTED: the effect you predict"""

PROMPT = f"""Read {PROGRAM_FILE} and {BRIEFING_FILE} in the current folder. Then improve {TRAINING_FILE} as they ask.
Edit only {TRAINING_FILE}. Run nothing: the training is done elsewhere, and only the text of {TRAINING_FILE} is taken.
{FORM}"""

MEND_PROMPT = f"""You were to improve {TRAINING_FILE} in the current folder as {PROGRAM_FILE} and {BRIEFING_FILE} say.
The edit was refused: {{reason}}
{{state}} Read what you need, then edit it again. Edit only {TRAINING_FILE}. Run nothing.
{FORM}"""


@dataclass(frozen=True)
class Output:
    """What a program that has ended left behind: exit status, standard output, standard error."""

    exit_status: int
    text: str
    errors: str


@dataclass(frozen=True)
class Answer:
    """A program's output, understood.

    Attributes:
        text: the model's last message.
        usage: what was used; None when the program doesn't say.
        problem: what went wrong in the program's own words; None for a good end.
        status: HTTP status of the error, when it is known.
    """

    text: str = ""
    usage: Usage | None = None
    problem: str | None = None
    status: int | None = None


@dataclass(frozen=True)
class Preset:
    """One coding CLI.

    Attributes:
        name: of the agent.
        argv: the command; the prompt comes on its standard input.
        read: makes sense of its output.
        help: what a person does when the CLI refuses to work.
    """

    name: str
    argv: tuple[str, ...]
    read: Callable[[Output], Answer]
    help: str


def claude_agent(options: AgentOptions) -> CommandAgent:
    """Claude Code, with a subscription or a key.

    Raises:
        AgentUnusableError: it is not installed.
    """
    with_key = bool(os.environ.get("ANTHROPIC_API_KEY"))
    advice = "run `claude` by hand to see whether it is logged in, and check --model"
    _find_program("claude", "npm install -g @anthropic-ai/claude-code, then log in by running `claude` once")
    return CommandAgent(Preset("claude", claude_argv(options, with_key), read_claude, advice), options)


def claude_argv(options: AgentOptions, with_key: bool) -> tuple[str, ...]:
    """The command line of Claude Code: it may read this folder and edit one file, and nothing else.

    Args:
        options: model and effort are used.
        with_key: whether there is an API key. `--bare` makes the request 40 times smaller, but takes only keys.
    """
    return (
        *shlex.split("claude -p --output-format json --strict-mcp-config --no-session-persistence"),
        *("--bare" if with_key else "--safe-mode", "--permission-mode", "dontAsk"),
        *("--tools", "Read,Edit", "--allowedTools", "Read(./**)", f"Edit(./{TRAINING_FILE})"),
        *(("--model", options.model) if options.model else ()),
        *(("--effort", options.effort) if options.effort else ()),
    )


def codex_agent(options: AgentOptions) -> CommandAgent:
    """Codex, with a subscription or a key.

    Raises:
        AgentUnusableError: it is not installed.
        AutoresearchError: a limit in dollars can't be kept, because the price is unknown: codex tells tokens only.
    """
    options.ledger.check_model(options.model or "codex")
    advice = "run `codex` by hand to see whether it is logged in, and check --model"
    _find_program("codex", "npm install -g @openai/codex, then log in with `codex login`")
    return CommandAgent(Preset("codex", codex_argv(options), read_codex, advice), options)


def codex_argv(options: AgentOptions) -> tuple[str, ...]:
    """The command line of Codex: its own sandbox lets commands write in this folder only; they may read everything."""
    return (
        *shlex.split("codex exec --json --ephemeral --skip-git-repo-check -s workspace-write"),
        *("-c", "sandbox_workspace_write.exclude_slash_tmp=true"),  # the other temporary files are not its own
        *("-c", "sandbox_workspace_write.exclude_tmpdir_env_var=true"),
        *(("-m", options.model) if options.model else ()),
        *(("-c", f"model_reasoning_effort={json.dumps(options.effort)}") if options.effort else ()),
        "-",
    )


def custom_agent(options: AgentOptions) -> CommandAgent:
    """Any command line that edits train_mlx.py in its current folder; the prompt comes on its standard input.

    Raises:
        AgentUnusableError: there is no command, or it can't be found.
    """
    try:
        words = shlex.split(options.command or "")
    except ValueError as error:
        raise AgentUnusableError(f"--command {options.command!r} can't be split into words: {error}") from None
    if not words:
        raise AgentUnusableError(
            "the agent `command` needs a command line that edits train_mlx.py in the current folder, with the prompt "
            "on its standard input: --command 'opencode run', for example"
        )
    program = _find_program(words[0], "check the first word of --command")
    for word in words[1:]:
        if word not in FILES and not os.path.isabs(word) and os.path.isfile(word):
            raise AgentUnusableError(
                f"--command runs in a folder of its own, where there is no {word}; write {Path(word).absolute()}"
            )
    return CommandAgent(Preset("command", (program, *words[1:]), read_custom, "run --command by hand"), options)


def _find_program(name: str, advice: str) -> str:
    """Absolute path of a program; a relative one would not be found from another folder."""
    path = shutil.which(name)
    if path is None:
        raise AgentUnusableError(f"the program {name} is not installed, or not on PATH: {advice}")
    return os.path.abspath(path)


class CommandAgent:
    """Lets a coding CLI edit train_mlx.py. See `agents.Agent`."""

    thinks_ahead = True

    def __init__(self, preset: Preset, options: AgentOptions) -> None:
        """`options` gives the ledger, and the model under whose name costs are written down."""
        self.name = preset.name
        self._preset, self._ledger, self._model = preset, options.ledger, options.model or preset.name
        self._lock = threading.Lock()
        self._running: subprocess.Popen | None = None
        self._closed = False
        remove_leftovers(Path(tempfile.gettempdir()), FOLDER_NAME)

    def propose(self, briefing: Briefing) -> Proposal:
        """One edit of `briefing.base`, made by the program in at most 1 + MENDS runs. Raises as `agents.Agent` says."""
        try:
            with temporary_folder(Path(tempfile.gettempdir()), FOLDER_NAME) as folder:
                folder = folder.resolve()  # a CLI holds its rules against the real path; macOS's temp is a link
                (folder / "work").mkdir()
                texts = briefing.base, program_text(briefing), changing_text(briefing)
                for file, text in zip(FILES, texts, strict=True):
                    (folder / "work" / file).write_bytes(text.encode())
                return self._propose_in(folder, briefing)
        except OSError as error:  # a full disk, or a program that did away with its folder
            raise AgentUnavailableError(f"{self.name} could not be run: {error}") from None

    def close(self) -> None:
        """End the program that runs for another thread's `propose`, and start none any more."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None:
            _stop(running)

    def _propose_in(self, folder: Path, briefing: Briefing) -> Proposal:
        prompt, spent, reason = PROMPT, Cost(), ""
        for _ in range(1 + MENDS):
            if (limit := self._ledger.refusal()) is not None:
                raise SpendingLimitError(limit)
            try:
                answer = self._preset.read(self._run(folder, prompt))
            except AgentUnavailableError as error:
                self._ledger.record_lost(self.name, self._model, str(error))
                raise
            spent += self._record(answer.usage)
            if answer.problem is not None:
                raise failure(self._preset, answer)
            edited = folder / "work" / TRAINING_FILE
            try:
                source, state = read_edit(edited), f"{TRAINING_FILE} holds your edit."
                reason = refusal(briefing, source)
            except UnusableFileError as error:
                restore(edited, briefing.base)
                source, state, reason = "", f"{TRAINING_FILE} was put back as you got it.", str(error)
            if reason is None:
                said = answer.text[max(0, answer.text.rfind("DESCRIPTION:")) :]  # a program may print its prompt first
                return labelled_proposal(briefing, self.name, source, said, spent)
            prompt = MEND_PROMPT.format(reason=shortened(reason, 2000), state=state)
        raise NoProposalError(f"{self.name} made no usable edit in {1 + MENDS} tries; the last: {reason}")

    def _record(self, usage: Usage | None) -> Cost:
        return Cost(0, None) if usage is None else self._ledger.record(self.name, self._model, usage)

    def _run(self, folder: Path, prompt: str) -> Output:
        """Run the program to its end.

        Raises:
            AgentUnavailableError: it was stopped, for its time, its output, or by `close`.
        """
        (folder / "prompt").write_bytes(prompt.encode())
        out, err = folder / "output", folder / "errors"
        with (folder / "prompt").open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
            with self._lock:
                if self._closed:
                    raise AgentUnavailableError(f"{self.name} was told to end")
                running = self._running = subprocess.Popen(
                    supervised(list(self._preset.argv)),
                    cwd=folder / "work",
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            try:
                stopped = _watch(running, (out, err))
            finally:
                _stop(running)
                self._running = None
        if self._closed:
            raise AgentUnavailableError(f"{self.name} was told to end")
        if stopped is not None:
            raise AgentUnavailableError(f"{self.name} {stopped} and was stopped")
        return Output(running.returncode, tail(out, OUTPUT_LIMIT_BYTES), tail(err, 2000))


def _watch(running: subprocess.Popen, files: tuple[Path, ...]) -> str | None:
    """Wait for the end of a program; returns what it did too much of, None when it ended by itself."""
    deadline = awake_seconds() + TIME_LIMIT_SECONDS
    while running.poll() is None:
        if awake_seconds() >= deadline:
            return f"took more than {TIME_LIMIT_SECONDS / 60:g} minutes"
        if any(file.stat().st_size > OUTPUT_LIMIT_BYTES for file in files):
            return f"printed more than {OUTPUT_LIMIT_BYTES >> 20} MiB"
        with suppress(subprocess.TimeoutExpired):
            running.wait(POLL_SECONDS)
    return None


def _stop(running: subprocess.Popen) -> None:
    """Have the supervisor kill everything, and wait for its end."""
    running.terminate()
    try:
        running.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(running)


class UnusableFileError(Exception):
    """train_mlx.py as the program left it can't be read; the message is for the program."""


def read_edit(path: Path) -> str:
    """The text of an edited train_mlx.py, trusting nothing about what lies there.

    Raises:
        UnusableFileError: it is gone, no plain file, too large, or not UTF-8.
    """
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise UnusableFileError(f"{TRAINING_FILE} is not a plain file any more.")
        if facts.st_size > 4 * SIZE_LIMIT:  # the most bytes that so many characters take
            raise UnusableFileError(
                f"{TRAINING_FILE} has {facts.st_size:,} bytes; {SIZE_LIMIT:,} characters are the limit."
            )
        source = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UnusableFileError(f"{TRAINING_FILE} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UnusableFileError(f"{TRAINING_FILE} is not UTF-8: {error.reason} at byte {error.start}.") from None
    if len(source) > SIZE_LIMIT:
        raise UnusableFileError(f"{TRAINING_FILE} has {len(source):,} characters; {SIZE_LIMIT:,} are the limit.")
    return source


def restore(path: Path, text: str) -> None:
    """Put a plain file with `text` in the place of whatever lies at `path`; never write through a link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())


def read_custom(output: Output) -> Answer:
    """A program that follows no form: what it printed is its message, and a status other than 0 a failure."""
    return Answer(text=output.text[-20_000:], problem=_ending(output) if output.exit_status else None)


LIMIT_AS_ANSWER = re.compile(r"(Claude AI usage limit reached|You.ve hit your [\w ]*limit)")
"""How an answer begins that is none; some versions did not call it an error."""


def read_claude(output: Output) -> Answer:
    """The output of `claude -p --output-format json`: one result (`subtype` says "success" on failures too)."""
    result = _claude_result(output.text)
    if result is None:
        return Answer(problem=_ending(output) if output.exit_status else "its answer is no result in JSON")
    text, status = str(result.get("result") or ""), result.get("api_error_status")
    failed = output.exit_status != 0 or result.get("is_error") is not False or LIMIT_AS_ANSWER.match(text)
    return Answer(
        text=text,
        usage=_claude_usage(result),
        problem=(text.strip() or _ending(output)) if failed else None,
        status=status if isinstance(status, int) else None,
    )


def _claude_result(text: str) -> dict | None:
    """The result object; with "verbose" in a person's settings it is the last of a list of messages."""
    for candidate in (text, *reversed(text.splitlines())):
        with suppress(ValueError, RecursionError):
            found = json.loads(candidate)
            for message in reversed(found if isinstance(found, list) else [found]):
                if isinstance(message, dict) and message.get("type") == "result":
                    return message
    return None


def _claude_usage(result: dict) -> Usage | None:
    """All models' tokens together: `usage` leaves out what Claude Code asks besides, `total_cost_usd` does not."""
    models = result.get("modelUsage")
    parts = [part for part in models.values() if isinstance(part, dict)] if isinstance(models, dict) else []
    dollars = result.get("total_cost_usd")
    is_price = isinstance(dollars, int | float) and math.isfinite(dollars) and dollars >= 0
    usage = Usage(
        input_tokens=sum(_count(part, "inputTokens") for part in parts),
        output_tokens=sum(_count(part, "outputTokens") for part in parts),
        cache_read_tokens=sum(_count(part, "cacheReadInputTokens") for part in parts),
        cache_write_tokens=sum(_count(part, "cacheCreationInputTokens") for part in parts),
        dollars=float(dollars) if is_price else None,
    )
    return usage if usage.tokens or usage.dollars else None


def read_codex(output: Output) -> Answer:
    """The output of `codex exec --json`: a line of JSON for each event.

    An `error` event alone is no failure: while it tries again, codex writes one for every attempt.
    """
    text, usage, error, failed = "", None, "", output.exit_status != 0
    for event in _json_lines(output.text):
        kind, item = event.get("type"), event.get("item")
        if kind == "item.completed" and isinstance(item, dict) and item.get("type") == "agent_message":
            text = str(item.get("text") or "")
        elif kind == "turn.completed" and isinstance(event.get("usage"), dict):
            usage = _codex_usage(event["usage"])
        elif kind == "error":
            error = str(event.get("message") or error)
        elif kind == "turn.failed":
            detail = event.get("error")
            failed, error = True, str((isinstance(detail, dict) and detail.get("message")) or error)
    found = re.search(r"unexpected status (\d{3})", error)
    status = int(found.group(1)) if found else None
    return Answer(text, usage, (error or _ending(output)) if failed else None, status if failed else None)


def _codex_usage(usage: dict) -> Usage:
    """`input_tokens` counts what came from the cache and went into it too; `output_tokens` counts the reasoning."""
    read, written = _count(usage, "cached_input_tokens"), _count(usage, "cache_write_input_tokens")
    return Usage(
        input_tokens=max(0, _count(usage, "input_tokens") - read - written),
        output_tokens=_count(usage, "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def _json_lines(text: str) -> Iterator[dict]:
    for line in text.splitlines():
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event


def _count(record: dict, name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and value >= 0 else 0


def _ending(output: Output) -> str:
    """How a program ended, with its last words."""
    words = output.errors.strip() or output.text.strip()[-2000:]
    return f"exit status {output.exit_status}" + (f": {words}" if words else "")


NEEDS_A_PERSON = re.compile(
    r"not logged in|run /login|codex login|log ?in again|sign in again|authentication.{0,20}(error|fail)"
    r"|invalid (x-)?api.?key|incorrect api key|missing environment variable|token (has |was )?(expired|revoked)"
    r"|credit balance|insufficient_quota|check your plan and billing"
    r"|issue with the selected model|model (.{1,80} )?(does not exist|is not supported|not found)|model_not_found"
    r"|unknown option|unexpected argument",
    re.IGNORECASE,
)

STATUS_NEEDS_A_PERSON = (401, 402, 403, 404)

USED_UP = re.compile(
    r"limit (has been )?reached|(hit|reached|exceeded) your .{0,60}limit|limit will reset|usage.limit"
    r"|out of .{0,12}usage",
    re.IGNORECASE,
)


def failure(preset: Preset, answer: Answer, now: datetime | None = None) -> Exception:
    """The exception for an answer with a problem: whether a person is needed, or time, and how much of it.

    Args:
        preset: of the program that answered.
        answer: `problem` is set.
        now: the time that reset times are compared with, with its zone; None for the clock's.
    """
    problem, words = answer.problem or "", shortened(answer.problem or "", 300)
    if USED_UP.search(problem):
        wait = seconds_until_reset(problem, now or datetime.now().astimezone())
        return AgentUnavailableError(f"{preset.name} is used up: {words}", wait)
    if answer.status in STATUS_NEEDS_A_PERSON or NEEDS_A_PERSON.search(problem):
        return AgentUnusableError(f"{preset.name} does not work: {words}; {preset.help}")
    return AgentUnavailableError(f"{preset.name} failed: {words}")


EPOCH = re.compile(r"limit reached\|(\d{10})")

DURATION = re.compile(
    r"(?:try again|resets?) in ((?:\d+ ?(?:days?|hours?|minutes?|seconds?|[dhms])\b[ ,]*(?:and )?)+)", re.I
)

UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

CLOCK = re.compile(
    r"(?:resets?|try again)(?: at)? "
    r"(?:(?P<month>[a-z]{3})[a-z]* (?P<day>\d{1,2})(?:st|nd|rd|th)?,?(?: (?P<year>\d{4}),?)?(?: at)? )?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))? ?(?P<half>[ap]m)?"
    r"(?: ?\((?P<zone>[\w/+-]+)\))?",
    re.IGNORECASE,
)


def seconds_until_reset(text: str, now: datetime) -> float | None:
    """Seconds until a used-up subscription wants to be asked again, None when `text` doesn't tell.

    Understood are "limit reached|1764050400", "try again in 2 days 3 hours 5 minutes", "resets 3am", "will reset at 7pm
    (Europe/Berlin)", "resets Nov 28, 3:30am (UTC)", "try again at Nov 26th, 2026 3:05 AM", "resets at 21:30".

    Args:
        text: what the program printed.
        now: the present with its zone, in which times without one are meant.
    """
    if found := EPOCH.search(text):
        return max(SHORTEST_WAIT_SECONDS, int(found.group(1)) - now.timestamp())
    if found := DURATION.search(text):
        parts = re.findall(r"(\d+) ?([dhms])", found.group(1).lower())
        return max(SHORTEST_WAIT_SECONDS, sum(int(count) * UNIT_SECONDS[unit] for count, unit in parts))
    for found in CLOCK.finditer(text):
        with suppress(ValueError):  # no such hour, day or month
            return max(SHORTEST_WAIT_SECONDS, (_next_time(found, now) - now).total_seconds())
    return None


def _next_time(found: re.Match[str], now: datetime) -> datetime:
    """The next moment that a clock reading means.

    Raises:
        ValueError: it is none.
    """
    here = now.astimezone(_zone(found["zone"], now))
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    if not half and found["minute"] is None:
        raise ValueError("a bare number is no time")
    if half and not 1 <= hour <= 12:
        raise ValueError("no hour of a half day")
    hour = hour % 12 + 12 * (half == "pm") if half else hour
    moment = here.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
    if found["month"]:
        month, year = MONTHS.index(found["month"].lower()) + 1, int(found["year"] or here.year)
        moment = moment.replace(year=year, month=month, day=int(found["day"]))
        is_next_year = not found["year"] and here - moment > timedelta(days=180)
        return moment.replace(year=year + 1) if is_next_year else moment
    return moment + timedelta(days=1) if here - moment > JUST_PASSED else moment


def _zone(name: str | None, now: datetime) -> ZoneInfo | timezone | None:
    """The zone of this name; that of `now` where the name is missing or this machine doesn't know it."""
    with suppress(ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        if name:
            return ZoneInfo(name)
    return now.tzinfo
