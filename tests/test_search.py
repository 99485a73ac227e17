"""The search agent: its proposals are legal and new, it learns from scores and crashes, and combines near misses."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from entries import entry_of
from small_project import small_source

from mlx_autoresearch.agents import search
from mlx_autoresearch.agents.briefing import Briefing, HistoryEntry
from mlx_autoresearch.agents.refusal import refusal
from mlx_autoresearch.agents.search import SearchAgent
from mlx_autoresearch.agents.structure import StructuralEdit
from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.knobs import Choices, IntRange, Knob, read_knobs, write_knobs
from mlx_autoresearch.records import CRASH, DISCARD, INCONCLUSIVE, KEEP


def program(knobs: str) -> str:
    """A program that passes the gate and reads these knobs, a line each."""
    names = ", ".join(line.split(" ")[0] for line in knobs.splitlines() if not line.startswith("M "))
    return f"{knobs}\n\ndef build_model():\n    return [{names}]\n\n\nrun(hand_in(build_model()))\n"


SOURCE = program("""M = machine_class()
DEPTH   = (4,  3,  6,  8)[M]   # {2..12}
WIDTH   = (96, 96, 96, 96)[M]  # {64..512 step 32}
RATE    = 0.15                 # {0.005..0.2 log}
DECAY   = 0.0                  # {0.0..0.2}
BATCH   = 64                   # {2..64 log}
SHAPE   = "tall"               # {"tall", "flat", "round"}
CHUNK   = 2048                 # not searched
""")
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
    return [entry_of(0, None, source, "baseline", KEEP, 2.0)]


def night(propose: Callable[[Briefing], str], count: int) -> tuple[list[HistoryEntry], int]:
    """`count` proposals scored by `loss`, each better one kept; history and number of the incumbent."""
    history, incumbent = [entry_of(0, None, SOURCE, "baseline", KEEP, loss(SOURCE))], 0
    for number in range(1, count + 1):
        source = propose(brief(history, incumbent))
        better = loss(source) < history[incumbent].val_bpb
        history.append(entry_of(number, incumbent, source, "", KEEP if better else DISCARD, loss(source)))
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
        assert "drawn at random" in proposal.hypothesis
    assert set(counts) <= {1, 2, 3}
    assert counts.count(1) > 8
    single = SearchAgent(0).propose(brief(start(program("RATE = 0.04  # {0.04, 0.0312}\n")))).description
    assert single == "RATE 0.04 -> 0.0312"


def test_a_resumed_night_goes_on_as_if_it_had_not_stopped() -> None:
    agent = SearchAgent(3)
    history, best = night(lambda briefing: agent.propose(briefing).source, 12)
    briefing = brief(history, best)
    assert SearchAgent(3).propose(briefing) == agent.propose(briefing)
    assert len({SearchAgent(seed).propose(briefing).source for seed in range(8)}) > 4


def test_good_scores_draw_proposals_near_them() -> None:
    source = program("RATE = 0.5  # {0.0..1.0}\n")

    def mean_proposal(best: float) -> float:
        rates = [0.5, *(index / 10 for index in range(11) if index != 5)]
        history = [
            entry_of(number, 0, write_knobs(source, {"RATE": rate}, 0), "", DISCARD, 1 + abs(rate - best))
            for number, rate in enumerate(rates)
        ]
        proposals = [SearchAgent(seed).propose(brief(history)).source for seed in range(12)]
        assert "TPE over" in SearchAgent(0).propose(brief(history)).hypothesis
        return statistics.mean(read_knobs(proposal, 0)["RATE"].value for proposal in proposals)

    assert mean_proposal(0.2) + 0.1 < mean_proposal(0.8)


def share_above(status: str, score: Callable[[int], float | None]) -> float:
    """Share of proposals nearer to the experiments at 54, 58, ... 98 than to the others at 4, 8, ... 48 and 50."""
    source = program("SIZE = 50  # {1..100}\n")
    history = [entry_of(0, None, source, "", KEEP, 2.0)]
    for number, size in enumerate([*range(4, 50, 4), *range(54, 100, 4)], start=1):
        edited = write_knobs(source, {"SIZE": size}, 0)
        value = score(size) if size > 50 else 2.0 + size / 1000
        history.append(entry_of(number, 0, edited, "", status if size > 50 else DISCARD, value))
    proposed = [read_knobs(SearchAgent(seed).propose(brief(history)).source, 0)["SIZE"].value for seed in range(40)]
    return sum(size > 52 for size in proposed) / len(proposed)


def test_where_programs_crash_only_bold_proposals_go(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = share_above(CRASH, lambda size: None)
    assert crashed <= 0.1
    assert share_above(CRASH, lambda size: math.nan) == crashed  # not a score either
    assert share_above(DISCARD, lambda size: 1.9 - size / 1000) > 0.5  # the same region, had it been good
    monkeypatch.setattr(search, "BOLD", 1.0)
    assert share_above(CRASH, lambda size: None) > crashed + 0.05


def test_a_crash_of_rewritten_code_does_not_count_against_its_knobs() -> None:
    source = program("SIZE = 50  # {1..100}\n")
    broken = write_knobs(source, {"SIZE": 60}, 0) + "raise SystemExit(SIZE)\n"
    scored = entry_of(1, 0, write_knobs(source, {"SIZE": 20}, 0), "", DISCARD, 2.1)
    rewritten = [*start(source), scored, entry_of(2, 0, broken, "", CRASH, None)]
    by_knob = [*start(source), scored, entry_of(2, 0, write_knobs(source, {"SIZE": 60}, 0), "", CRASH, None)]

    def above(history: list[HistoryEntry]) -> int:
        proposed = [SearchAgent(seed).propose(brief(history)).source for seed in range(30)]
        return sum(read_knobs(text, 0)["SIZE"].value > 55 for text in proposed)

    assert above(rewritten) > above(by_knob) + 5


def test_what_lost_by_far_is_left_alone_on_another_incumbent(monkeypatch: pytest.MonkeyPatch) -> None:
    source = program("FLAG = True  # {False, True}\nSIZE = 50  # {1..100}\n")
    bigger = write_knobs(source, {"SIZE": 60}, 0)

    def share_flipped(gain: float) -> float:
        history = [
            *start(source),
            replace(entry_of(1, 0, write_knobs(source, {"FLAG": False}, 0), "", DISCARD, 2.0 - gain), gain=gain),
            entry_of(2, 0, bigger, "", KEEP, 1.9),
        ]
        proposed = [SearchAgent(seed).propose(brief(history, incumbent=2)).source for seed in range(40)]
        return sum(read_knobs(text, 0)["FLAG"].value is False for text in proposed) / len(proposed)

    assert share_flipped(-0.02) > 0.3  # twice the noise: it may have been bad luck
    assert share_flipped(-0.1) <= 0.1
    monkeypatch.setattr(search, "BOLD", 1.0)
    assert share_flipped(-0.1) > 0.3


def test_everything_is_proposed_once_and_then_there_is_nothing_left() -> None:
    source = program('SIZE = 2  # {1..3}\nFLAG = True  # {False, True}\nNAME = "a"  # {"a", "b"}\n')
    history, agent = start(source), SearchAgent(0)
    for number in range(1, 12):
        history.append(entry_of(number, 0, agent.propose(brief(history)).source, "", DISCARD, 2.0 + number / 10))
    assert len({entry.source for entry in history}) == 12
    with pytest.raises(AutoresearchError, match="was tried"):
        agent.propose(brief(history))


def test_the_same_knobs_in_another_program_are_not_a_repetition() -> None:
    source = program("FLAG = True  # {False, True}\n")
    rewritten = source + "print(FLAG)\n"
    flipped = write_knobs(source, {"FLAG": False}, 0)
    history = [
        *start(source),
        entry_of(1, 0, flipped, "", DISCARD, 2.1),
        entry_of(2, 0, rewritten, "", KEEP, 1.9),
    ]
    assert SearchAgent(0).propose(brief(history, incumbent=2)).source == write_knobs(rewritten, {"FLAG": False}, 0)


def test_incumbents_outside_their_ranges_and_off_their_steps_are_met() -> None:
    source = program(
        "RATE = 0.0  # {0.001..0.1 log}\nHUGE = 9.0  # {0.0..1.0}\nSIZE = 100  # {64..256 step 32}\n"
        'WIDE = 4  # {64..256 step 32}\nNAME = "old"  # {"a", "b"}\nLONE = 1  # {1}\n'
    )
    history, agent = start(source), SearchAgent(1)
    for number in range(1, 30):
        proposal = agent.propose(brief(history))
        before, after = read_knobs(source, 0), read_knobs(proposal.source, 0)
        assert all(inside(after[name]) for name in after if after[name].value != before[name].value)
        history.append(entry_of(number, 0, proposal.source, "", DISCARD, 2.0 + number / 100))


def test_programs_that_can_not_be_read_or_lack_knobs_are_passed_over() -> None:
    history = [
        *start(),
        entry_of(1, 0, "not python (", "", CRASH, None, "syntax error"),
        entry_of(2, 0, 'RATE = "text"\n', "", DISCARD, 2.1),
        entry_of(3, 0, "", "", DISCARD, 2.2),
    ]
    assert SearchAgent(0).propose(brief(history)).source != SOURCE


def test_a_file_without_ranges_is_an_error() -> None:
    with pytest.raises(AutoresearchError, match="declares a range"):
        SearchAgent(0).propose(brief(start(program("SIZE = 2\n"))))


def edit_of(name: str, old: str, new: str) -> StructuralEdit:
    return StructuralEdit(name, f"change the {name}", "somebody found it", new, ((old, new),))


SORTED = edit_of("order", "return [DEPTH, WIDTH, RATE,", "return [RATE, DEPTH, WIDTH,")
ENDED = edit_of("end", "CHUNK]", "CHUNK, None]")
LOST = edit_of("loss", "text that is not there", "text that will not be there")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes one kind of proposal the only usual one from the start, or the only one after a plateau."""

    def choose(usual: str = "", stuck: str = "") -> None:
        monkeypatch.setattr(search, "EARLY_EXPERIMENTS", 0)
        for name, kind in (("USUAL", usual), ("STUCK", stuck)):
            mix = search.Mix(float(kind == "structure"), float(kind == "combinations"), nearby=0.7)
            monkeypatch.setattr(search, name, mix)

    return choose


