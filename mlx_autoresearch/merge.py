"""Carry an edit over to another version of the file it was made for: git's three-way merge of one file."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

MERGE_SECONDS = 20.0


def three_way_merge(base: str, edited: str, target: str) -> str | None:
    """`target` with the change from `base` to `edited` applied; None where the two changes collide."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-merge-") as name:
        paths = [Path(name) / role for role in ("target", "base", "edited")]
        for path, text in zip(paths, (target, base, edited), strict=True):
            path.write_bytes(text.encode("utf-8"))
        command = ["git", "merge-file", "-p", "--quiet", *map(str, paths)]
        try:
            answer = subprocess.run(command, capture_output=True, timeout=MERGE_SECONDS)
        except (OSError, subprocess.SubprocessError):
            return None
    return answer.stdout.decode("utf-8") if answer.returncode == 0 else None
