"""What an edit starts from where that is not the incumbent: promising experiments, one built on another."""

from __future__ import annotations

from mlx_autoresearch.history import Experiment, Night
from mlx_autoresearch.noise import Noise
from mlx_autoresearch.verdict import Base, compare, without_luck


def base_of(experiment: Experiment, night: Night, noise: Noise) -> Base | None:
    """What `experiment` was made from, by all runs until now; None where that is the incumbent, or older."""
    incumbent = night.incumbent()
    parent = next((e for e in night.experiments if e.number == experiment.proposal.parent), None)
    if incumbent is None or parent is None or parent.number <= incumbent.number or not parent.builds:
        return None
    below = base_of(parent, night, noise)
    runs = without_luck(incumbent.measurements, incumbent.verdict)
    found = compare(parent.measurements, runs, noise, below and below.before)
    numbers = (*(below.numbers if below else ()), parent.number)
    return Base(numbers, without_luck(parent.measurements, parent.verdict), found.belief)
