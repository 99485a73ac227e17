"""The night: `python -m mlx_autoresearch.loop`.

Baseline first. Then, until somebody says stop: the agent proposes an edit of the incumbent's file, or of a promising
one that was built on it; the edit passes the gate and a smoke run, trains for the budget, is scored, and is kept or
not. Everything that is known is on disk before the next thing starts, so the loop may die at any instant: started
again, it goes on with the same tag.

Notable: the machine doesn't wait for an agent. Proposals are made ahead while it trains; when there is none, the
incumbent is measured again, and then the search agent proposes, until the researcher is back.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import shutil
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

from mlx_autoresearch import beliefs, launch_agent, machine, noise, notify, verdict
from mlx_autoresearch.agents import Agent, AgentOptions, choose_agent, make_agent
from mlx_autoresearch.agents.briefing import Briefing
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.arguments import build_parser
from mlx_autoresearch.branch import ImprovementBranch
from mlx_autoresearch.briefings import Briefer, bytes_per_token
from mlx_autoresearch.conditions import CONDITIONS_FILE, JUDGED_BUDGET_SECONDS, ConditionsLog
from mlx_autoresearch.conditions_meter import ConditionsMeter
from mlx_autoresearch.curve import CURVE_FILE, read_points, step_drift
from mlx_autoresearch.curves import Curves
from mlx_autoresearch.dataset import Dataset
from mlx_autoresearch.early_kill import Watch
from mlx_autoresearch.errors import AutoresearchError, run_command_line
from mlx_autoresearch.evidence import LOG_FILE as RUN_LOG_FILE
from mlx_autoresearch.experiment import GRACE_SECONDS, Laboratory, Progress
from mlx_autoresearch.fixed_files import FixedFiles
from mlx_autoresearch.gate import GateError, check_source, code_lines, fingerprint_or_none
from mlx_autoresearch.history import Experiment, Night, RunIdentity
from mlx_autoresearch.machine_watch import MachineWatch
from mlx_autoresearch.merge import three_way_merge
from mlx_autoresearch.night_clock import NightClock
from mlx_autoresearch.night_lock import NightLock
from mlx_autoresearch.opening import choose_tag, dataset_of, night_so_far, open_or_make_dataset
from mlx_autoresearch.paths import PROJECT, runs_root
from mlx_autoresearch.process import tail
from mlx_autoresearch.proposals import QUEUE_FOLDER, ProposalQueue
from mlx_autoresearch.records import CRASH, DISCARD, KEEP, STOPPED_EARLY, Proposal, Verdict, in_state
from mlx_autoresearch.report.terminal import Terminal
from mlx_autoresearch.report.update import rewrite_report, update_report
from mlx_autoresearch.sandbox import NO_SANDBOX
from mlx_autoresearch.sandbox.choice import choose
from mlx_autoresearch.settings import CONTEXT, CONTRACT_VERSION
from mlx_autoresearch.spending import SPENDING_FILE, Ledger, SpendingLimits, cost_text, known_prices
from mlx_autoresearch.status import BY_HAND, BY_ITSELF, OVER, StatusBoard
from mlx_autoresearch.thinking import DirectThinking, Researcher, ThinkingAhead
from mlx_autoresearch.timeline import TIMELINE_FILE, Timeline
from mlx_autoresearch.trust import choose_sandbox, sandbox_line
from mlx_autoresearch.watch import watch

LOG_FILE = "loop.log"

CRASHES_IN_A_ROW = 20
"""After so many failures one after the other the incumbent is run, to see whether it is the edits' fault."""

LEAST_FREE_DISK_BYTES = 512 << 20
"""With less room on the disk nothing is run: twice what the sandbox stops a run for, so that it is no edit's fault."""

IDLE_RUNS = 5
"""While nobody proposes anything, the incumbent is run again until it has so many runs: it sharpens every later
comparison. Beyond that the search agent's edits are worth more."""


@dataclass(frozen=True)
class Limits:
    """When the loop ends by itself.

    Attributes:
        experiments: number of decided edits in the tag, the baseline not counted; None for no limit.
        ends: `time.monotonic()` at which no further experiment is started; None for no limit.
    """

    experiments: int | None = None
    ends: float | None = None


