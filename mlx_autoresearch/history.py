"""What a night remembers: one folder per experiment, results.tsv, the incumbent's copy in best/, and the lock.

    runs/<tag>/
        identity.json  lock  results.tsv
        best/               the incumbent: model, train_mlx.py, score.json, tokenizer.json
        experiments/0000/   the baseline; every later number is one proposal
            proposal.json  train_mlx.py  change.patch  verdict.json  commit.txt
            runs/1/ 2/ ...  one training run each, finished as soon as it holds result.json

Every file is written whole or not at all, and a folder appears under its name only when it is complete, so the state
after a kill at any instant is read off the names: no `verdict.json` is a pending experiment, `runs/<k>` without
`result.json` is an interrupted run (emptied and used again), `*.partial` is something never finished (removed).

A file that is there but can't be read was damaged from outside. Each case is told in `Night.damage`, and:

- the source is unreadable, or is not the text that was proposed: the experiment is skipped, its number stays taken
  (the baseline can't be skipped: the night is refused, for everything is compared with it);
- proposal.json: the experiment counts, with its description and parent unknown: what was measured is the source;
- result.json: that run is no longer a result; its folder is the next one to be used again;
- verdict.json: the experiment is pending again and decided anew from its runs.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from difflib import unified_diff
from pathlib import Path
from typing import Any

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.files import (
    TEMPORARY_SUFFIX,
    flush_folder,
    flush_to_disk,
    put_in_place,
    remove_tree,
    write_json,
    write_text,
)
from mlx_autoresearch.night_lock import ELSEWHERE
from mlx_autoresearch.program_texts import SharedText
from mlx_autoresearch.records import (
    CRASH,
    DISCARD,
    INCONCLUSIVE,
    KEEP,
    Claim,
    Measurement,
    Proposal,
    RunResult,
    Verdict,
    claimed,
)
from mlx_autoresearch.results_table import mean_of_known, results_table
from mlx_autoresearch.stored_records import DamagedFileError, build_record, read_object, without_non_finite

SOURCE_FILE = "train_mlx.py"
MODEL_FILES = ("model.mlxfn", "model.safetensors")
UNKNOWN_DESCRIPTION = "(unknown: proposal.json is damaged)"


class _SourceLostError(Exception):
    """The text of an experiment can't be known any more, so nothing that it scored means anything."""


@dataclass(frozen=True)
class RunIdentity:
    """What must be equal for two scores of one night to be comparable.

    Attributes:
        dataset: name of the prepared dataset.
        dataset_fingerprint: changes whenever the prepared data does.
        budget_seconds: training time of one run.
        machine: the machine, as text.
        harness: version of metric and contract.
        context: tokens in a scored row.
    """

    dataset: str
    dataset_fingerprint: str
    budget_seconds: float
    machine: str
    harness: str
    context: int


