"""A night that never was, written with the project's own records; scores, verdicts and times are drawn."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist

import pytest

from mlx_autoresearch import files, history
from mlx_autoresearch.files import write_json, write_text
from mlx_autoresearch.history import Experiment, Night, RunIdentity
from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP, Proposal, RunResult, Verdict
from mlx_autoresearch.tokens.tokenizer import VOCAB_SIZES

PROJECT = Path(__file__).resolve().parent.parent
IDENTITY = RunIdentity("tinystories", "f00d" * 16, 60.0, "Apple M4, 16 GiB, metal, mlx 0.32.4", "2", 256)
START = 1_795_557_600.0
"""The evening of 24 November 2026, in seconds since 1970."""

NOISE, GOOD, CRASHES, BUDGET = 0.006, 0.05, 0.07, 60.0
IDEAS = (
    ("MATRIX_LR", "Muon's learning rate", "The loss curve is still steep at the end."),
    ("EMBEDDING_LR", "learning rate of the embeddings", "Rare tokens are seen too seldom to learn slowly."),
    ("WARMDOWN", "share of the budget in which the rate falls", "A longer cool-down averages the noise away."),
    ("DEPTH", "number of blocks", "Fewer blocks take more steps in the same time."),
    ("BATCH_SIZE", "rows in a batch", "Optimizer steps dominate at this budget."),
    ("ROPE_BASE", "wavelength base of the rotary embedding", "The context is short."),
    ("ADAM_BETA2", "decay of the mean squared gradient", "Few steps need a short memory."),
    ("SOFTCAP", "bound of the logits", "A tighter bound steadies the head."),
)
MODEL_LINES = ("        x = x + self.attention(norm(x), tokens)\n", "        return x + self.mlp(norm(x))\n")
CODE_IDEA = ("code", "attention and MLP side by side", "One norm less: GPT-J (2021), PaLM (2022).")


@dataclass
class MadeUpNight:
    """Writes experiments one after the other; the clock goes on as it would."""

    night: Night
    draw: random.Random
    now: float = START
    quality: dict[int, float] = field(default_factory=dict)
    timeline: list[dict] = field(default_factory=list)
    conditions: list[dict] = field(default_factory=list)
    spending: list[dict] = field(default_factory=list)

    def baseline(self) -> None:
        source = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")
        experiment = self.night.add(Proposal(source, "baseline: the file as it is", agent="person"))
        self.quality[0] = 1.31
        self.run(experiment)
        self.run(experiment)
        sentence = f"The unchanged file: {experiment.mean_bpb:.4f} over 2 runs."
        experiment.record_verdict(Verdict(KEEP, sentence, experiment.mean_bpb, 0.01, noise=NOISE))

    def experiment(self) -> None:
        incumbent = self.night.incumbent()
        experiment = self.night.add(self.proposal(incumbent))
        self.span("smoke run", 6, experiment=experiment.number)
        if self.draw.random() < CRASHES:
            sentence = "Failed in the smoke run (python error): ValueError: [matmul] Last dimension of first input"
            experiment.record_verdict(Verdict(CRASH, sentence))
            return
        good = self.draw.random() < GOOD
        effect = 0.02 * math.exp(-len(self.quality) / 150) if good else -self.draw.expovariate(1 / 0.03)
        self.quality[experiment.number] = self.quality[incumbent.number] - effect
        self.run(experiment)
        if experiment.mean_bpb < incumbent.mean_bpb:
            for other in (incumbent, experiment):
                self.run(other)
        self.decide(experiment, incumbent)

    def decide(self, experiment: Experiment, incumbent: Experiment) -> None:
        """A rule of thumb that looks like the real one from outside."""
        mean, before = experiment.mean_bpb, incumbent.mean_bpb
        gain, error = before - mean, NOISE * math.sqrt(2 / len(experiment.runs))
        chance = NormalDist(0, error).cdf(gain)
        losing = DISCARD if len(experiment.runs) == 1 else INCONCLUSIVE
        words = {KEEP: "Kept, better again", DISCARD: "Not better", INCONCLUSIVE: "Discarded as inconclusive"}
        status = KEEP if chance > 0.97 and len(experiment.runs) > 1 else losing
        sentence = (
            f"{words[status]}: {mean:.4f} against {before:.4f} of experiment {incumbent.number} ({gain:+.4f} better, "
            f"{len(experiment.runs)} runs, chance of being better {chance:.1%})."
        )
        verdict = Verdict(
            status, sentence, mean, 0.01, incumbent.number, before, chance, NOISE, 0.7 * gain, 0.7 * error
        )
        experiment.record_verdict(verdict)
        if status == KEEP:
            experiment.record_commit(f"{experiment.number:040x}")

    def proposal(self, incumbent: Experiment) -> Proposal:
        for _ in range(12 if len(self.night.experiments) == 140 else 0):  # an outage in the small hours
            self.thinking("unavailable", 30, pause=120)
        number, (knob, words, why) = len(self.night.experiments), self.draw.choice((*IDEAS, CODE_IDEA))
        if knob == "code":
            source = incumbent.source.replace(MODEL_LINES[0], f"        x = self.mix(x, {number})\n")
            description = words
        else:
            value = f"{self.draw.uniform(0.5, 2.0):.3g}"
            source = re.sub(rf"(?m)^({knob} +)= [^#]+", rf"\1= {value}   ", incumbent.source)
            description = f"{words}: {knob} times {value}"
        self.thinking("proposal", self.draw.uniform(20, 70), description=description)
        tokens, dollars = self.draw.randint(9_000, 60_000), round(self.draw.uniform(0.02, 0.09), 4)
        self.spending.append({"time": self.now, "model": "claude", "tokens": tokens, "dollars": dollars})
        return Proposal(source, description, why, "-0.01", "anthropic", incumbent.number, tokens, dollars)

    def run(self, experiment: Experiment) -> None:
        folder = experiment.new_run_folder()
        trained, seed = BUDGET + self.draw.uniform(0.2, 1.5), int(folder.name)
        bpb = self.quality[experiment.number] + self.draw.gauss(0, NOISE)
        steps = self.draw.randint(900, 1100)
        with_test = experiment.number == 0 or bpb < self.quality[0] - 0.01
        result = RunResult(
            seed,
            val_bpb=round(bpb, 6),
            test_bpb=round(bpb - 0.012 + self.draw.gauss(0, NOISE / 3), 6) if with_test else None,
            training_seconds=round(trained, 2),
            total_seconds=round(trained + 7, 2),
            steps=steps,
            tokens=steps * 2048,
            parameters=2_880_000,
            vocab_size=4096,
            peak_memory_bytes=int(1.3e9),
            sandbox="Seatbelt (strict)",
        )
        if with_test:
            write_text(folder / "curve.jsonl", "".join(learning_curve(bpb, steps)))
        self.span(f"run {folder.name}", trained + 7, experiment=experiment.number)
        hot = int(self.draw.random() < 0.03)
        facts = {"thermal_level": hot, "hottest": hot, "on_ac_power": True, "low_power_mode": False}
        facts |= {"other_cores": 0.1, "cores": 10, "memory_pressure": 1, "swapped_out_bytes": 0, "slept_seconds": 0.0}
        invalid = "the chip was slowed down by heat (moderate)" if hot else None
        entry = {"experiment": experiment.number, "run": int(folder.name), "conditions": facts, "invalid": invalid}
        self.conditions.append(entry)
        experiment.record_result(folder, result)

    def thinking(self, outcome: str, seconds: float, pause: float = 0.0, description: str = "") -> None:
        entry = {"what": "thinking", "start": self.now - seconds, "end": self.now, "agent": "anthropic"}
        self.timeline.append({**entry, "outcome": outcome, "description": description})
        self.now += pause

    def span(self, what: str, seconds: float, **facts: object) -> None:
        self.timeline.append({"what": what, "start": self.now, "end": self.now + seconds, **facts})
        self.now += seconds + 0.5

    def close(self) -> None:
        """Write what the loop writes line by line, the dataset's manifest and the samples."""
        root = self.night.root
        for name in ("timeline", "conditions", "spending"):
            lines = (json.dumps(entry) + "\n" for entry in getattr(self, name))
            write_text(root / f"{name}.jsonl", "".join(lines))
        tokens = {str(size): int(190e6 / (1 + math.log2(size) / 4)) for size in VOCAB_SIZES}
        splits = {
            "train": {"documents": 236_000, "text_bytes": 190_000_000, "tokens": tokens},
            "val": {"documents": 1300, "text_bytes": 1_050_000},
            "test": {"documents": 1290, "text_bytes": 1_040_000},
        }
        write_json(root / "dataset.json", {"name": "tinystories", "splits": splits})
        self.night.write_results()
        incumbent = self.night.incumbent()
        if incumbent is not None:
            write_json(root / "samples.json", samples(incumbent.number))


