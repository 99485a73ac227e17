"""Edits of a text, as language models write them: an exact replacement, and SEARCH/REPLACE blocks.

Notable: nothing is guessed. A passage that is not there exactly once is an error that goes back to the model.
"""

from __future__ import annotations

import re

BLOCK = re.compile(r"^<{5,9} ?SEARCH[^\n]*\n(.*?)^={5,9}[ \t]*\n(.*?)^>{5,9} ?REPLACE[^\n]*$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"^(<{5,9} ?SEARCH|>{5,9} ?REPLACE)", re.MULTILINE)


class EditError(Exception):
    """An edit that can't be applied; the message tells its author why."""


def apply_edit(source: str, old: str, new: str) -> str:
    """`source` with the one occurrence of `old` replaced by `new`.

    Raises:
        EditError: `old` is empty, equals `new`, or does not occur exactly once.
    """
    if not old:
        raise EditError("The text to replace is empty; copy the lines to change exactly, with some lines around them.")
    if old == new:
        raise EditError("Old and new text are the same.")
    count = source.count(old)
    if count == 0:
        raise EditError(
            "The text to replace does not occur in train_mlx.py" + _nearest(source, old) + " Copy it exactly, with its "
            "spaces; the file as it is now holds your earlier edits."
        )
    if count > 1:
        raise EditError(f"The text to replace occurs {count} times; add lines around it until it occurs once.")
    return source.replace(old, new)


def apply_blocks(source: str, answer: str) -> str:
    """`source` with all SEARCH/REPLACE blocks of a model's answer applied in order.

    Raises:
        EditError: there is no whole block, a block is cut off, or one can't be applied.
    """
    blocks = BLOCK.findall(answer)
    if not blocks:
        raise EditError("There is no SEARCH/REPLACE block in the answer.")
    if len(MARKER.findall(answer)) != 2 * len(blocks):
        raise EditError("A SEARCH/REPLACE block is not complete.")
    for number, (old, new) in enumerate(blocks, 1):
        try:
            source = apply_edit(source, old, new)
        except EditError as error:
            raise EditError(f"Block {number} of {len(blocks)}: {error}") from None
    return source


def _nearest(source: str, old: str) -> str:
    """A hint where only the spaces of a passage's first line are off."""
    first = old.strip().splitlines()[0].strip() if old.strip() else ""
    for line in source.splitlines():
        if first and line.strip() == first:
            return f"; the nearest line is {line!r}."
    return "."
