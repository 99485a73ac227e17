"""Facts about this machine that a night depends on: chip, memory, backend, clocks, heat, power, sleep. No sudo.

Every reading is None when it is unknown: another system, a missing command, an answer in another form. Parsers are pure
functions on the text that the command prints. The macOS readings follow Apple's manual pages and recorded output: not
yet run on a Mac. `mlx.core` is imported inside functions only, so that `launch` can put a BLAS in place first.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

GIB = 1 << 30

THERMAL_LEVELS = ("nominal", "moderate", "heavy", "trapping", "sleeping")
"""Names of the values of `thermal_level()`, from OSThermalNotification.h."""


@dataclass(frozen=True)
class Machine:
    """This machine, as far as it decides how fast and how large a model can be trained.

    Attributes:
        chip: name of the processor that computes, "unknown" when it doesn't say.
        memory_bytes: memory that models can use: unified on Apple silicon, the GPU's on CUDA, main memory otherwise.
        working_set_bytes: what Metal recommends to keep resident; None elsewhere.
        cores: CPU cores that the system counts.
        backend: "metal", "cuda" or "cpu": what MLX computes on by default.
        system: operating system with its version.
        mlx_version: version of MLX.
    """

    chip: str
    memory_bytes: int | None
    working_set_bytes: int | None
    cores: int | None
    backend: str
    system: str
    mlx_version: str


def describe() -> Machine:
    """Ask MLX and the system what this machine is."""
    import mlx.core as mx

    name = backend()
    information = mx.device_info()
    return Machine(
        chip=str(information.get("device_name") or platform.processor() or "unknown"),
        memory_bytes=_device_memory(information) if name != "cpu" else main_memory_bytes(),
        working_set_bytes=information.get("max_recommended_working_set_size") if name == "metal" else None,
        cores=os.cpu_count(),
        backend=name,
        system=_system_name(),
        mlx_version=mx.__version__,
    )


def identity() -> str:
    """What two runs must share for their scores to be comparable, on one line: chip, memory, backend, MLX version."""
    machine = describe()
    memory = "unknown memory" if machine.memory_bytes is None else f"{machine.memory_bytes / GIB:.0f} GiB"
    return f"{machine.chip}, {memory}, {machine.backend}, mlx {machine.mlx_version}"


def backend() -> str:
    """What MLX computes on by default: "metal", "cuda" or "cpu"."""
    import mlx.core as mx

    if mx.default_device().type != mx.DeviceType.gpu:
        return "cpu"
    return "metal" if mx.metal.is_available() else "cuda"


def machine_class() -> int:
    """Size of this machine for the knobs of train_mlx.py.

    0: MLX's CPU backend. 1: Apple silicon with at most 12 GB of unified memory. 2: up to 32 GB. 3: larger, and CUDA.
    """
    import mlx.core as mx

    name = backend()
    return class_of(name, _device_memory(mx.device_info()) if name == "metal" else None)


def class_of(backend_name: str, memory_bytes: int | None) -> int:
    """The machine class of a backend and its memory in bytes; a Mac whose memory is unknown counts as small."""
    if backend_name == "cpu":
        return 0
    if backend_name == "cuda":
        return 3
    if memory_bytes is None or memory_bytes <= 12 * GIB:
        return 1
    return 2 if memory_bytes <= 32 * GIB else 3


def main_memory_bytes() -> int | None:
    """Physical memory of the machine in bytes."""
    with suppress(ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def awake_seconds() -> float:
    """Seconds on a clock that stops while the machine sleeps and that nobody can set; comparable between processes."""
    return time.clock_gettime(time.CLOCK_UPTIME_RAW if sys.platform == "darwin" else time.CLOCK_MONOTONIC)


def elapsed_seconds() -> float:
    """Seconds on a clock that goes on while the machine sleeps and that nobody can set; the same in every process."""
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW if sys.platform == "darwin" else time.CLOCK_BOOTTIME)


class SleepMeter:
    """How long the machine has slept since the meter was made: the drift between the two clocks."""

    def __init__(self) -> None:
        self._offset = elapsed_seconds() - awake_seconds()

    def slept_seconds(self) -> float:
        """Seconds of sleep since the meter was made; readings of the clocks make it exact to about a millisecond."""
        return max(0.0, elapsed_seconds() - awake_seconds() - self._offset)


def thermal_level() -> int | None:
    """Heat as macOS sees it, 0 (nominal) to 4; the chip slows down from 1 on. See `THERMAL_LEVELS`."""
    return parse_thermal_level(_output_on_mac("notifyutil", "-g", "com.apple.system.thermalpressurelevel"))


def memory_pressure() -> int | None:
    """Memory pressure as macOS sees it: 1 normal, 2 warning, 4 critical."""
    return parse_memory_pressure(_output_on_mac("sysctl", "-n", "kern.memorystatus_vm_pressure_level"))


def low_power_mode() -> bool | None:
    """Whether low-power mode slows the chip down."""
    return parse_low_power_mode(_output_on_mac("pmset", "-g"))


def on_ac_power() -> bool | None:
    """Whether the machine draws from the mains."""
    return parse_power_source(_output_on_mac("pmset", "-g", "batt"))


def lid_closed() -> bool | None:
    """Whether a laptop's lid is closed; None on a desktop."""
    return parse_lid(_output_on_mac("ioreg", "-r", "-k", "AppleClamshellState", "-d", "4"))