def tried(number: int, values: dict, gain: float | None, status: str = DISCARD, parent: int = 0) -> HistoryEntry:
    """An experiment that changed knobs of SOURCE and measured a gain."""
    score = None if gain is None else 2.0 - gain
    source = write_knobs(SOURCE, values, MACHINE)
    return entry_of(number, parent, source, f"number {number}", status, score, gain=gain)


def test_edits_of_the_catalogue_come_alone_and_once(only: Callable[..., None]) -> None:
    only("structure")
    history, agent = start(), SearchAgent(0, (SORTED, LOST, ENDED))
    proposals = []
    for number in range(1, 4):
        proposals.append(agent.propose(brief(history)))
        history.append(entry_of(number, 0, proposals[-1].source, "", DISCARD, 2.1))
    assert {proposal.source for proposal in proposals[:2]} == {SORTED.apply(SOURCE), ENDED.apply(SOURCE)}
    assert {proposal.description for proposal in proposals[:2]} == {"change the order", "change the end"}
    assert proposals[0].hypothesis == "somebody found it"
    assert " -> " in proposals[2].description and not SORTED.is_in(proposals[2].source)  # nothing left but knobs


def test_the_first_near_misses_are_not_combined_yet() -> None:
    agent = SearchAgent(0, ())
    history = [*start(), tried(1, {"RATE": 0.05}, 0.009, INCONCLUSIVE), tried(2, {"DEPTH": 4}, 0.008, INCONCLUSIVE)]
    assert not any("near miss" in agent.propose(brief(history[: 3 - skip])).description for skip in range(2))
    later = history + [tried(number, {"DECAY": 0.001 * number}, -0.3) for number in range(3, 40)]
    words = [SearchAgent(seed, ()).propose(brief(later)).description for seed in range(12)]
    assert any("near misses 1 and 2 together" in description for description in words)


