"""A researcher whose edits change nothing that matters, for `null_night.py`: a program that edits train_mlx.py.

    python -m mlx_autoresearch.loop --agent command --command "python -m benchmarks.null_edits COUNTER_FILE"

The next edit is known by the number in the counter file: a function or class gets another name, or two functions change
places. What is computed stays the same to the last bit, so every keep of such an edit is false. With `--gain-at N` edit
number N also sets knobs to other values: an effect that is known beforehand.
"""

from __future__ import annotations

import argparse
import ast
import io
import itertools
import tokenize
from pathlib import Path

from mlx_autoresearch import machine
from mlx_autoresearch.errors import run_command_line
from mlx_autoresearch.files import write_text
from mlx_autoresearch.knobs import write_knobs

FIXED_NAMES = ("build_model", "main")
"""The contract's names."""


def definitions(source: str) -> list[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes at the top level whose names are free."""
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [node for node in found if node.name not in FIXED_NAMES]


def null_edit(source: str, number: int) -> tuple[str, str]:
    """Edit `number` (from 0) of a training file, and its description: never the same text twice."""
    turn, pairs = number // 3, neighbours(source)
    if number % 3 == 2 and turn < len(pairs):
        return swapped(source, *pairs[turn])
    names = [node.name for node in definitions(source)]
    name = names[number % len(names)]
    return renamed(source, name, f"{name.rstrip('0123456789').rstrip('_')}_{number}")


def renamed(source: str, name: str, new: str) -> tuple[str, str]:
    """The source with one top-level name changed wherever it stands for itself (not as an attribute or argument)."""
    tokens, lines = list(tokenize.generate_tokens(io.StringIO(source).readline)), source.splitlines(keepends=True)
    for before, token, after in reversed(list(zip(tokens, tokens[1:], tokens[2:], strict=False))):
        is_name = token.type == tokenize.NAME and token.string == name
        if is_name and before.string != "." and after.string != "=":
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + new + line[column + len(name) :]
    return "".join(lines), f"rename {name} to {new}"


def neighbours(source: str) -> list[tuple[ast.FunctionDef, ast.FunctionDef]]:
    """Plain functions at the top level that follow each other, and so could change places."""
    nodes = ast.parse(source).body
    pairs = itertools.pairwise(nodes)
    return [pair for pair in pairs if all(isinstance(n, ast.FunctionDef) and not n.decorator_list for n in pair)]


def swapped(source: str, first: ast.FunctionDef, second: ast.FunctionDef) -> tuple[str, str]:
    """The source with two functions that follow each other in the other order."""
    lines = source.splitlines(keepends=True)
    a, b = slice(first.lineno - 1, first.end_lineno), slice(second.lineno - 1, second.end_lineno)
    changed = lines[: a.start] + lines[b] + lines[a.stop : b.start] + lines[a] + lines[b.stop :]
    return "".join(changed), f"put {second.name} before {first.name}"


def main() -> None:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null_edits", description=__doc__.split("\n\n")[0])
    parser.add_argument("counter", type=Path, help="file with the number of edits made so far; made when missing")
    parser.add_argument("--gain", nargs="*", default=[], metavar="KNOB=VALUE", help="knobs of the edit that helps")
    parser.add_argument("--gain-at", type=int, nargs="*", default=[], metavar="N", help="edits (from 0) that help too")
    arguments = parser.parse_args()
    number = int(arguments.counter.read_text()) if arguments.counter.exists() else 0
    path = Path("train_mlx.py")
    source, description = null_edit(path.read_text(encoding="utf-8"), number)
    if number in arguments.gain_at:
        knobs = {name: ast.literal_eval(value) for name, _, value in (word.partition("=") for word in arguments.gain)}
        source = write_knobs(source, knobs, machine.machine_class())
        description += " and set " + ", ".join(arguments.gain)
    write_text(path, source)
    write_text(arguments.counter, str(number + 1))
    print(f"DESCRIPTION: {description}\nHYPOTHESIS: none\nEXPECTED: no change")


if __name__ == "__main__":
    run_command_line(main)