def learning_curve(bpb: float, steps: int) -> Iterator[str]:
    """Lines of a curve that ends at about this score."""
    for step in range(10, steps + 1, 10):
        loss = (bpb + 2.1 * math.exp(-step / 60) + 0.35 * math.exp(-step / 400)) * math.log(2) * 4.0
        yield json.dumps({"step": step, "seconds": step * BUDGET / steps, "tokens": step * 2048, "loss": loss}) + "\n"


def samples(best: int) -> dict:
    """What two models might have made of the same openings."""
    prompts = ["Once upon a time, there was a little", "Tom and Lily were playing in the", "One day, a big dog"]
    first = [
        ' girl named was a the park. She said, "I want to the and the ball was a happy. The tree the big the play.',
        " garden and the the big. They was a bird and said the dog a very the toy. Mom the the happy day.",
        " was the a named Max. Max and the ball the a happy. He said the not the the tree and was a sad.",
    ]
    last = [
        " girl named Mia. She loved to play in the park with her ball. One day the ball rolled into the pond. "
        'Mia was sad. A kind duck said, "I will help you," and pushed the ball back to her.',
        " garden. They found a small bird under the tree. Its wing was hurt. They gave it water and a soft bed, and "
        "after three days it could fly again.",
        " named Max saw a cat on the fence. Max wanted to be friends. He wagged his tail and sat down very still. "
        "The cat came down and they played until dinner.",
    ]  # fmt: skip
    return {"prompts": prompts, "texts": {"0": first, str(best): last}}


def make_night(root: Path, experiments: int, seed: int = 0) -> Night:
    """A whole night in `root` (runs/<tag>) with so many experiments after the baseline."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((files, "flush_to_disk"), (files, "flush_folder"), (history, "flush_folder")):
            patch.setattr(module, name, lambda _: None)  # thousands of them, and nobody pulls the plug
        made = MadeUpNight(Night.open(root, IDENTITY), random.Random(seed))
        made.baseline()
        for _ in range(experiments):
            made.experiment()
        made.close()
    return made.night
