"""A sandbox that can't do its work."""

from __future__ import annotations

from pathlib import Path

from mlx_autoresearch.sandbox import BUBBLEWRAP, Sandbox


def fake_bubblewrap(folder: Path, status: int) -> Sandbox:
    """One that can't do its work any more, as when the system stopped allowing namespaces."""
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit {status}\n")
    program.chmod(0o755)
    return Sandbox(BUBBLEWRAP, str(program))
