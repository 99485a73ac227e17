"""Available memory: the parsers on recorded output, and the reading on this machine."""

from __future__ import annotations

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


def test_unknown_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "nothing")
    assert memory.available_memory_bytes() is None