@dataclass
class Experiment:
    """One experiment on disk.

    Attributes:
        number: 0 is the baseline.
        folder: experiments/NNNN.
        text: its train_mlx.py.
        story: everything else about its proposal, by the names of `records.Proposal`.
        created: when it was added, ISO 8601 in UTC; empty when unknown.
        results: result of each finished run, by the number of its folder under runs/.
        verdict: None while it is pending.
        commit: full id of its commit, None when there is none.
    """

    number: int
    folder: Path
    text: SharedText
    story: Mapping[str, Any]
    created: str = ""
    results: dict[int, RunResult] = field(default_factory=dict)
    verdict: Verdict | None = None
    commit: str | None = None

    @classmethod
    def of(cls, number: int, folder: Path, proposal: Proposal, created: str = "") -> Experiment:
        """A new experiment that tries a proposal."""
        return cls(number, folder, SharedText.of(proposal.source), story_of(proposal), created)

    @property
    def source(self) -> str:
        """The whole text of train_mlx.py."""
        return str(self.text)

    @property
    def proposal(self) -> Proposal:
        """The edit, with its source."""
        return Proposal(self.source, **self.story)

    @property
    def runs(self) -> list[RunResult]:
        """Results of the finished runs, in order."""
        return [self.results[index] for index in sorted(self.results)]

    @property
    def scores(self) -> list[float]:
        """val_bpb of the scored runs, in order."""
        return [run.bpb for run in self.measurements]

    @property
    def measurements(self) -> list[Measurement]:
        """val_bpb of the scored runs with their times, in order."""
        scored = [run for run in self.runs if run.failure is None and run.val_bpb is not None]
        return [Measurement(run.val_bpb, run.when) for run in scored]

    @property
    def mean_bpb(self) -> float | None:
        """Mean val_bpb of the scored runs, None when there is none."""
        scores = self.scores
        return math.fsum(scores) / len(scores) if scores else None

    @property
    def test_bpb(self) -> float | None:
        """Mean test_bpb of the runs that were scored on the test set, None when there is none."""
        return mean_of_known([run.test_bpb for run in self.runs if run.failure is None])

    @property
    def builds(self) -> bool:
        """Whether later edits were, or are, made from it: it is kept or promising."""
        return self.kept or (self.verdict is not None and self.verdict.promising)

    @property
    def kept(self) -> bool:
        """Whether it was ever the incumbent: a keep, or the baseline once it is decided and didn't crash."""
        if self.verdict is None:
            return False
        return self.verdict.status == KEEP or (self.number == 0 and self.verdict.status != CRASH)

    def run_folder(self, index: int) -> Path:
        """Folder of run `index` (from 1)."""
        return self.folder / "runs" / str(index)

    def next_run_folder(self) -> Path:
        """The first folder under runs/ that holds no result; it may hold what is left of an interrupted run."""
        return self.run_folder(next(index for index in range(1, len(self.results) + 2) if index not in self.results))

    def new_run_folder(self) -> Path:
        """An empty folder for the next run.

        A process of an interrupted run must be dead by now, or it would write into the folder of the new one.
        """
        folder = self.next_run_folder()
        remove_tree(folder)
        folder.mkdir(parents=True)
        flush_folder(folder.parent)
        flush_folder(self.folder)
        return folder

    def record_result(self, folder: Path, result: RunResult) -> None:
        """Finish the run in `folder` (from `new_run_folder`). NaN and infinity become None: unknown is null."""
        known = without_non_finite(asdict(result))
        write_json(folder / "result.json", known)
        self.results[int(folder.name)] = RunResult(**known)

    def record_verdict(self, verdict: Verdict) -> None:
        """Decide the experiment. NaN and infinity become None."""
        known = without_non_finite(asdict(verdict))
        write_json(self.folder / "verdict.json", known)
        self.verdict = Verdict(**known)

    def record_commit(self, sha: str) -> None:
        """Remember the commit that carries the source."""
        write_text(self.folder / "commit.txt", sha + "\n")
        self.commit = sha

    def model_run(self) -> int | None:
        """Number of the first scored run whose model is still there, None when there is none."""
        return next((index for index in sorted(self.results) if self._has_model(index)), None)

    def _has_model(self, index: int) -> bool:
        files = [self.run_folder(index) / name for name in MODEL_FILES]
        scored = self.results[index].failure is None and self.results[index].val_bpb is not None
        return scored and all(file.is_file() and not file.is_symlink() for file in files)