@dataclass
class Loop:
    """One night at work. Holds nothing that is not on disk as well.

    Attributes:
        thinking: the chosen agent, asked ahead or when needed.
        stand_in: proposes while the chosen agent can't.
        prior_noise: what is believed of the noise before tonight's runs say more.
    """

    night: Night
    laboratory: Laboratory
    dataset: Dataset
    agent: Agent
    thinking: DirectThinking | ThinkingAhead
    stand_in: Agent
    branch: ImprovementBranch | None
    terminal: Terminal
    timeline: Timeline
    briefer: Briefer
    limits: Limits
    machine_class: int
    fixed_files: FixedFiles
    machine_watch: MachineWatch
    clock: NightClock
    prior_noise: noise.Noise = noise.PRIOR_NOISE

    def run(self) -> None:
        """Go on until a limit is reached.

        Raises:
            AutoresearchError: the baseline failed, the agent has nothing left, or everything fails.
        """
        self._finish_what_was_cut_short()
        self._settle_baseline()
        while not self._finished():
            experiment = self.night.pending() or self._next_experiment()
            if experiment is None:
                self.terminal.say("Nothing to try at the moment: the incumbent is measured once more.")
                self._run(self.night.incumbent())
                continue
            self.thinking.brief(self._briefing())
            if not experiment.runs and self._incumbent_is_due():
                self._run(self.night.incumbent())
            self._settle(experiment)
            self._conclude(experiment)

    def _incumbent_is_due(self) -> bool:
        now = in_state(self.clock.now(), self.machine_watch.log.state)
        return verdict.is_due(self.night.incumbent().measurements, now)

    def _finished(self) -> bool:
        enough = self.limits.experiments is not None and self.night.decided_edits() >= self.limits.experiments
        return enough or (self.limits.ends is not None and time.monotonic() >= self.limits.ends)

    def _finish_what_was_cut_short(self) -> None:
        """Redo the last steps of a decided experiment, which a kill may have prevented; done twice, they do no harm."""
        self._commit_keeps()
        self._publish()
        self.night.drop_models()

    def _settle_baseline(self) -> None:
        if not self.night.experiments:
            source = (PROJECT / "train_mlx.py").read_text(encoding="utf-8")
            self.night.add(Proposal(source, "baseline: the file as it is", agent="person"))
        baseline = self.night.experiments[0]
        if baseline.verdict is None:
            if baseline.runs or (self._passes_gate(baseline) and self._passes_smoke(baseline)):
                self.thinking.brief(self._briefing())
                while not self._fails(baseline) and len(baseline.scores) < verdict.BASELINE_RUNS:
                    self._run(baseline, splits=("val", "test"))
            if baseline.verdict is None:
                baseline.record_verdict(verdict.baseline_verdict(baseline.scores, self._noise()))
            self._conclude(baseline)
        if baseline.verdict.status != KEEP:
            raise AutoresearchError(
                f"The baseline failed, so there is nothing to improve. {baseline.verdict.sentence} Its folder is "
                f"{baseline.folder}. Try `python train_mlx.py` and mend it if you have changed it; if not, this "
                "machine may be busy with something else, or too slow (`make doctor` tells). Then start another --tag."
            )

    def _briefing(self) -> Briefing:
        ends, experiments = self.limits.ends, self.limits.experiments
        return self.briefer.briefing(
            self._noise().deviation,
            self.agent.name,
            None if ends is None else max(0.0, ends - time.monotonic()) / 3600,
            None if experiments is None else max(0, experiments - self.night.decided_edits()),
        )

    def _next_experiment(self) -> Experiment | None:
        """The agent's next proposal, or the stand-in's; None when the incumbent should be run again instead."""
        briefing = self._briefing()
        self.terminal.stage("waiting for a proposal")
        while (proposal := self.thinking.take(briefing)) is not None:
            fitting = self._fitted(proposal, replace(briefing, repair=None))
            if fitting is not None:
                experiment = self.night.add(fitting)
                self.thinking.brief(self._briefing())  # before it leaves the queue, or it could be proposed again
                self.thinking.done_with(proposal)
                return experiment
            self.thinking.done_with(proposal)
        if not self.thinking.is_over and len(self.night.incumbent().runs) < IDLE_RUNS:
            return None
        return self._stand_in_experiment(briefing)

    def _stand_in_experiment(self, briefing: Briefing) -> Experiment | None:
        """What the search agent proposes; None where it can't and the chosen agent may be back soon.

        Raises:
            AutoresearchError: nobody is left to propose anything.
        """
        try:
            proposal = self.stand_in.propose(briefing)
        except AutoresearchError as error:
            if self.thinking.is_over:
                raise AutoresearchError(f"Nobody has anything left to propose. {error}") from None
            self.terminal.say(f"The search agent has nothing to propose meanwhile: {error}")
            return None
        return self.night.add(proposal)

    def _fitted(self, proposal: Proposal, briefing: Briefing) -> Proposal | None:
        """A proposal for today's incumbent: an older one is carried over; None, with a word, where it can't be."""
        fitting = proposal
        if proposal.parent != briefing.incumbent:
            parent = next((e for e in self.night.experiments if e.number == proposal.parent), None)
            merged = parent and three_way_merge(parent.source, proposal.source, briefing.source)
            if merged is None:
                self._drop(proposal, f"it does not fit the file of experiment {briefing.incumbent}, which is newer")
                return None
            fitting = replace(proposal, source=merged, parent=briefing.incumbent)
        reason = refusal(briefing, fitting.source)
        if reason is not None:
            self._drop(proposal, reason)
            return None
        return fitting

    def _drop(self, proposal: Proposal, reason: str) -> None:
        self.terminal.say(f"Dropped before it ran: {proposal.description}: {reason}")

    def _settle(self, experiment: Experiment) -> None:
        """Run a candidate (and the incumbent beside it) until there is a verdict."""
        if not experiment.runs and self._passes_gate(experiment) and self._passes_smoke(experiment):
            self._run(experiment)
        incumbent = self.night.incumbent()
        while experiment.verdict is None and not self._fails(experiment):
            if not experiment.scores:  # the machine slept through the first run
                self._run(experiment)
                continue
            saved = code_lines(incumbent.source) - code_lines(experiment.source)
            limit = verdict.RUN_LIMIT if self.machine_watch.judges else verdict.PRACTICE_RUN_LIMIT
            noise_now = self._noise()
            known, base = beliefs.before(experiment, self.night, noise_now)
            decision = verdict.decide(experiment.measurements, known, noise_now, incumbent.number, saved, limit, base)
            if isinstance(decision, verdict.RunAgain):
                incumbent_fails = incumbent.runs[-1].failure is not None
                self._run(experiment if decision.which == "candidate" or incumbent_fails else incumbent)
            elif decision.status == KEEP and (reason := self._refused_at_closer_look(experiment)):
                experiment.record_verdict(Verdict(CRASH, reason))
            else:
                experiment.record_verdict(self._explained(decision, experiment, incumbent))

    def _explained(self, decision: Verdict, experiment: Experiment, incumbent: Experiment) -> Verdict:
        """The verdict, with a word on whether it learned better or ran faster where that can be told."""
        sources = self._curves().sources(decision, experiment, incumbent)
        if sources is None:
            return decision
        return replace(decision, sentence=f"{decision.sentence} {sources.sentence()}", details=asdict(sources))

    def _curves(self) -> Curves:
        rates = bytes_per_token(self.dataset)
        return Curves(self.night, rates, self.machine_class, self.laboratory.budget_seconds)

    def _fails(self, experiment: Experiment) -> bool:
        """Whether a run of an undecided experiment failed, which then is its verdict."""
        for index, result in sorted(experiment.results.items()):
            if result.failure == STOPPED_EARLY:
                experiment.record_verdict(Verdict(DISCARD, f"Run {index} was stopped early: {result.reason}."))
                return True
            if result.failure is not None:
                words = f"Run {index} failed ({result.failure}): {result.reason}"
                log = tail(experiment.run_folder(index) / RUN_LOG_FILE)
                experiment.record_verdict(Verdict(CRASH, words, details={"log": log}))
                return True
        return False

    def _passes_gate(self, experiment: Experiment) -> bool:
        try:
            check_source(experiment.source)
            self._check_new(experiment)
        except GateError as error:
            experiment.record_verdict(Verdict(CRASH, f"Not run: {error}"))
            return False
        return True

    def _passes_smoke(self, experiment: Experiment) -> bool:
        """Two steps before the whole budget; a failure is the experiment's verdict."""
        self._require_room()
        with self._stage(experiment, "smoke run"):
            failure = self.laboratory.smoke(experiment.folder / "train_mlx.py", experiment.folder / "smoke")
        if failure is not None:
            self._require_room()
            words = f"Failed in the smoke run ({failure.failure}): {failure.reason}"
            details = {"failure": failure.failure, "footprint_bytes": failure.footprint_bytes}
            experiment.record_verdict(Verdict(CRASH, words, details=details))
        return failure is None

    def _check_new(self, experiment: Experiment) -> None:
        """Refuse a program that was tried before.

        Raises:
            GateError: it is the same program as an earlier experiment's.
        """
        own = fingerprint_or_none(experiment.source, self.machine_class)
        if own is None:
            raise GateError("it is nested too deeply to be compared with earlier programs")
        for earlier in self.night.experiments:
            if earlier.number < experiment.number and fingerprint_or_none(earlier.source, self.machine_class) == own:
                raise GateError(f"it is the same program as experiment {earlier.number} ({earlier.verdict.sentence})")

    def _run(self, experiment: Experiment, splits: tuple[str, ...] = ("val",)) -> None:
        """One training run with the experiment's next seed."""
        self._require_room()
        number = len(experiment.runs) + 1
        self.terminal.stage(f"run {number}", experiment)
        speed = None
        if self.machine_watch.judges:
            with self.timeline.span("wait", experiment=experiment.number):
                speed = self.machine_watch.wait()
        folder = experiment.new_run_folder()
        laboratory_run, log = self.laboratory.run, self.machine_watch.log
        if number == 1 and (hopeless := self._early_stop(experiment, folder)) is not None:
            laboratory_run = partial(laboratory_run, hopeless=hopeless)
        state = log.state
        started = self.clock.now()
        with self._stage(experiment, f"run {number}"), ConditionsMeter(speed) as meter:
            result = laboratory_run(experiment.folder / "train_mlx.py", folder, seed=number, splits=splits)
        conditions = replace(meter.conditions, step_drift=step_drift(read_points(folder / CURVE_FILE)))
        reason = self.machine_watch.why_invalid(experiment.number, number, conditions, result)
        if reason is not None:  # the folder holds no result, so the next run takes its place
            self.terminal.say(f"This run doesn't count and will be repeated: {reason}.")
            return
        if result.failure is not None:
            self._require_room()
        if log.state != state:
            self.terminal.say("The machine has changed: the best file so far is run again before anything is compared.")
        experiment.record_result(folder, replace(result, started=round(started, 1), state=log.state))

    def _early_stop(self, experiment: Experiment, folder: Path) -> Watch | None:
        """What may stop a first run; None where the machine may not be as it was for the incumbent's curves."""
        incumbent, log = self.night.incumbent(), self.machine_watch.log
        if incumbent is None or log.is_unsettled or any(run.state != log.state for run in incumbent.runs[-1:]):
            return None
        return self._curves().watch(experiment, incumbent, folder / CURVE_FILE)

    def _require_room(self) -> None:
        """Stop before a full disk makes experiments fail that might be good, and before their failures are recorded.

        Raises:
            OSError: hardly anything is left of the disk.
        """
        free = shutil.disk_usage(self.night.root).free
        if free < LEAST_FREE_DISK_BYTES:
            raise OSError(errno.ENOSPC, f"only {free >> 20} MiB of the disk are left", str(self.night.root))

    def _refused_at_closer_look(self, experiment: Experiment) -> str | None:
        """Before a keep: every cut of the causality check, and the test set; the reason if the model is refused."""
        with self._stage(experiment, "closer look"):
            for index, result in sorted(experiment.results.items()):
                folder = experiment.run_folder(index)
                if result.failure is not None or result.test_bpb is not None:
                    continue
                checked = self.laboratory.score(folder, result, ["test"], every_cut=True)
                if checked.failure is not None:
                    return f"Refused before a keep: {checked.reason}"
                experiment.record_result(folder, replace(result, test_bpb=checked.test_bpb))  # the rest is of the run
        return None

    def _conclude(self, experiment: Experiment) -> None:
        """Everything that follows from a verdict: commit, best/, results.tsv, the line on the terminal."""
        if experiment.kept:
            self._commit_keeps()
        self._publish()
        self.night.drop_models()
        self.terminal.verdict(experiment)
        self._check_that_anything_works(experiment)

    def _check_that_anything_works(self, experiment: Experiment) -> None:
        """After many failures in a row run the incumbent, which is known to work.

        Raises:
            AutoresearchError: it fails too.
        """
        decided = [e for e in self.night.experiments if e.verdict is not None]
        in_a_row = next((k for k, e in enumerate(reversed(decided)) if e.verdict.status != CRASH), len(decided))
        if in_a_row == 0 or in_a_row % CRASHES_IN_A_ROW != 0:
            return
        incumbent = self.night.incumbent()
        self.terminal.say(f"The last {in_a_row} experiments all failed: the incumbent is run to see what is wrong.")
        if incumbent is not None:
            self._run(incumbent)
        if incumbent is None or incumbent.runs[-1].failure is not None:
            raise AutoresearchError(
                f"The last {in_a_row} experiments all failed, the last one so: {experiment.verdict.sentence} The "
                f"incumbent fails too, so something else than the edits is wrong; see {experiment.folder} and `make "
                "doctor`."
            )

    def _publish(self) -> None:
        incumbent = self.night.incumbent()
        if incumbent is not None:
            vocab_size = next(run.vocab_size for run in incumbent.runs if run.failure is None)
            self.night.update_best(incumbent, self.dataset.tokenizer_file(vocab_size))
        self.night.write_results()
        self.terminal.stage("writing the report")
        with self.timeline.span("report"):
            update_report(self.night, self.laboratory, self.terminal.say)

    def _commit_keeps(self) -> None:
        """Commit the keeps since the last one that is committed, in their order: git may have refused one before."""
        if self.branch is None:
            return
        kept = [experiment for experiment in self.night.experiments if experiment.kept]
        missing = list(itertools.takewhile(lambda experiment: experiment.commit is None, reversed(kept)))
        for experiment in reversed(missing):
            try:
                sha = self.branch.commit(*commit_message(experiment, self.night.identity), experiment.number)
            except AutoresearchError as error:
                self.terminal.say(f"Note: {error}")
                return
            experiment.record_commit(sha)

    def _noise(self) -> noise.Noise:
        spreads = [noise.spread(experiment.measurements) for experiment in self.night.experiments]
        return noise.pooled_noise(spreads, self.prior_noise)

    @contextmanager
    def _stage(self, experiment: Experiment, stage: str) -> Iterator[None]:
        """Show and record what is going on."""
        self.terminal.stage(stage, experiment)
        with self.timeline.span(stage, experiment=experiment.number), self.fixed_files.unchanged():
            yield


