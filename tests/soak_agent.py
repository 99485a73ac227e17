"""A researcher for `soak`: `python soak_agent.py COUNTER` edits train_mlx.py in the current folder by script.

Every edit is new. Every fifth has a fault, one kind after the other, that shows only after the smoke run's two steps.
COUNTER is a file with the number of edits so far. Standard library only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

EVERY = 5

PLACE = "        step += 1\n"

FAULTS = {
    "a crash": "raise ValueError('soak')",
    "not a number": "loss = loss * math.nan",
    "no memory": "bytearray(1 << 60)",
    "endless output": "while True: print('soak ' * 2000)",
    "a process that lives on": "import os; os.fork() or os.setsid() or time.sleep(1000)",
    "no hand-in": "import os; os._exit(0)",
    "a hang": "time.sleep(1000)",
}


def main() -> None:
    """Edit the file and say what was done."""
    counter, file = Path(sys.argv[1]), Path("train_mlx.py")
    number = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(number + 1))
    sys.stdin.read()
    source = re.sub(r"        if step > 3:\n.*\n", "", file.read_text())  # a repair: what failed comes back
    source = re.sub(r"(?m)^LEARNING_RATE = [0-9.]+", f"LEARNING_RATE = {0.1 + number / 1e5:.5f}", source)
    words = "learn more slowly"  # which is worse for certain, and so costs one run
    if number % EVERY == EVERY - 1:
        words, code = list(FAULTS.items())[number // EVERY % len(FAULTS)]
        source = source.replace(PLACE, f"{PLACE}        if step > 3:\n            {code}\n", 1)
    file.write_text(source)
    print(f"DESCRIPTION: {words} ({number})\nHYPOTHESIS: none\nEXPECTED: nothing")


if __name__ == "__main__":
    main()
