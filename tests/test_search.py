"""The search agent: its proposals are legal and new, it learns from scores and crashes. And how agents are chosen."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest

from mlx_autoresearch.agents import Briefing, HistoryEntry, choose_agent, search
from mlx_autoresearch.agents.search import SearchAgent
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import Choices, IntRange, Knob, read_knobs, write_knobs
from mlx_autoresearch.records import CRASH, DISCARD, KEEP

SOURCE = """M = machine_class()
DEPTH   = (4,  3,  6,  8)[M]   # {2..12}
WIDTH   = (96, 96, 96, 96)[M]  # {64..512 step 32}
RATE    = 0.15                 # {0.005..0.2 log}
DECAY   = 0.0                  # {0.0..0.2}
BATCH   = 64                   # {2..64 log}
SHAPE   = "tall"               # {"tall", "flat", "round"}
CHUNK   = 2048                 # not searched

def build_model():
    return DEPTH, WIDTH, RATE, DECAY, BATCH, SHAPE, CHUNK
"""
MACHINE = 1


def loss(source: str) -> float:
    """A bowl over the six knobs, best at DEPTH 9, WIDTH 320, RATE 0.02, DECAY 0.12, BATCH 8, SHAPE "round"."""
    value = {name: knob.value for name, knob in read_knobs(source, MACHINE).items()}
    return 1.0 + 0.1 * (
        ((value["DEPTH"] - 9) / 5) ** 2
        + ((value["WIDTH"] - 320) / 200) ** 2
        + math.log(value["RATE"] / 0.02, 6) ** 2
        + ((value["DECAY"] - 0.12) / 0.1) ** 2
        + math.log(value["BATCH"] / 8, 5) ** 2
        + {"tall": 1.0, "flat": 0.7, "round": 0.0}[value["SHAPE"]]
    )


def brief(history: list[HistoryEntry], incumbent: int = 0) -> Briefing:
    best = history[incumbent]
    return Briefing("", best.source, incumbent, best.val_bpb, 0.01, list(history), MACHINE, 300.0)


def start(source: str = SOURCE) -> list[HistoryEntry]:
    return [HistoryEntry(0, None, source, "baseline", KEEP, 2.0)]


def night(propose: Callable[[Briefing], str], count: int) -> tuple[list[HistoryEntry], int]:
    """`count` proposals scored by `loss`, each better one kept; history and number of the incumbent."""
    history, incumbent = [HistoryEntry(0, None, SOURCE, "baseline", KEEP, loss(SOURCE))], 0
    for number in range(1, count + 1):
        source = propose(brief(history, incumbent))
        better = loss(source) < history[incumbent].val_bpb
        history.append(HistoryEntry(number, incumbent, source, "", KEEP if better else DISCARD, loss(source)))
        incumbent = number if better else incumbent
    return history, incumbent


def any_value(knob: Knob, chance: random.Random) -> object:
    limits = knob.range
    if isinstance(limits, Choices):
        return chance.choice(limits.values)
    if isinstance(limits, IntRange) and not limits.log:
        return chance.randrange(limits.low, limits.high + 1, limits.step)
    if not limits.log:
        return chance.uniform(limits.low, limits.high)
    drawn = math.exp(chance.uniform(math.log(limits.low), math.log(limits.high)))
    return round(drawn) if isinstance(limits, IntRange) else drawn


def random_search(seed: int) -> Callable[[Briefing], str]:
    chance = random.Random(seed)

    def propose(briefing: Briefing) -> str:
        knobs = read_knobs(briefing.source, MACHINE)
        values = {name: any_value(knob, chance) for name, knob in knobs.items() if knob.range}
        return write_knobs(briefing.source, values, MACHINE)

    return propose


def inside(knob: Knob) -> bool:
    limits = knob.range
    if isinstance(limits, Choices):
        return knob.value in limits.values
    on_step = not isinstance(limits, IntRange) or (knob.value - limits.low) % limits.step == 0
    return limits.low <= knob.value <= limits.high and on_step


def test_a_nights_proposals_are_legal_new_and_better_than_random() -> None:
    ours, theirs = [], []
    for seed in range(5):
        agent = SearchAgent(seed)
        history, best = night(lambda briefing, agent=agent: agent.propose(briefing).source, 40)
        ours.append(history[best].val_bpb)
        rivals, rival = night(random_search(seed), 40)
        theirs.append(rivals[rival].val_bpb)
        programs = set()
        for entry in history:
            knobs = read_knobs(entry.source, MACHINE)
            assert all(inside(knob) for knob in knobs.values() if knob.range), entry
            assert knobs["CHUNK"].value == 2048
            programs.add(tuple(knob.value for knob in knobs.values()))
        assert len(programs) == len(history)
        assert read_knobs(history[-1].source, 0)["DEPTH"].value == 4  # another machine's column
    assert statistics.median(ours) < statistics.median(theirs)


def test_a_proposal_changes_few_knobs_and_says_which() -> None:
    counts = []
    for seed in range(20):
        proposal = SearchAgent(seed).propose(brief(start()))
        before, after = read_knobs(SOURCE, MACHINE), read_knobs(proposal.source, MACHINE)
        changed = [name for name in before if before[name].value != after[name].value]
        counts.append(len(changed))
        assert sorted(part.split(" ")[0] for part in proposal.description.split(", ")) == sorted(changed)
        assert (proposal.parent, proposal.agent) == (0, "search")
        assert "too few" in proposal.hypothesis
    assert set(counts) <= {1, 2, 3}
    assert counts.count(1) > 8
    single = SearchAgent(0).propose(brief(start("RATE = 0.04  # {0.04, 0.0312}\n"))).description
    assert single == "RATE 0.04 -> 0.0312"


def test_a_resumed_night_goes_on_as_if_it_had_not_stopped() -> None:
    agent = SearchAgent(3)
    history, best = night(lambda briefing: agent.propose(briefing).source, 12)
    briefing = brief(history, best)
    assert SearchAgent(3).propose(briefing) == agent.propose(briefing)
    assert len({SearchAgent(seed).propose(briefing).source for seed in range(8)}) > 4


def test_good_scores_draw_proposals_near_them() -> None:
    source = "RATE = 0.5  # {0.0..1.0}\n"

    def mean_proposal(best: float) -> float:
        rates = [0.5, *(index / 10 for index in range(11) if index != 5)]
        history = [
            HistoryEntry(number, 0, write_knobs(source, {"RATE": rate}, 0), "", DISCARD, 1 + abs(rate - best))
            for number, rate in enumerate(rates)
        ]
        proposals = [SearchAgent(seed).propose(brief(history)).source for seed in range(12)]
        assert "TPE over" in SearchAgent(0).propose(brief(history)).hypothesis
        return statistics.mean(read_knobs(proposal, 0)["RATE"].value for proposal in proposals)

    assert mean_proposal(0.2) + 0.1 < mean_proposal(0.8)


def share_above(status: str, score: Callable[[int], float | None]) -> float:
    """Share of proposals nearer to the experiments at 54, 58, ... 98 than to the others at 4, 8, ... 48 and 50."""
    source = "SIZE = 50  # {1..100}\n"
    history = [HistoryEntry(0, None, source, "", KEEP, 2.0)]
    for number, size in enumerate([*range(4, 50, 4), *range(54, 100, 4)], start=1):
        edited = write_knobs(source, {"SIZE": size}, 0)
        value = score(size) if size > 50 else 2.0 + size / 1000
        history.append(HistoryEntry(number, 0, edited, "", status if size > 50 else DISCARD, value))
    proposed = [read_knobs(SearchAgent(seed).propose(brief(history)).source, 0)["SIZE"].value for seed in range(40)]
    return sum(size > 52 for size in proposed) / len(proposed)


def test_where_programs_crash_only_bold_proposals_go(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = share_above(CRASH, lambda size: None)
    assert crashed <= 0.1
    assert share_above(CRASH, lambda size: math.nan) == crashed  # not a score either
    assert share_above(DISCARD, lambda size: 1.9 - size / 1000) > 0.5  # the same region, had it been good
    monkeypatch.setattr(search, "BOLD", 1.0)
    assert share_above(CRASH, lambda size: None) > crashed + 0.1


def test_a_crash_of_rewritten_code_does_not_count_against_its_knobs() -> None:
    source = "SIZE = 50  # {1..100}\n"
    broken = write_knobs(source, {"SIZE": 60}, 0) + "raise SystemExit(SIZE)\n"
    scored = HistoryEntry(1, 0, write_knobs(source, {"SIZE": 20}, 0), "", DISCARD, 2.1)
    rewritten = [*start(source), scored, HistoryEntry(2, 0, broken, "", CRASH, None)]
    by_knob = [*start(source), scored, HistoryEntry(2, 0, write_knobs(source, {"SIZE": 60}, 0), "", CRASH, None)]

    def above(history: list[HistoryEntry]) -> int:
        proposed = [SearchAgent(seed).propose(brief(history)).source for seed in range(30)]
        return sum(read_knobs(text, 0)["SIZE"].value > 55 for text in proposed)

    assert above(rewritten) > above(by_knob) + 5


def test_everything_is_proposed_once_and_then_there_is_nothing_left() -> None:
    source = 'SIZE = 2  # {1..3}\nFLAG = True  # {False, True}\nNAME = "a"  # {"a", "b"}\n'
    history, agent = start(source), SearchAgent(0)
    for number in range(1, 12):
        history.append(HistoryEntry(number, 0, agent.propose(brief(history)).source, "", DISCARD, 2.0 + number / 10))
    assert len({entry.source for entry in history}) == 12
    with pytest.raises(AutoresearchError, match="was tried"):
        agent.propose(brief(history))


def test_the_same_knobs_in_another_program_are_not_a_repetition() -> None:
    source = "FLAG = True  # {False, True}\n"
    rewritten = source + "print(FLAG)\n"
    flipped = write_knobs(source, {"FLAG": False}, 0)
    history = [
        *start(source),
        HistoryEntry(1, 0, flipped, "", DISCARD, 2.1),
        HistoryEntry(2, 0, rewritten, "", KEEP, 1.9),
    ]
    assert SearchAgent(0).propose(brief(history, incumbent=2)).source == write_knobs(rewritten, {"FLAG": False}, 0)


def test_incumbents_outside_their_ranges_and_off_their_steps_are_met() -> None:
    source = (
        "RATE = 0.0  # {0.001..0.1 log}\nHUGE = 9.0  # {0.0..1.0}\nSIZE = 100  # {64..256 step 32}\n"
        'WIDE = 4  # {64..256 step 32}\nNAME = "old"  # {"a", "b"}\nLONE = 1  # {1}\n'
    )
    history, agent = start(source), SearchAgent(1)
    for number in range(1, 30):
        proposal = agent.propose(brief(history))
        before, after = read_knobs(source, 0), read_knobs(proposal.source, 0)
        assert all(inside(after[name]) for name in after if after[name].value != before[name].value)
        history.append(HistoryEntry(number, 0, proposal.source, "", DISCARD, 2.0 + number / 100))


def test_programs_that_can_not_be_read_or_lack_knobs_are_passed_over() -> None:
    history = [
        *start(),
        HistoryEntry(1, 0, "not python (", "", CRASH, None, "syntax error"),
        HistoryEntry(2, 0, 'RATE = "text"\n', "", DISCARD, 2.1),
        HistoryEntry(3, 0, "", "", DISCARD, 2.2),
    ]
    assert SearchAgent(0).propose(brief(history)).source != SOURCE


def test_a_file_without_ranges_is_an_error() -> None:
    with pytest.raises(AutoresearchError, match="declares a range"):
        SearchAgent(0).propose(brief(start("SIZE = 2\n")))


def test_without_a_name_the_best_agent_is_taken_and_named() -> None:
    agent, sentence = choose_agent(None, seed=1)
    assert agent.name == "search"
    assert sentence == "search (Optuna over the knobs of train_mlx.py): no language-model researcher is set up"
    assert choose_agent("search")[1].endswith("chosen by name")
    with pytest.raises(AutoresearchError, match=r"'oracle'.*search"):
        choose_agent("oracle")


def test_choosing_an_agent_does_not_wait_for_optuna() -> None:
    code = (
        "import sys; from mlx_autoresearch.agents import choose_agent; choose_agent(); print('optuna' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_proposing_prints_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    history, _ = night(random_search(0), 6)
    SearchAgent(0).propose(brief(history))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