@dataclass
class Night:
    """All experiments of one tag. One loop at a time may change it: hold `NightLock` around everything but `read`.

    Attributes:
        root: runs/<tag>.
        identity: what its scores have in common.
        experiments: in order, without skipped ones.
        skipped: number and reason of experiments that can't be read.
        damage: a sentence for every damaged file found when it was opened.
    """

    root: Path
    identity: RunIdentity
    experiments: list[Experiment] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path, identity: RunIdentity) -> Night:
        """Start a night in `root`, or resume the one there, and clear away what a kill left half made.

        Raises:
            AutoresearchError: the night there differs in its identity, can't be read, has lost its baseline, or the
                folder can't be made.
        """
        path = root / "identity.json"
        try:
            (root / "experiments").mkdir(parents=True, exist_ok=True)
            if not path.exists() and not any(_numbered_folders(root)):
                write_json(path, asdict(identity))
        except OSError as error:
            raise AutoresearchError(f"the run folder {root} can't be written: {error.strerror}; {ELSEWHERE}") from None
        if not path.exists():
            raise AutoresearchError(
                f"{path} is missing, so nothing says which dataset and budget the experiments beside it belong to; "
                "put it back, or start another run with another --tag"
            )
        _require_same(_read_identity(root), identity, root)
        for unfinished in (root / "experiments").glob("*" + TEMPORARY_SUFFIX):
            remove_tree(unfinished)
        _repair_best(root)
        night = cls(root, identity)
        night._load()
        night._require_baseline()
        return night

    @classmethod
    def read(cls, root: Path) -> Night:
        """Read the night in `root` without changing anything: safe while a loop works on it.

        Raises:
            AutoresearchError: there is no night in `root`, or its identity can't be read.
        """
        if not (root / "identity.json").exists():
            raise AutoresearchError(f"there is no run in {root}: give the --tag of one that was started")
        night = cls(root, _read_identity(root))
        night._load()
        return night

    def add(self, proposal: Proposal) -> Experiment:
        """Add the next experiment; its folder appears complete or not at all.

        Raises:
            AutoresearchError: the source is not text that can be stored as UTF-8.
        """
        try:
            source = proposal.source.encode("utf-8")
        except UnicodeEncodeError:
            raise AutoresearchError("the proposed train_mlx.py holds characters that UTF-8 can't store") from None
        number = max([experiment.number for experiment in self.experiments] + list(self.skipped), default=-1) + 1
        folder = self.root / "experiments" / f"{number:04d}"
        temporary = folder.with_name(folder.name + TEMPORARY_SUFFIX)
        remove_tree(temporary)
        temporary.mkdir(parents=True)
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        story = {**story_of(proposal), "created": created, "source_sha256": hashlib.sha256(source).hexdigest()}
        write_json(temporary / "proposal.json", without_non_finite(story))
        write_text(temporary / SOURCE_FILE, proposal.source)
        parent = next((other for other in self.experiments if other.number == proposal.parent), None)
        if parent is not None:
            write_text(temporary / "change.patch", change_patch(parent.source, proposal.source))
        os.rename(temporary, folder)
        flush_folder(folder.parent)
        experiment = Experiment.of(number, folder, proposal, created)
        self.experiments.append(experiment)
        return experiment

    def incumbent(self) -> Experiment | None:
        """The experiment that a new one must beat: the last kept one; None while the baseline is not decided."""
        return next((experiment for experiment in reversed(self.experiments) if experiment.kept), None)

    def base(self) -> Experiment | None:
        """The experiment that edits start from: the newest promising one since the last keep, else the incumbent."""
        return next((experiment for experiment in reversed(self.experiments) if experiment.builds), None)

    @property
    def claim(self) -> Claim | None:
        """How much better the incumbent is said to be than the baseline, see `records.claimed`."""
        return claimed(experiment.verdict for experiment in self.experiments if experiment.verdict is not None)

    def pending(self) -> Experiment | None:
        """The last experiment without a verdict: the one to go on with."""
        return next((experiment for experiment in reversed(self.experiments) if experiment.verdict is None), None)

    def decided_edits(self) -> int:
        """How many experiments after the baseline have their verdict."""
        return sum(1 for experiment in self.experiments[1:] if experiment.verdict is not None)

    def failures(self, count: int) -> list[Experiment]:
        """The last `count` experiments that ended without a score, oldest first."""
        failed = [experiment for experiment in self.experiments if experiment.verdict and _crashed(experiment)]
        return failed[-count:] if count > 0 else []

    def write_results(self) -> None:
        """Write results.tsv anew from the experiments, see `results_table`."""
        decided = [experiment for experiment in self.experiments if experiment.verdict is not None]
        write_text(self.root / "results.tsv", results_table(decided, self.skipped))

    def update_best(self, experiment: Experiment, tokenizer: Path | None = None) -> None:
        """Make best/ a copy of `experiment`; calling it again is harmless, so a resumed loop just does.

        Raises:
            AutoresearchError: no scored run of the experiment holds its model any more.
        """
        _repair_best(self.root)
        best = self.root / "best"
        index = experiment.model_run()
        if index is None:
            if _best_number(best) == experiment.number:
                return
            raise AutoresearchError(
                f"no run in {experiment.folder} holds {' and '.join(MODEL_FILES)} any more, so {best} can't be made"
            )
        temporary = best.with_name("best" + TEMPORARY_SUFFIX)
        temporary.mkdir()
        for name in MODEL_FILES:
            _copy(experiment.run_folder(index) / name, temporary / name)
        if tokenizer is not None:
            _copy(tokenizer, temporary / "tokenizer.json")
        write_text(temporary / SOURCE_FILE, experiment.source)
        write_json(temporary / "score.json", self._score(experiment, experiment.results[index]))
        _swap_in(best)

    def drop_models(self) -> None:
        """Remove the models that are not needed any more, so that a night's disk use stays bounded.

        Decided experiments only: the baseline and keeps hold on to the model of one run, all others to none.
        Interrupted runs of theirs go as a whole: one that is still wanted begins anew. Call it while nothing runs.
        """
        for experiment in self.experiments:
            if experiment.verdict is None:
                continue
            needed = experiment.model_run() if experiment.kept or experiment.number == 0 else None
            for folder in (path for path in experiment.folder.glob("runs/*") if path.is_dir()):
                if not (folder / "result.json").exists():
                    remove_tree(folder)
                elif needed is None or folder != experiment.run_folder(needed):
                    for name in MODEL_FILES:
                        remove_tree(folder / name)

    def _load(self) -> None:
        for number, folder in sorted(_numbered_folders(self.root)):
            try:
                self.experiments.append(_load_experiment(number, folder, self.damage))
            except _SourceLostError as error:
                self.skipped[number] = f"experiment {number:04d} is skipped: {error}"
                self.damage.append(self.skipped[number])

    def _require_baseline(self) -> None:
        numbers = [experiment.number for experiment in self.experiments]
        if 0 not in numbers and (numbers or self.skipped):
            reason = self.skipped.get(0, f"{self.root / 'experiments' / '0000'} is missing")
            raise AutoresearchError(
                f"the baseline is lost ({reason}), and every experiment is compared with it; put it back, or start "
                "another run with another --tag"
            )

    def _score(self, experiment: Experiment, run: RunResult) -> dict[str, Any]:
        verdict = experiment.verdict
        return {
            "experiment": experiment.number,
            "description": experiment.proposal.description,
            "val_bpb": experiment.mean_bpb,
            "interval": verdict.interval if verdict else None,
            "claimed_gain": None if self.claim is None else self.claim.gain,
            "claimed_gain_half_width": None if self.claim is None else self.claim.half_width,
            "test_bpb": experiment.test_bpb,
            "runs": len(experiment.scores),
            "model_seed": run.seed,
            "model_val_bpb": run.val_bpb,
            **asdict(self.identity),
        }


