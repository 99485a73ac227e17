"""The gate: what can be said about an edit without running it. What fails here costs no training time."""

from __future__ import annotations

import ast
import hashlib
import sys

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import unread_knobs
from mlx_autoresearch.program_texts import remembered
from mlx_autoresearch.syntax import parse

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
        tree = parse(source)
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


@remembered(maxsize=4096)
def fingerprint(source: str, machine_class: int) -> str:
    """A hash that is equal for files that are the same program on this machine.

    Comments, formatting, docstrings and annotations don't count, nor do the other machines' columns of the knob
    table, nor what nothing reads: imports, constants, functions and classes.

    Raises:
        SyntaxError: the source does not parse.
    """
    tree = _PickColumn(machine_class).visit(parse(source))
    tree = _WithoutAnnotations().visit(tree)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                kept = [statement for statement in statements if not _is_bare_constant(statement)]
                setattr(node, name, kept or ([ast.Pass()] if name == "body" else []))
    _drop_unread(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def fingerprint_or_none(source: str, machine_class: int) -> str | None:
    """Fingerprint of a program, None for one that does not parse."""
    try:
        return fingerprint(source, machine_class)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@remembered(maxsize=256)
def code_lines(source: str) -> int:
    """Lines of code, however it is laid out: one for each statement, without comments and strings that do nothing.

    What gives a model its key-value cache doesn't count: taking it out would be no simpler model, only a slower writer.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is not Python, or too much of it.
    """
    tree = parse(source)
    strings = sum(_is_bare_constant(node) for node in ast.walk(tree))
    statements = sum(isinstance(node, ast.stmt | ast.excepthandler) for node in ast.walk(tree))
    return statements - strings - sum(_is_about_the_cache(node) for node in ast.walk(tree))


def _is_about_the_cache(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    names = (getattr(child, "id", getattr(child, "attr", None)) for child in ast.walk(node))
    return "cache" in names


READS_BY_NAME = frozenset({"globals", "locals", "vars", "eval", "exec", "getattr", "__import__"})
"""A program that calls one of these may read anything, so nothing of it counts as unread. `getattr` is among them
because of `getattr(module, name)` on the program's own module."""


def _drop_unread(tree: ast.Module) -> None:
    """Remove what no code reads, again and again until nothing more falls away: what only dead code read goes too."""
    while True:
        read = _names_read(tree)
        if read & READS_BY_NAME:
            return
        dropped = False
        for node in ast.walk(tree):
            statements = getattr(node, "body", None)
            if not isinstance(statements, list) or isinstance(node, ast.ClassDef):
                continue  # what a class defines is read as an attribute, which names don't tell
            kept = [left for statement in statements if (left := _without_unread(statement, read)) is not None]
            dropped = dropped or len(kept) < len(statements)
            node.body = kept or [ast.Pass()]
        if not dropped:
            return


def _names_read(tree: ast.Module) -> set[str]:
    """Names that something reads; a function or class that only reads itself doesn't count as read."""
    read = {"build_model"}
    for statement in tree.body:
        own = getattr(statement, "name", None)
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _is_read(node)}
        read |= names - {own}
    return read


def _is_read(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Store)


def _without_unread(statement: ast.stmt, read: set[str]) -> ast.stmt | None:
    """The statement, less what nobody reads of it; None when nothing is left."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            return None
        used = [alias for alias in statement.names if (alias.asname or alias.name).split(".")[0] in read]
        statement.names = used
        return statement if used else None
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return statement if statement.name in read or statement.decorator_list else None
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        harmless = not any(isinstance(node, ast.Call | ast.Await | ast.NamedExpr) for node in ast.walk(statement.value))
        return None if harmless and statement.targets[0].id not in read else statement
    return statement


def _is_bare_constant(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class _WithoutAnnotations(ast.NodeTransformer):
    """Takes type annotations off functions and variables; those of a class body may be fields and stay."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        fields = {id(statement) for statement in node.body if isinstance(statement, ast.AnnAssign)}
        node.body = [statement if id(statement) in fields else self.visit(statement) for statement in node.body]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return ast.Pass()
        return ast.Assign(targets=[node.target], value=self.visit(node.value), lineno=node.lineno)


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
