"""How much memory a new process could take now without making the machine swap.

The macOS half is not yet run on a Mac.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def available_memory_bytes() -> int | None:
    """Memory in bytes that is free or could be at once; None when the system doesn't say."""
    try:
        if sys.platform == "darwin":
            answer = subprocess.run(["vm_stat"], capture_output=True, text=True, timeout=5, check=True)
            return parse_vm_stat(answer.stdout)
        return parse_meminfo(MEMINFO.read_text(encoding="ascii"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def parse_meminfo(text: str) -> int | None:
    """MemAvailable of Linux's /proc/meminfo in bytes: "MemAvailable:   23867392 kB"."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def parse_vm_stat(text: str) -> int | None:
    """Available memory in bytes from the output of macOS's vm_stat.

    Free, purgeable and file-backed pages count: what Activity Monitor doesn't call used. Inactive pages are no better
    measure: those of programs would have to be compressed first, and files that were just read may be in the
    active ones. Where the file-backed pages are not listed, inactive and speculative ones stand in for them.
    """
    size = re.search(r"page size of (\d+) bytes", text)
    pages = {name.strip().lower(): int(n) for name, n in re.findall(r"^([^:\n]+):\s+(\d+)\.?\s*$", text, re.MULTILINE)}
    if size is None or "pages free" not in pages:
        return None
    files = pages.get("file-backed pages", pages.get("pages inactive", 0) + pages.get("pages speculative", 0))
    return int(size.group(1)) * (pages["pages free"] + pages.get("pages purgeable", 0) + files)
