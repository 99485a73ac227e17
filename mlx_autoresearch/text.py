"""Text from strangers (agents, training runs) made safe to show: on one line, or as a block that can't break out."""

from __future__ import annotations


def one_line(text: str) -> str:
    """`text` on one line: runs of white space, tabs, line ends and characters that don't print become one space."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def shortened(text: str, characters: int) -> str:
    """`text` on one line, cut to so many characters with an ellipsis at its end."""
    line = one_line(text)
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def quoted(text: str, characters: int) -> str:
    """The end of `text` as quoted lines, each after "| ", so that nothing in it can pass for text of ours.

    Characters that don't print are left out, and only the last `characters` are shown.
    """
    kept = text[-characters:]
    lines = ["| " + "".join(c for c in line if c.isprintable() or c == "\t") for line in kept.split("\n")]
    return "\n".join((["| …"] if len(kept) < len(text) else []) + lines)