def test_near_misses_are_combined(only: Callable[..., None]) -> None:
    only("combinations")
    agent = SearchAgent(0, (SORTED,))
    edited = entry_of(2, 0, SORTED.apply(SOURCE), "change the order", DISCARD, 2.004, gain=-0.004)
    history = [*start(), tried(1, {"RATE": 0.05, "DEPTH": 4}, 0.006, INCONCLUSIVE), edited]
    proposal = agent.propose(brief(history))
    assert proposal.source == write_knobs(SORTED.apply(SOURCE), {"RATE": 0.05, "DEPTH": 4}, MACHINE)
    assert proposal.description == "near misses 1 and 2 together: DEPTH 3 -> 4, RATE 0.15 -> 0.05; order"
    assert "+0.0060" in proposal.hypothesis and proposal.expected.startswith("+0.0020")

    history.append(entry_of(3, 0, proposal.source, proposal.description, DISCARD, 2.5, gain=-0.5))
    assert "together" not in agent.propose(brief(history)).description  # the only pair was tried


def test_what_was_clearly_worse_or_touches_the_same_is_not_combined(only: Callable[..., None]) -> None:
    only("combinations")
    close, far = tried(1, {"RATE": 0.05}, -0.005), tried(2, {"DEPTH": 5}, -0.03)
    crash, unknown = tried(3, {"BATCH": 2}, None, CRASH), tried(4, {"WIDTH": 128}, None)
    assert "together" not in SearchAgent(0).propose(brief([*start(), close, far, crash, unknown])).description
    same = tried(2, {"RATE": 0.08}, -0.005)
    assert "together" not in SearchAgent(0).propose(brief([*start(), close, same])).description
    other = tried(2, {"DEPTH": 5}, -0.005)
    assert "together" in SearchAgent(0).propose(brief([*start(), close, other])).description


