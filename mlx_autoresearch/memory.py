"""How much memory this machine can still give, and whether it is running out.

The macOS half is not yet run on a Mac.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mlx_autoresearch.machine import GIB, main_memory_bytes, memory_pressure

MEMINFO, PRESSURE, VMSTAT = Path("/proc/meminfo"), Path("/proc/pressure/memory"), Path("/proc/vmstat")

LEAST_FREE_SHARE, LEAST_FREE_BYTES = 0.02, 128 << 20
"""Linux: share of the machine's memory that has to be available, and the least that has to be."""

MOST_STALLED = 30.0
"""Linux: percentage of the last 10 s in which every process that had work waited for memory. systemd-oomd kills at 60
over 30 s; a machine that trains and nothing else shows 0."""

WARNING, CRITICAL = 2, 4
"""macOS: values of `machine.memory_pressure`."""


def shortage() -> str | None:
    """What says that the machine is about to swap to death, as a clause with numbers; None while nothing does."""
    if sys.platform == "darwin":
        return "macOS reported critical memory pressure" if memory_pressure() == CRITICAL else None
    free, total, stalled = available_memory_bytes(), main_memory_bytes() or 0, parse_pressure(_text(PRESSURE))
    if free is not None and free < max(LEAST_FREE_BYTES, LEAST_FREE_SHARE * total):
        return f"only {free / GIB:.2f} of the machine's {total / GIB:.1f} GiB were left"
    if stalled is not None and stalled > MOST_STALLED:
        return f"for {stalled:.0f} % of the last 10 s every process waited for memory"
    return None


def kernel_kills() -> int | None:
    """How often Linux's out-of-memory killer has killed since the machine started; None where nothing counts it."""
    found = re.search(r"^oom_kill (\d+)$", _text(VMSTAT), re.MULTILINE)
    return int(found.group(1)) if found else None


def parse_pressure(text: str) -> float | None:
    """Percentage of the last 10 s in Linux's /proc/pressure/memory: "full avg10=0.00 avg60=... total=..."."""
    found = re.search(r"^full avg10=(\d+\.\d+) ", text, re.MULTILINE)
    return float(found.group(1)) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


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
