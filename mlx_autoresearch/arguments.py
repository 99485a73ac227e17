"""The loop's command line."""

from __future__ import annotations

import argparse

from mlx_autoresearch.agents import AGENTS
from mlx_autoresearch.argument_types import positive
from mlx_autoresearch.notify import ON_THIS_MAC
from mlx_autoresearch.settings import DEFAULT_BUDGET_SECONDS

EFFORTS = ("low", "medium", "high", "xhigh", "max")

DESCRIPTION = """\
Improve train_mlx.py through the night: an agent edits it, every edit trains for the same time on
this machine, what scores really better is kept. Without limits it goes on until Ctrl-C; started
again, it goes on where it stopped."""

EXAMPLES = """\
with a key              export ANTHROPIC_API_KEY=...    then no option is needed; --max-usd 10 sets a limit
with a subscription     --agent claude    or    --agent codex
with only this Mac      --agent local     (a quantised coder model, downloaded once)
with a local server     --agent chat --base-url http://127.0.0.1:11434/v1 --model qwen3-coder
with nothing at all     --agent search    (no network, no key)
with your own program   --agent command --command "my-agent --quiet"

Put your own ideas for the researcher into ideas.md beside program.md."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.loop",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--tag", help="name of the night; a known one is resumed (default: the newest that fits, or today)"
    )
    parser.add_argument("--dataset", help="name or folder of a prepared dataset (default: the one prepared last)")
    parser.add_argument(
        "--experiments", type=positive(int), metavar="N", help="stop when the tag holds N decided edits"
    )
    parser.add_argument("--hours", type=positive(float), metavar="H", help="start no experiment after H hours")
    parser.add_argument(
        "--budget",
        type=positive(float),
        metavar="SECONDS",
        default=DEFAULT_BUDGET_SECONDS,
        help="training time of a run; other than 300 is for practice and never compared with it (default: 300)",
    )
    parser.add_argument(
        "--no-sandbox",
        action="store_true",
        help="run edits with your own rights: they could read your files and use your network; it is written down",
    )
    parser.add_argument(
        "--install-launch-agent",
        action="store_true",
        help="macOS: run this night in the background, and go on with it after a reboot",
    )
    parser.add_argument(
        "--uninstall-launch-agent", action="store_true", help="macOS: stop that night, and don't start it again"
    )
    add_looking_arguments(parser)
    add_researcher_arguments(parser)
    return parser


def add_looking_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments about how a person follows the night."""
    group = parser.add_argument_group("looking", "how you follow the night; docs/night.md has more")
    group.add_argument(
        "--watch",
        nargs="?",
        const="",
        metavar="TAG",
        help="only look at a night, running or over, from another terminal (default: the one worked on last)",
    )
    group.add_argument("--plain", action="store_true", help="no live view at a terminal: lines only")
    group.add_argument(
        "--notify",
        nargs="?",
        const=ON_THIS_MAC,
        metavar="URL",
        help="tell when the night is over or in trouble: POST a small JSON to this webhook, or without a URL show a "
        "notification on this Mac",
    )


def add_researcher_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments about who proposes the edits."""
    group = parser.add_argument_group("the researcher", "who proposes the edits, and what that may cost")
    group.add_argument("--agent", help=f"one of {', '.join(AGENTS)} (default: the best one available)")
    group.add_argument("--model", help="name of its language model (default: the agent's own choice)")
    group.add_argument("--effort", choices=EFFORTS, help="how hard the model thinks (default: the server's own)")
    group.add_argument("--base-url", metavar="URL", help="another server: Ollama, LM Studio, llama.cpp, vLLM, ...")
    group.add_argument("--command", help="for --agent command: a command line that edits train_mlx.py in its folder")
    group.add_argument(
        "--max-usd", type=positive(float), metavar="DOLLARS", help="ask no language model once the tag has cost so much"
    )
    group.add_argument(
        "--max-tokens", type=positive(int), metavar="N", help="ask no language model once the tag has used so many"
    )