def test_better_near_misses_are_combined_first(only: Callable[..., None]) -> None:
    only("combinations")
    gains = {"RATE": 0.02, "DECAY": 0.018, "DEPTH": -0.009, "BATCH": -0.009}
    values = {"RATE": 0.05, "DECAY": 0.1, "DEPTH": 4, "BATCH": 32}
    history = start() + [tried(n, {k: values[k]}, g, INCONCLUSIVE) for n, (k, g) in enumerate(gains.items(), start=1)]
    proposed = [SearchAgent(seed).propose(brief(history)).description for seed in range(20)]
    assert sum(text.startswith("near misses 1 and 2 ") for text in proposed) > 8


def test_a_near_miss_of_an_older_incumbent_is_tried_on_the_present_one(only: Callable[..., None]) -> None:
    only("combinations")
    kept = entry_of(2, 0, write_knobs(SOURCE, {"DEPTH": 6}, MACHINE), "", KEEP, 1.9, gain=0.1)
    proposal = SearchAgent(0).propose(brief([*start(), tried(1, {"RATE": 0.05}, 0.004, INCONCLUSIVE), kept], 2))
    assert proposal.source == write_knobs(SOURCE, {"DEPTH": 6, "RATE": 0.05}, MACHINE)
    assert proposal.description == "near miss 1 again: RATE 0.15 -> 0.05" and proposal.parent == 2

    overtaken = [*start(), tried(1, {"DEPTH": 5}, 0.004, INCONCLUSIVE), kept]  # DEPTH is another one by now
    assert "near miss" not in SearchAgent(0).propose(brief(overtaken, 2)).description


def test_near_misses_of_other_researchers_are_carried_over(only: Callable[..., None]) -> None:
    only("combinations")
    rewritten = SOURCE.replace("    return [DEPTH", "    print(RATE)\n    return [DEPTH")
    theirs = entry_of(1, 0, write_knobs(rewritten, {"BATCH": 32}, MACHINE), "by hand", INCONCLUSIVE, 1.99, gain=0.01)
    proposal = SearchAgent(0).propose(brief([*start(), theirs, tried(2, {"RATE": 0.05}, 0.002, INCONCLUSIVE)]))
    assert proposal.source == write_knobs(rewritten, {"BATCH": 32, "RATE": 0.05}, MACHINE)
    assert proposal.description.endswith("a rewriting, BATCH 64 -> 32; RATE 0.15 -> 0.05")


def test_after_a_plateau_the_mix_is_another_one(only: Callable[..., None]) -> None:
    only(usual="knobs", stuck="structure")
    history = start()
    for number in range(1, search.PLATEAU + 1):
        assert not SORTED.is_in(SearchAgent(0, (SORTED,)).propose(brief(history)).source)
        history.append(tried(number, {"CHUNK": 2048 + number}, -1.0))
    assert SORTED.is_in(SearchAgent(0, (SORTED,)).propose(brief(history)).source)


def test_what_waits_is_not_proposed_again() -> None:
    source = program("SIZE = 2  # {1..3}\nFLAG = True  # {False, True}\n")
    agent, waiting = SearchAgent(0), []
    for _ in range(5):
        briefing = replace(brief(start(source)), waiting=tuple(waiting))
        waiting.append(agent.propose(briefing))
        assert refusal(briefing, waiting[-1].source) is None
    assert len({proposal.source for proposal in waiting}) == 5
    with pytest.raises(AutoresearchError, match="was tried"):
        agent.propose(replace(briefing, waiting=tuple(waiting)))


def test_a_crash_to_be_mended_is_left_alone_and_the_incumbent_edited() -> None:
    broken = entry_of(1, 0, SOURCE.replace("return", "raise"), "", CRASH, None)
    proposal = SearchAgent(0, ()).propose(replace(brief([*start(), broken]), repair=1, incumbent_bpb=None, noise=None))
    assert proposal.parent == 0 and "return" in proposal.source


def test_the_real_file_gets_proposals_of_every_kind_that_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EARLY_EXPERIMENTS", 4)
    source = small_source()
    history, agent, kinds = [entry_of(0, None, source, "", KEEP, 2.0)], SearchAgent(2), Counter()
    for number in range(1, 16):
        briefing = replace(brief(history), machine_class=0)
        proposal = agent.propose(briefing)
        assert refusal(briefing, proposal.source) is None
        kinds[
            "together" if "together" in proposal.description else "->" if "->" in proposal.description else "edit"
        ] += 1
        history.append(entry_of(number, 0, proposal.source, proposal.description, DISCARD, 2.004, gain=-0.004))
    assert set(kinds) == {"together", "->", "edit"}


def test_proposing_prints_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    history, _ = night(random_search(0), 6)
    SearchAgent(0).propose(brief(history))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