def commit_message(experiment: Experiment, identity: RunIdentity) -> tuple[str, str, str]:
    """Source, subject and body of the commit of a kept experiment."""
    decided = experiment.verdict
    lines = [decided.sentence, ""]
    if experiment.proposal.hypothesis:
        lines += [f"Hypothesis: {experiment.proposal.hypothesis}", ""]
    lines.append(
        f"val_bpb: {decided.val_bpb:.6f} (95 % interval ± {decided.interval:.6f}, {len(experiment.scores)} runs)"
    )
    if decided.expected_gain is not None:
        lines.append(f"expected gain: {decided.expected_gain:.6f} (the luck of what is kept taken off)")
    if experiment.test_bpb is not None:
        lines.append(f"test_bpb: {experiment.test_bpb:.6f}")
    lines.append(f"Budget: {identity.budget_seconds:g} s on {identity.machine}; dataset {identity.dataset}")
    return experiment.source, experiment.proposal.description, "\n".join(lines)


def stop_at_signals() -> None:
    """Let Ctrl-C, a polite kill and a closed terminal all end the night in the same clean way.

    Set explicitly, because a shell starts background jobs with Ctrl-C ignored; `nohup` stays respected.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


COSTS_MONEY = ("anthropic", "claude", "codex", "chat")
"""Agents whose answers may have a price."""


def start_thinking(researcher: Researcher, queue_folder: Path) -> DirectThinking | ThinkingAhead:
    """The way of thinking that suits the agent."""
    if not researcher.agent.thinks_ahead:
        return DirectThinking(researcher)
    queue = ProposalQueue(queue_folder)
    if queue.damaged:
        researcher.say(f"Note: {queue.damaged} waiting proposals in {queue_folder} could not be read and are gone.")
    return ThinkingAhead(researcher, queue)


def where_to_look(night: Night, branch: ImprovementBranch | None) -> list[str]:
    """The last lines: what is where."""
    lines = [f"The night as a page: {night.root / 'report.html'}; as a table: {night.root / 'results.tsv'}"]
    if night.incumbent() is not None:
        if night.claim is not None:
            lines.append(f"Claimed: better than the baseline by {night.claim}, the luck of what is kept taken off.")
        lines.append(f"Best model: {night.root / 'best'}")
        lines.append(f"Let it write: python -m mlx_autoresearch.sample --tag {night.root.name}")
    if branch is not None and night.claim is not None:
        lines.append(f"Improvements, a commit each: git log {branch.start[:12]}..{branch.name}")
    return lines


def trouble_with_files(error: OSError) -> AutoresearchError:
    """What to tell a person when a file could not be written or read."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    mend = {errno.ENOSPC: "make room on that disk", errno.EDQUOT: "make room within your quota"}
    mend |= dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make that folder writable")
    return AutoresearchError(
        f"The night had to stop: {what}. What was recorded is safe in {runs_root()}; "
        f"{mend.get(error.errno, 'mend this')} and start the same command again."
    )


