"""The inside of the self-test: computes with MLX, tries what must be refused, and prints one JSON line.

{"computes": "cpu", "open": ["what got through", ...]}
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def compute() -> str:
    """Run a compiled function and, on Metal, a kernel written here, so that a compiler is needed; returns the backend.

    Raises:
        RuntimeError: the numbers are wrong.
    """
    import mlx.core as mx
    import numpy as np

    from mlx_autoresearch.machine import backend

    values = mx.arange(1024, dtype=mx.float32) / 1024
    if not np.allclose(mx.compile(lambda x: mx.exp(x) * x + 1)(values), np.exp(values) * np.array(values) + 1, 1e-5):
        raise RuntimeError("a compiled function gives wrong numbers")
    if backend() == "metal":
        place = "thread_position_in_grid.x"
        kernel = mx.fast.metal_kernel("probe", ["a"], ["o"], f"uint i = {place}; o[i] = a[i] + 1;")
        launch = {"grid": (1024, 1, 1), "threadgroup": (256, 1, 1)}
        (sums,) = kernel(inputs=[values], output_shapes=[(1024,)], output_dtypes=[mx.float32], **launch)
        if not np.allclose(sums, np.array(values) + 1):
            raise RuntimeError("a Metal kernel gives wrong numbers")
    return backend()


def connect(family: int, address: object) -> None:
    """Connect a stream socket, within a second."""
    with socket.socket(family, socket.SOCK_STREAM) as own:
        own.settimeout(1)
        own.connect(address)


def send_datagram(port: int) -> None:
    """Send one UDP packet to this machine; the outside tells whether it arrived."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.sendto(b"probe", ("127.0.0.1", port))


def read_environment_of(pid: int) -> None:
    """Read the environment of another process: /proc on Linux, sysctl's KERN_PROCARGS2 on macOS."""
    if sys.platform != "darwin":
        Path(f"/proc/{pid}/environ").read_bytes()
        return
    name, size = (ctypes.c_int * 3)(1, 49, pid), ctypes.c_size_t(1 << 18)
    buffer = ctypes.create_string_buffer(size.value)
    if ctypes.CDLL(None).sysctl(name, 3, buffer, ctypes.byref(size), None, 0) != 0:
        raise PermissionError("sysctl")


def attempts(bait: dict) -> dict[str, Callable[[], object]]:
    """What has to be refused, by name. `bait` holds what the parent laid out."""
    return {
        "reading a file outside": lambda: Path(bait["file"]).read_bytes(),
        "writing a file outside": lambda: Path(bait["file"]).open("ab"),
        "making a file outside": lambda: Path(bait["file"] + "-new").touch(),
        "making a file in /tmp": lambda: Path(f"/tmp/mlx-autoresearch-probe-{bait['pid']}").touch(),
        "changing the harness": lambda: Path(__file__).open("ab"),
        "a TCP connection": lambda: connect(socket.AF_INET, ("127.0.0.1", bait["tcp"])),
        "a UDP packet": lambda: send_datagram(bait["udp"]),
        "a unix socket": lambda: connect(socket.AF_UNIX, bait["unix"]),
        "a signal to the harness": lambda: os.kill(bait["pid"], 0),
        "reading the harness's environment": lambda: read_environment_of(bait["pid"]),
    }


def main() -> None:
    """Print what the module says; the argument is the bait as JSON."""
    bait = json.loads(sys.argv[1])
    found = {"computes": compute(), "open": []}
    for name, attempt in attempts(bait).items():
        try:
            attempt()
        except OSError:
            continue
        found["open"].append(name)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
