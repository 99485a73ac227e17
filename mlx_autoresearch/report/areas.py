"""Which areas of train_mlx.py an edit touches, told from its patch: for the table of what worked where."""

from __future__ import annotations

import re

KNOB_AREAS = {
    "Size": ("DEPTH", "WIDTH", "HEAD_DIM", "KV_HEADS", "QUERIES_PER_KV", "MLP_RATIO"),
    "Tokens and batches": ("VOCAB_SIZE", "SEQUENCE_LENGTH", "BATCH_SIZE", "ACCUMULATION"),
    "Model": (
        *("WINDOW_PATTERN", "SHORT_WINDOW", "ACTIVATION", "ROPE_BASE", "VALUE_EMBEDDINGS", "TIED_HEAD", "SOFTCAP"),
    ),
    "Learning rates": ("MATRIX_LR", "EMBEDDING_LR", "HEAD_LR", "SCALAR_LR"),
    "Optimizer": ("ADAM_BETA1", "ADAM_BETA2", "MOMENTUM", "WEIGHT_DECAY"),
    "Schedule": ("WARMUP", "WARMDOWN", "FINAL_LR"),
    "Memory": ("LOSS_CHUNK", "CHECKPOINT"),
}
"""The knobs of the person's train_mlx.py. One that an agent invents counts by the other lines of its edit."""

OTHER = "Other"

_AREA_OF_KNOB = {knob: area for area, knobs in KNOB_AREAS.items() for knob in knobs}
_KNOB = re.compile(r"([A-Z][A-Z0-9_]*)\s*(?::[^=]+)?=(?!=)")
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
_HEADING = re.compile(r"# -{20,}\n# ([^\n:]+)")


def touched_areas(patch: str, before: str) -> tuple[str, ...]:
    """Names of the areas that a unified diff of train_mlx.py touches, in order; a changed comment counts nowhere.

    Args:
        patch: the diff.
        before: the text that it applies to; code counts for the heading (a comment under a rule) that it stands under.
    """
    headings = [(before.count("\n", 0, found.start()) + 1, found[1].strip()) for found in _HEADING.finditer(before)]
    areas: dict[str, None] = {}
    other, line = False, 0
    for text in patch.split("\n"):
        hunk = _HUNK.match(text)
        if hunk:
            line = int(hunk[1])
        elif line == 0:
            continue  # the two lines that name the files
        elif text.startswith(("+", "-")):
            area = _area(text[1:], line, headings)
            other = other or area == OTHER
            areas |= {area: None} if area not in (None, OTHER) else {}
        line += bool(line) and not hunk and not text.startswith(("+", "\\"))
    return tuple(areas) or ((OTHER,) if other else ())


def _area(code: str, line: int, headings: list[tuple[int, str]]) -> str | None:
    """The area of one changed line, None where it says nothing."""
    if not code.strip() or code.lstrip().startswith("#"):
        return None
    knob = _KNOB.match(code)
    if knob:
        return _AREA_OF_KNOB.get(knob[1], OTHER)
    above = [title for start, title in headings if start <= line]
    return above[-1] if above and above[-1] != "Knobs" else OTHER
