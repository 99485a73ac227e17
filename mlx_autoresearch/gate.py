"""The gate: what can be said about an edit without running it. What fails here costs no training time."""

from __future__ import annotations

import ast
import copy
import hashlib
import sys

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import unread_knobs

ALLOWED_IMPORTS = frozenset({"prepare", "mlx", "numpy"}) | frozenset(sys.stdlib_module_names)

SIZE_LIMIT = 200_000
"""Characters in a training file. Hand-written ones have a tenth; a larger one carries data, not code."""


class GateError(AutoresearchError):
    """An edit that is not worth running; the message is the sentence for its author."""


def check_source(source: str) -> None:
    """Check that a training file parses, imports only what it may, and has the contract's parts.

    Raises:
        GateError: what is wrong, and in which line where there is one.
    """
    if len(source) > SIZE_LIMIT:
        raise GateError(f"train_mlx.py has {len(source):,} characters; {SIZE_LIMIT:,} is the limit.")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise GateError(f"train_mlx.py is not valid Python{line}: {getattr(error, 'msg', None) or error}.") from None
    for name, line in imported_names(tree):
        if name.split(".")[0] not in ALLOWED_IMPORTS:
            raise GateError(
                f"train_mlx.py imports {name} in line {line}; only prepare, mlx, numpy and the standard "
                "library are there for it."
            )
    if not any(isinstance(node, ast.FunctionDef) and node.name == "build_model" for node in tree.body):
        raise GateError("train_mlx.py has no function build_model().")
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for name in ("hand_in", "run"):
        if name not in called:
            raise GateError(f"train_mlx.py never calls {name}(), so no model would come out of it.")
    if unread := unread_knobs(source):
        raise GateError(f"train_mlx.py never reads {', '.join(unread)}: changing such a constant would change nothing.")


def imported_names(tree: ast.AST) -> list[tuple[str, int]]:
    """Every imported module with its line; a relative import is named with its dots."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(("." * node.level + (node.module or ""), node.lineno))
    return names


def fingerprint(source: str, machine_class: int) -> str:
    """A hash that is equal for files that are the same program on this machine.

    Comments, formatting and docstrings don't count, nor do the other machines' columns of the knob table.

    Raises:
        SyntaxError: the source does not parse.
    """
    tree = _PickColumn(machine_class).visit(copy.deepcopy(ast.parse(source)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [statement for statement in body if not _is_bare_constant(statement)]
            node.body = kept or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_bare_constant(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class _PickColumn(ast.NodeTransformer):
    """Replaces `(a, b, c, d)[M]` by this machine's entry."""

    def __init__(self, machine_class: int):
        self.machine_class = machine_class

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        is_row = isinstance(node.value, ast.Tuple) and isinstance(node.slice, ast.Name) and node.slice.id == "M"
        if is_row and self.machine_class < len(node.value.elts):
            return node.value.elts[self.machine_class]
        return node
