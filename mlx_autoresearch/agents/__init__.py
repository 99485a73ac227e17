"""Who proposes the next edit of train_mlx.py: the protocol, the agents by name, and which one is taken.

Notable: an agent has a name and `propose`; it gets plain data (`briefing.Briefing`) and returns plain data.
It runs nothing of what it proposes, writes nothing into the project and never sees the held-out text. Agents are
imported when they are chosen, not before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.spending import Ledger


class Agent(Protocol):
    """Proposes edits.

    Attributes:
        name: goes into every proposal's record.
        thinks_ahead: whether it may think while a run trains. False where it needs the machine for itself, or takes
            no time worth hiding and gains from knowing the newest result.
    """

    name: str
    thinks_ahead: bool

    def propose(self, briefing: Briefing) -> Proposal:
        """The next edit: of `briefing.base`, which is the incumbent's file, or that of a crash to be mended.

        A proposal that mends says so in `repairs`; an agent that can't mend proposes something new instead. The result
        passes `refusal.refusal(briefing, source)`. Everything that was spent is in the ledger by then.

        Raises:
            AgentUnavailableError: it can't answer now, but may later.
            AgentUnusableError: it will not answer before a person does something.
            NoProposalError: it answered, and nothing usable came out.
            SpendingLimitError: asking it would cost more than is allowed.
            AutoresearchError: it has nothing left to propose.
        """
        ...

    def close(self) -> None:
        """End whatever is going on in another thread's `propose`; nothing of it lives on. May be called twice."""
        ...


class AgentUnavailableError(Exception):
    """Overload, a limit, a lost network: the same question may be answered later.

    Attributes:
        retry_after: seconds after which the server wants to be asked again; None when it doesn't say.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class AgentUnusableError(AutoresearchError):
    """A wrong key, no credit, an unknown model, a missing program: only a person can mend it."""


class NoProposalError(Exception):
    """The agent answered, but no usable edit came out; the message says why."""


class SpendingLimitError(Exception):
    """A limit of the ledger is reached; the message says which."""


@dataclass(frozen=True)
class AgentOptions:
    """What a person may choose about an agent; None leaves the agent's own default.

    Attributes:
        ledger: where every answer's cost is written down.
        seed: of the agent's own random choices.
        model: name of the language model.
        effort: how hard it thinks: "low", "medium", "high", "xhigh" or "max".
        base_url: address of another server that speaks the same protocol.
        command: a command line that edits train_mlx.py in the current folder.
        say: shows the person a sentence that is no reason to stop.
    """

    ledger: Ledger
    seed: int = 0
    model: str | None = None
    effort: str | None = None
    base_url: str | None = None
    command: str | None = None
    say: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True)
class AgentKind:
    """An agent that can be chosen.

    Attributes:
        summary: what it is, in a few words.
        options: names of the fields of `AgentOptions` that it heeds.
        make: makes it; raises AgentUnusableError where something that it can't do without is missing.
    """

    summary: str
    options: tuple[str, ...]
    make: Callable[[AgentOptions], Agent]


def _make_anthropic(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.anthropic import AnthropicAgent

    return AnthropicAgent(options)


def _make_claude(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.command import claude_agent

    return claude_agent(options)


def _make_codex(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.command import codex_agent

    return codex_agent(options)


def _make_command(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.command import custom_agent

    return custom_agent(options)


def _make_chat(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.chat import ChatAgent

    return ChatAgent(options)


def _make_local(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.local import LocalAgent

    return LocalAgent(options)


def _make_search(options: AgentOptions) -> Agent:
    from mlx_autoresearch.agents.search import SearchAgent

    return SearchAgent(options.seed)


AGENTS: dict[str, AgentKind] = {
    "anthropic": AgentKind(
        "Claude through Anthropic's API, or another server of /v1/messages",
        ("model", "effort", "base_url"),
        _make_anthropic,
    ),
    "claude": AgentKind("Claude Code, with a subscription or a key", ("model", "effort"), _make_claude),
    "codex": AgentKind("Codex, with a subscription or a key", ("model", "effort"), _make_codex),
    "command": AgentKind("a command line that edits a file", ("command",), _make_command),
    "chat": AgentKind("any server of /v1/chat/completions", ("model", "effort", "base_url"), _make_chat),
    "local": AgentKind("an mlx-lm model on this machine, no network", ("model",), _make_local),
    "search": AgentKind("Optuna over the knobs and a catalogue of edits, no network and no key", (), _make_search),
}
"""The agents by name."""

KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


def best_available() -> tuple[str, str]:
    """Name of the best agent that is ready without a question asked, and why it is the one."""
    for variable in KEY_VARIABLES:
        if os.environ.get(variable):
            return "anthropic", f"{variable} is set"
    for program in ("claude", "codex"):
        if shutil.which(program):
            return program, f"the program {program} is installed"
    return "search", "no key is set, and neither claude nor codex is installed"


def choose_agent(name: str | None) -> tuple[str, str]:
    """Name of the agent asked for, or of the best one available, and a sentence that says which it is and why.

    Raises:
        AutoresearchError: there is no agent of this name.
    """
    if name is not None and name not in AGENTS:
        raise AutoresearchError(f"There is no agent named {name!r}; choose one of: {', '.join(AGENTS)}")
    chosen, why = (name, "chosen by name") if name else best_available()
    return chosen, f"{chosen} ({AGENTS[chosen].summary}): {why}"


def make_agent(name: str, options: AgentOptions) -> Agent:
    """The agent of this name.

    Raises:
        AutoresearchError: something that it needs is missing, or an option is not for it.
    """
    chosen = {option: getattr(options, option) for option in ("model", "effort", "base_url", "command")}
    unused = [option for option, value in chosen.items() if value is not None and option not in AGENTS[name].options]
    if unused:
        flags = " and ".join("--" + option.replace("_", "-") for option in unused)
        raise AutoresearchError(
            f"{flags} can't be used with the {name} agent: leave it out, or choose another agent with --agent"
        )
    return AGENTS[name].make(options)
