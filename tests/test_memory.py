"""Available memory: the parsers on recorded output, and the reading on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_autoresearch import memory
from mlx_autoresearch.machine import main_memory_bytes

MEMINFO = """MemTotal:       24684008 kB
MemFree:        22480532 kB
MemAvailable:   23867392 kB
Buffers:           46428 kB
HugePages_Total:       0
"""

VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               20512.
Pages active:                            190340.
Pages inactive:                          187211.
Pages speculative:                         2210.
Pages throttled:                              0.
Pages wired down:                         86421.
Pages purgeable:                           1820.
"Translation faults":                 514214420.
File-backed pages:                       101370.
Anonymous pages:                         278391.
Pages stored in compressor:              201220.
"""


def test_meminfo() -> None:
    assert memory.parse_meminfo(MEMINFO) == 23867392 * 1024
    assert memory.parse_meminfo("MemTotal: 1 kB\n") is None


def test_vm_stat_counts_what_could_be_free_at_once() -> None:
    assert memory.parse_vm_stat(VM_STAT) == (20512 + 1820 + 101370) * 16384


def test_vm_stat_without_file_backed_pages() -> None:
    older = VM_STAT.replace("File-backed pages", "Something else")
    assert memory.parse_vm_stat(older) == (20512 + 1820 + 187211 + 2210) * 16384


@pytest.mark.parametrize(
    "text", ["", "vm_stat: command not found", VM_STAT.replace("Pages free", "Pages"), VM_STAT[61:]]
)
def test_vm_stat_in_another_form(text: str) -> None:
    assert memory.parse_vm_stat(text) is None


def test_this_machine_has_some() -> None:
    available = memory.available_memory_bytes()
    assert available is not None and 10 << 20 < available < main_memory_bytes()


PRESSURE = """some avg10=61.20 avg60=2.04 avg300=0.75 total=157622151
full avg10={full} avg60=1.20 avg300=0.43 total=144313223
"""


def linux(monkeypatch: pytest.MonkeyPatch, folder: Path, meminfo: str, full: str) -> None:
    """A machine with 24 GiB whose kernel says this."""
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory, "main_memory_bytes", lambda: 24 << 30)
    for name, text in (("MEMINFO", meminfo), ("PRESSURE", PRESSURE.format(full=full))):
        (folder / name).write_text(text)
        monkeypatch.setattr(memory, name, folder / name)


@pytest.mark.parametrize(
    ("available", "full", "words"),
    [
        (23867392, "0.00", None),
        (23867392, "29.90", None),
        (500_000, "0.00", "only 0.48 of the machine's 24.0 GiB were left"),
        (23867392, "54.30", "for 54 % of the last 10 s every process waited for memory"),
    ],
)
def test_shortage_on_linux(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, available: int, full: str, words: str | None
) -> None:
    linux(monkeypatch, tmp_path, MEMINFO.replace("23867392", str(available)), full)
    assert memory.shortage() == words


@pytest.mark.parametrize(("level", "short"), [(None, False), (1, False), (2, False), (4, True)])
def test_shortage_on_macos(monkeypatch: pytest.MonkeyPatch, level: int | None, short: bool) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory, "memory_pressure", lambda: level)
    assert (memory.shortage() is not None) is short


def test_no_shortage_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    linux(monkeypatch, tmp_path, "", "")
    assert memory.shortage() is None and memory.parse_pressure("") is None


def test_kills_of_the_kernel_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "VMSTAT", tmp_path / "vmstat")
    assert memory.kernel_kills() is None
    (tmp_path / "vmstat").write_text("drop_slab 0\noom_kill 3\nswap_ra 0\n")
    assert memory.kernel_kills() == 3


def test_unknown_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "nothing")
    assert memory.available_memory_bytes() is None