def main() -> int:
    """Command line: see `build_parser`."""
    arguments = build_parser().parse_args()
    try:
        return spend_the_night(arguments)
    except OSError as error:
        raise trouble_with_files(error) from None


def spend_the_night(arguments: argparse.Namespace) -> int:
    """Set everything up, go on until an end, and say what came of it.

    Raises:
        AutoresearchError: the night is refused, or has to stop.
        OSError: a file can't be written or read.
    """
    terminal = Terminal(plain=arguments.plain)
    if arguments.watch is not None:
        stop_at_signals()
        watch(arguments.watch or arguments.tag, arguments.plain)
        return 0
    if arguments.uninstall_launch_agent:
        terminal.say(launch_agent.uninstall())
        return 0
    notify.check_target(arguments.notify)
    agent_name, why = choose_agent(arguments.agent)
    terminal.say(f"Agent: {why}")
    dataset = open_or_make_dataset(arguments.dataset or dataset_of(arguments.tag), terminal)
    fixed_files = FixedFiles.of(dataset)
    identity = RunIdentity(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        budget_seconds=arguments.budget,
        machine=machine.identity(),
        harness=CONTRACT_VERSION,
        context=CONTEXT,
    )
    tag = choose_tag(arguments.tag, identity, terminal)
    root = runs_root() / tag
    if arguments.install_launch_agent:
        settled = {"tag": tag, "dataset": str(dataset.folder), "agent": agent_name}
        for sentence in launch_agent.install(vars(arguments) | settled, root):
            terminal.say(sentence)
        return 0
    seed = zlib.crc32(tag.encode())  # another night searches elsewhere
    limits = SpendingLimits(arguments.max_usd, arguments.max_tokens)
    if agent_name == "command" and limits != SpendingLimits():
        raise AutoresearchError(
            "--max-usd and --max-tokens can't be kept with --agent command: nobody counts its tokens."
        )
    ledger = Ledger(root / SPENDING_FILE, known_prices(), limits)
    choice = (arguments.model, arguments.effort, arguments.base_url, arguments.command)
    agent = make_agent(agent_name, AgentOptions(ledger, seed, *choice, say=terminal.say))
    ends = None if arguments.hours is None else time.monotonic() + 3600 * arguments.hours
    stop_at_signals()
    with NightLock(root), machine.keep_awake(), closing(agent):
        sandbox, about_sandbox = NO_SANDBOX, []
        if arguments.no_sandbox:
            about_sandbox.append("Note: --no-sandbox: edits run with your own rights, and every run's record says so.")
        else:  # before anything is made, because it may refuse
            sandbox = choose_sandbox(choose(), agent_name, night_so_far(root, identity), about_sandbox.append)
        opening = ImprovementBranch.open(PROJECT, root / "branch", tag)
        night = Night.open(root, identity)
        terminal.log_to(root / LOG_FILE)
        terminal.log(f"Agent: {why}")
        for note in (*opening.notes, *night.damage, *machine.warnings_for_the_night()):
            terminal.say(f"Note: {note}")
        if arguments.budget <= GRACE_SECONDS:
            terminal.say(f"Note: a budget of {arguments.budget:g} s is mostly start-up; scores will say little.")
        elif arguments.budget < JUDGED_BUDGET_SECONDS:
            terminal.say(
                f"Note: a budget below {JUDGED_BUDGET_SECONDS:g} s is for practice: runs count on a busy machine too."
            )
        if limits == SpendingLimits() and agent_name in COSTS_MONEY:
            terminal.say("Note: no spending limit is set; --max-usd or --max-tokens sets one.")
        terminal.say(
            f"Tag {tag}: dataset {dataset.name}, {arguments.budget:g} s a run, {identity.machine}, "
            f"edits decided so far: {night.decided_edits()}. Ctrl-C stops; the same command goes on."
        )
        for sentence in about_sandbox:
            terminal.say(sentence)
        timeline = Timeline(root / TIMELINE_FILE)
        # A coding program that only happens to be installed may not be logged in: then the search agent does.
        insisted = arguments.agent is not None or agent_name == "anthropic"
        notifier, title = notify.Notifier(arguments.notify, terminal.say), f"mlx-autoresearch {tag}"
        researcher = Researcher(agent, terminal.say, timeline, insisted, alarm=partial(notifier.tell, title))
        thinking = start_thinking(researcher, root / QUEUE_FOLDER)

        def on_progress(progress: Progress) -> None:
            terminal.progress(progress)
            thinking.check()

        loop = Loop(
            night=night,
            laboratory=Laboratory(Path(dataset.folder), arguments.budget, on_progress, sandbox),
            dataset=dataset,
            agent=agent,
            thinking=thinking,
            stand_in=make_agent("search", AgentOptions(ledger, seed)),
            branch=opening.branch,
            terminal=terminal,
            timeline=timeline,
            briefer=Briefer(night, dataset, identity.machine, machine.machine_class(), arguments.budget),
            limits=Limits(arguments.experiments, ends),
            machine_class=machine.machine_class(),
            fixed_files=fixed_files,
            machine_watch=MachineWatch(ConditionsLog.open(root / CONDITIONS_FILE), arguments.budget, terminal.say),
            clock=NightClock.after(night),
            prior_noise=noise.earlier_noise(runs_root(), identity, without=root),
        )
        board = StatusBoard(root, agent_name, arguments.budget, ends, arguments.experiments)
        terminal.follow(board)
        ended, reason = BY_ITSELF, "A fault of this program; it was printed where the loop was started."
        try:
            with terminal.live(night):
                loop.run()
            ended, reason = OVER, ""
        except KeyboardInterrupt:
            ended, reason = BY_HAND, ""
            terminal.say("Stopped. A run that was not finished will be repeated when the loop is started again.")
        except (AutoresearchError, OSError) as error:
            reason = str(error)
            terminal.log(f"Stopped: {error}")
            raise
        finally:
            board.end(ended, reason)
            thinking.close()
            if ended != BY_HAND:
                notifier.tell(title, notify.end_of_night(night, ended))
            if night.experiments:
                rewrite_report(root, running=False, say=terminal.say)
                terminal.table(night)
                if ledger.total.tokens:
                    terminal.say(f"Language models so far: {cost_text(ledger.total)}")
                for line in filter(None, (sandbox_line(night), *where_to_look(night, opening.branch))):
                    terminal.say(line)
            notifier.close()
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # a log file should show a line when it happens
    run_command_line(main)
