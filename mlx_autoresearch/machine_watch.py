"""The watch over the machine: waits before a run until it is as usual, and says afterwards whether the run counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mlx_autoresearch import machine
from mlx_autoresearch.conditions import JUDGED_BUDGET_SECONDS, Conditions, ConditionsLog, why_not_ready
from mlx_autoresearch.records import LATE, STOPPED_EARLY, TIMED_OUT, RunResult
from mlx_autoresearch.speed_probe import Speed, run_probe

LOOK_AGAIN_SECONDS = 15.0
"""Between two probes while waiting for the machine to cool down or for another program to end."""

EXCUSED = (None, TIMED_OUT, LATE, STOPPED_EARLY)
"""What may come of a run on a machine that is slower than usual; other failures are the edit's own doing."""


@dataclass(frozen=True)
class MachineWatch:
    """Waits and judges, by what was usual in the night so far.

    Attributes:
        log: the conditions of the runs so far.
        budget_seconds: training time of a run; nothing but sleep is judged where it is for practice.
        say: tells the person.
    """

    log: ConditionsLog
    budget_seconds: float
    say: Callable[[str], None]

    @property
    def judges(self) -> bool:
        """Whether this is no practice."""
        return self.budget_seconds >= JUDGED_BUDGET_SECONDS

    def wait(self) -> Speed | None:
        """Probe until the machine is as usual, for the time of a run at most; returns the last probe.

        A machine that is slower rests between probes. One that is faster, because it cooled down while nobody proposed
        anything, is warmed up by probing without a rest.
        """
        usual, started, told = self.log.usual(), machine.awake_seconds(), False
        while True:
            speed = run_probe()
            reason = why_not_ready(speed, usual)
            if reason is None or machine.awake_seconds() - started > self.budget_seconds:
                return speed
            if not told:
                self.say(f"Waiting for the machine to be as usual, {self.budget_seconds:.0f} s at most: {reason}.")
                told = True
            if speed.ratio(usual.speed) < 1:
                time.sleep(LOOK_AGAIN_SECONDS)

    def why_invalid(self, experiment: int, run: int, conditions: Conditions, result: RunResult) -> str | None:
        """Record a finished run's conditions; says why it doesn't count, None when it does."""
        conditions = replace(conditions, threads=result.threads)
        return self.log.judge(experiment, run, conditions, self.judges and result.failure in EXCUSED)
