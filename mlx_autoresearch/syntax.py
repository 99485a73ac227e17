"""Parsing Python from several threads."""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()


def parse(source: str) -> ast.Module:
    """The syntax tree of a program.

    One at a time: some versions of CPython (seen on 3.11.7) count the depth of the tree for all threads together, and
    raise "SystemError: AST constructor recursion depth mismatch" when two of them parse at once.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is not Python, or too much of it.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source)
