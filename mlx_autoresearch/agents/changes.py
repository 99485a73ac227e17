"""What an edit touched: names of the top-level parts of train_mlx.py that differ between two of its texts."""

from __future__ import annotations

import ast

from mlx_autoresearch.program_texts import remembered
from mlx_autoresearch.syntax import parse


@remembered(maxsize=4)  # parents: each is compared with many edits
def parts(source: str) -> dict[str, str]:
    """The program's top-level parts by name, each as a normalised text: constants, functions, classes and methods.

    Empty for a text that does not parse.
    """
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                name = f"{statement.name}.{inner.name}" if isinstance(inner, ast.FunctionDef) else statement.name
                found[name] = found.get(name, "") + ast.dump(inner)
        elif isinstance(statement, ast.FunctionDef):
            found[statement.name] = ast.dump(statement)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = ast.dump(statement.value)
    return found


@remembered(maxsize=4096)
def changed_parts(before: str, after: str) -> tuple[str, ...]:
    """Names of the parts that were changed, added or removed, in the order of the file; methods as `Class.method`."""
    old, new = parts(before), parts(after)
    return tuple(name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name))