def story_of(proposal: Proposal) -> dict[str, Any]:
    """All of a proposal but its source."""
    return {key: value for key, value in asdict(proposal).items() if key != "source"}


def change_patch(before: str, after: str) -> str:
    """Unified diff of train_mlx.py that `git apply` takes; empty when the texts are equal."""
    difference = unified_diff(_lines(before), _lines(after), f"a/{SOURCE_FILE}", f"b/{SOURCE_FILE}")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in difference)


def _lines(text: str) -> list[str]:
    # str.splitlines would also split at form feeds and U+2028, which are no line ends to patch and git.
    *whole, last = text.split("\n")
    return [line + "\n" for line in whole] + ([last] if last else [])


def _crashed(experiment: Experiment) -> bool:
    return experiment.verdict is not None and experiment.verdict.status == CRASH


def _numbered_folders(root: Path) -> Iterator[tuple[int, Path]]:
    for folder in (root / "experiments").glob("*"):
        if re.fullmatch(r"[0-9]{4,}", folder.name) and folder.is_dir():
            yield int(folder.name), folder


def _load_experiment(number: int, folder: Path, damage: list[str]) -> Experiment:
    """Read one experiment; what can be done without goes to `damage`, a lost source can't."""
    try:
        source = (folder / SOURCE_FILE).read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise _SourceLostError(f"{folder / SOURCE_FILE} can't be read ({error})") from None
    proposal, created = Proposal(source, UNKNOWN_DESCRIPTION), ""
    try:
        proposal, created = _read_proposal(folder, source)
    except DamagedFileError as error:
        damage.append(f"experiment {number:04d}: {error}; its description and parent are unknown")
    experiment = Experiment.of(number, folder, proposal, created)
    for path in folder.glob("runs/*/result.json"):
        if not re.fullmatch(r"[1-9][0-9]*", path.parent.name):
            continue
        try:
            experiment.results[int(path.parent.name)] = build_record(RunResult, read_object(path), path)
        except DamagedFileError as error:
            damage.append(f"experiment {number:04d}: {error}; that run counts as not done and will be used again")
    try:
        experiment.verdict = _read_verdict(folder / "verdict.json")
    except DamagedFileError as error:
        damage.append(f"experiment {number:04d}: {error}; it will be decided again from its runs")
    commit = folder / "commit.txt"
    experiment.commit = commit.read_bytes().decode("ascii", "replace").strip() or None if commit.is_file() else None
    return experiment