def warnings_for_the_night() -> list[str]:
    """What a person should know about this Mac before going to bed, a sentence each; empty elsewhere."""
    return night_warnings(lid_closed(), on_ac_power(), low_power_mode())


def night_warnings(closed: bool | None, ac_power: bool | None, low_power: bool | None) -> list[str]:
    """The sentences for these readings; unknown ones give none."""
    warnings = []
    if closed:
        warnings.append(
            "the lid is closed: open it, for a closed Mac sleeps unless power, a display and a keyboard are connected"
        )
    elif closed is not None:
        warnings.append("leave the lid open: closing it puts this Mac to sleep, whatever runs")
    if ac_power is False:
        warnings.append("this Mac runs on battery: plug it in, or it will sleep in the middle of the night")
    if low_power:
        warnings.append(
            "low-power mode makes the chip slower, and scores from it don't compare with others: turn it off in System "
            "Settings, Battery"
        )
    return warnings


def parse_thermal_level(text: str) -> int | None:
    """The level in the output of `notifyutil -g com.apple.system.thermalpressurelevel`: name, blank, number."""
    found = re.search(r"thermalpressurelevel\s+(\d+)\s*$", text)
    return int(found.group(1)) if found else None


def parse_memory_pressure(text: str) -> int | None:
    """The level in the output of `sysctl -n kern.memorystatus_vm_pressure_level`: a number."""
    return int(text) if text.strip().isdecimal() else None


def parse_low_power_mode(text: str) -> bool | None:
    """Low-power mode in the output of `pmset -g`; some Macs call it `powermode`, where 1 is low power."""
    found = re.search(r"^\s*(?:lowpowermode|powermode)\s+(\d)", text, re.MULTILINE)
    return found.group(1) == "1" if found else None


def parse_power_source(text: str) -> bool | None:
    """Whether `pmset -g batt` says that the machine draws from the mains (a battery or a UPS otherwise)."""
    found = re.search(r"drawing from '([^']+)'", text)
    return found.group(1) == "AC Power" if found else None


def parse_lid(text: str) -> bool | None:
    """Whether `ioreg -r -k AppleClamshellState -d 4` says that the lid is closed; desktops have no such line."""
    found = re.search(r'"AppleClamshellState" = (Yes|No)\b', text)
    return found.group(1) == "Yes" if found else None


@contextmanager
def keep_awake() -> Iterator[None]:
    """Keep a Mac from idle sleep during the block; a closed lid still sleeps. Nothing happens elsewhere.

    The display may sleep (no -d): keeping it on under Metal load has crashed the window server (mlx issue 3267). `-w`
    ends caffeinate with this process however it ends. Not yet run on a Mac.
    """
    process = None
    if sys.platform == "darwin":
        with suppress(OSError):
            process = subprocess.Popen(["caffeinate", "-i", "-m", "-s", "-w", str(os.getpid())])
    try:
        yield
    finally:
        if process is not None:
            process.terminate()
            process.wait()


def _device_memory(information: dict) -> int | None:
    """Memory in bytes from `mx.device_info()` of a GPU: Metal and CUDA name it differently."""
    value = information.get("memory_size") or information.get("total_memory")
    return int(value) if value else None


def _system_name() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return f"{platform.system()} {platform.release()}"


def _output_on_mac(*command: str) -> str:
    """What a macOS command prints; empty on another system, or when it is missing, fails or hangs."""
    if sys.platform != "darwin":
        return ""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
