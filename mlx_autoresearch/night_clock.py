"""When a night's runs took place, on a clock that nobody can set while the night goes on.

Runs are compared with neighbours in time (noise.py), so a system clock that is set back or forward by a day must not
make neighbours of strangers, or strangers of neighbours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mlx_autoresearch import machine
from mlx_autoresearch.history import Night


@dataclass(frozen=True)
class NightClock:
    """Seconds since 1970, by the system's clock when the loop was started, by one that only goes on afterwards.

    Attributes:
        offset: its time less `machine.elapsed_seconds()`.
    """

    offset: float

    @classmethod
    def after(cls, night: Night) -> NightClock:
        """A clock that shows no time before the end of a run that the night holds, whatever the system's clock says."""
        runs = [run for experiment in night.experiments for run in experiment.runs if run.started is not None]
        latest = max((run.started + (run.total_seconds or 0.0) for run in runs), default=0.0)
        return cls(max(time.time(), latest) - machine.elapsed_seconds())

    def now(self) -> float:
        """The time now; sleep of the machine is counted."""
        return self.offset + machine.elapsed_seconds()