def _read_proposal(folder: Path, source: str) -> tuple[Proposal, str]:
    path = folder / "proposal.json"
    story = read_object(path)
    created, digest = story.pop("created", ""), story.pop("source_sha256", None)
    proposal = build_record(Proposal, {**story, "source": source}, path)
    if digest != hashlib.sha256(source.encode("utf-8")).hexdigest():
        raise _SourceLostError(f"{folder / SOURCE_FILE} is not the text that was proposed")
    return proposal, str(created)


def _read_verdict(path: Path) -> Verdict | None:
    if not path.exists():
        return None
    verdict = build_record(Verdict, read_object(path), path)
    if verdict.status not in (KEEP, DISCARD, INCONCLUSIVE, CRASH):
        raise DamagedFileError(f"{path} is damaged (status {verdict.status!r})")
    return verdict


def _read_identity(root: Path) -> RunIdentity:
    path = root / "identity.json"
    try:
        return build_record(RunIdentity, read_object(path), path)
    except DamagedFileError as error:
        raise AutoresearchError(
            f"{error}, so nothing says which dataset and budget this run belongs to; put the file back, or start "
            "another run with another --tag"
        ) from None


def _short(value: object) -> object:
    """A setting as a person reads it: a digest by its beginning."""
    return f"{value[:12]}..." if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) else value


def _require_same(there: RunIdentity, here: RunIdentity, root: Path) -> None:
    differing = [
        f"{name.replace('_', ' ')} {_short(getattr(there, name))} there, {_short(getattr(here, name))} now"
        for name in (entry.name for entry in fields(RunIdentity))
        if getattr(there, name) != getattr(here, name)
    ]
    if differing:
        raise AutoresearchError(
            f"the run in {root} can't be compared with this one ({'; '.join(differing)}); go on with its settings, or "
            "start another run with another --tag"
        )


def _best_number(best: Path) -> int | None:
    try:
        return read_object(best / "score.json").get("experiment")
    except DamagedFileError:
        return None


def _swap_in(best: Path) -> None:
    """Put the complete best.partial in the place of best; a kill in between is put right by `_repair_best`."""
    new, old = best.with_name("best" + TEMPORARY_SUFFIX), best.with_name("best.old")
    put_in_place(new, best, old)


def _repair_best(root: Path) -> None:
    """Finish or undo a swap that was cut short.

    best goes away only after best.partial is complete, so "best.old and no best" says that best.partial may take its
    place; otherwise best.partial may be torn and is removed.
    """
    best, new, old = root / "best", root / ("best" + TEMPORARY_SUFFIX), root / "best.old"
    if not best.exists() and old.exists():
        os.rename(new if new.exists() else old, best)
        flush_folder(root)
    remove_tree(new)
    remove_tree(old)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        flush_to_disk(file.fileno())
