"""Text from a trained model, by its exported graph alone, so that any architecture of the night can be read.

    python -m mlx_autoresearch.sample --tag nov24 "Once upon a time"

Which model it takes is said on standard error; standard output is the text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_autoresearch import blas, compiler
from mlx_autoresearch.argument_types import positive
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.settings import GRAPH_FILE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mlx_autoresearch.continuation import Sampling
    from mlx_autoresearch.exported_model import GraphReader

DESCRIPTION = """\
Let a trained model continue a text. It is read from its exported graph, which holds no Python, so any
architecture of the night will do. The same prompt, settings and seed give the same text again."""

EXAMPLES = """\
examples:
  python -m mlx_autoresearch.sample "Once upon a time"                     the newest best model there is
  python -m mlx_autoresearch.sample --tag nov24 --compare "Lily saw"       what the night has changed
  python -m mlx_autoresearch.sample --tag nov24 --model 12 --seed 3 "Tom"  a kept experiment, another text
  python -m mlx_autoresearch.sample --tag nov24 --temperature 0 "Tom"      always the likeliest token

Models are kept of the baseline and of what was kept. docs/model.md has more."""


@dataclass(frozen=True)
class Voice:
    """A model that is ready to write.

    Attributes:
        name: short, for a heading.
        sentence: what it is, for a person.
        reader: its graph.
        tokenizer: its tokenizer.
    """

    name: str
    sentence: str
    reader: GraphReader
    tokenizer: Tokenizer

    def pieces(self, prompt: str, sampling: Sampling) -> Iterator[str]:
        """The continuation of `prompt` as it grows."""
        from mlx_autoresearch.continuation import continue_texts

        return (piece for _, piece in continue_texts(self.reader, self.tokenizer, [prompt], sampling))


def open_voice(graph: Path, tokenizer: Path | None, name: str, sentence: str) -> Voice:
    """The model in `graph`, with the tokenizer in a file, or what lies beside the graph.

    Raises:
        AutoresearchError: the graph is damaged or refused, or there is no tokenizer for it.
    """
    from mlx_autoresearch.chosen_model import read_tokenizer, tokenizer_beside
    from mlx_autoresearch.continuation import open_reader
    from mlx_autoresearch.judge import RefusedError

    try:
        reader, vocab_size = open_reader(graph)
    except RefusedError as error:
        raise AutoresearchError(
            f"{graph} can't be used: {error}. It is damaged, or no model of this project; take another --model."
        ) from None
    known = tokenizer_beside(graph, vocab_size) if tokenizer is None else read_tokenizer(tokenizer)
    return Voice(name, sentence, reader, known)


def choose_voices(tag: str | None, models: Sequence[str], graph: str | None) -> list[Voice]:
    """The models that a person asked for.

    Raises:
        AutoresearchError: there is no such model.
    """
    from mlx_autoresearch.chosen_model import choose_model, find_graph, night_with_the_newest_best, score_beside

    root = night_with_the_newest_best() if tag is None else runs_root() / tag
    if graph is not None or root is None:
        if models != ["best"]:
            raise AutoresearchError(f"There is no night with a best model under {runs_root()}; name one with --tag.")
        path = find_graph(None, graph)
        score = score_beside(path)
        scored = "nothing beside it says that it was ever scored" if score is None else f"val_bpb {score:.4f}"
        return [open_voice(path, None, path.parent.name, f"the model in {path.parent}, {scored}")]
    chosen = [choose_model(root, which) for which in models]
    if len(chosen) > 1 and len({each.graph for each in chosen}) == 1:
        chosen = chosen[:1]
        print("Nothing better than the baseline was kept yet, so there is one text only.", file=sys.stderr)
    return [open_voice(each.graph, each.tokenizer, each.name, each.sentence()) for each in chosen]


def write_out(voice: Voice, prompt: str, sampling: Sampling) -> None:
    """Print a text as it grows."""
    print(prompt, end="", flush=True)
    for piece in voice.pieces(prompt, sampling):
        print(piece, end="", flush=True)
    print()


def write_side_by_side(voices: Sequence[Voice], prompt: str, sampling: Sampling) -> None:
    """Show texts in columns as they grow, each model writing a token in turn."""
    from rich.console import Console
    from rich.live import Live

    texts = [prompt] * len(voices)
    growing = {index: voice.pieces(prompt, sampling) for index, voice in enumerate(voices)}
    with Live(console=Console(highlight=False), refresh_per_second=10) as live:
        live.update(_columns(voices, texts))
        while growing:
            for index, pieces in list(growing.items()):
                piece = next(pieces, None)
                if piece is None:
                    del growing[index]
                else:
                    texts[index] += piece
            live.update(_columns(voices, texts))


def _columns(voices: Sequence[Voice], texts: Sequence[str]):
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True)
    for voice in voices:
        table.add_column(Text(voice.name), ratio=1)
    table.add_row(*map(Text, texts))
    return table


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mlx_autoresearch.sample",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", nargs="?", default="Once upon a time", help="text to continue (default: %(default)r)")
    parser.add_argument("--tag", help="name of the night (default: the one with the newest best model)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model", metavar="WHICH", help="best (default), baseline, longer, or the number of an experiment"
    )
    which.add_argument(
        "--compare", action="store_true", help="baseline and best: side by side, or one after the other in a file"
    )
    which.add_argument("--graph", metavar="PATH", help=f"any {GRAPH_FILE}, or the one in this folder")
    parser.add_argument(
        "--length", type=positive(int), default=100, help="most tokens to add; a text may end earlier (default: 100)"
    )
    parser.add_argument(
        "--temperature", type=_number(0, None), default=0.7, help="0 is greedy, 1 the model as it is (default: 0.7)"
    )
    parser.add_argument(
        "--top-p", type=_number(0, 1), default=0.95, help="sample among the likeliest that sum up to it (default: 0.95)"
    )
    parser.add_argument("--seed", type=_number(0, None, int), default=0, help="another one, another text (default: 0)")
    return parser


def _number(least: float, most: float | None, kind: type = float):
    """An argparse type: a number of this kind from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if not least <= value <= (sys.float_info.max if most is None else most):
            limits = f"{least} or more" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {limits}")
        return value

    return parse


def main() -> None:
    """Command line: see `build_parser`."""
    parser = build_parser()
    arguments = parser.parse_args()
    if arguments.graph is not None and arguments.tag is not None:
        parser.error("--graph names a model by itself: leave --tag out")
    compiler.set_up()
    blas.load()  # both before anything imports mlx.core
    from mlx_autoresearch.continuation import Sampling

    models = ["baseline", "best"] if arguments.compare else [arguments.model or "best"]
    voices = choose_voices(arguments.tag, models, arguments.graph)
    sampling = Sampling(arguments.length, arguments.temperature, arguments.top_p, arguments.seed)
    for voice in voices:
        print(f"Model: {voice.sentence}.", file=sys.stderr, flush=True)
    if len(voices) > 1 and sys.stdout.isatty():
        write_side_by_side(voices, arguments.prompt, sampling)
        return
    for voice in voices:
        if len(voices) > 1:
            print(f"--- {voice.name}")
        write_out(voice, arguments.prompt, sampling)


if __name__ == "__main__":
    run_command_line(main)
