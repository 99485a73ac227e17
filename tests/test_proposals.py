"""The queue of proposals on disk, the timeline, and carrying edits over."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mlx_autoresearch.merge import three_way_merge
from mlx_autoresearch.proposals import ProposalQueue
from mlx_autoresearch.records import Proposal
from mlx_autoresearch.timeline import Timeline, read_spans


def test_queue_keeps_its_order_over_a_restart_and_puts_repairs_first(tmp_path: Path) -> None:
    queue = ProposalQueue(tmp_path / "queue")
    first, second, repair = Proposal("a", "first"), Proposal("b", "second"), Proposal("c", "repair", repairs=4)
    for proposal in (first, second, repair):
        queue.put(proposal)
    assert queue.first() is repair
    again = ProposalQueue(tmp_path / "queue")
    assert again.waiting() == (repair, first, second)
    again.remove(again.first())
    again.remove(again.first())
    assert ProposalQueue(tmp_path / "queue").waiting() == (second,)
    assert first == Proposal("a", "first") and queue.first(0.0) is repair


def test_queue_waits_for_another_thread(tmp_path: Path) -> None:
    queue = ProposalQueue(tmp_path / "queue")
    assert queue.first(0.01) is None
    thread = threading.Timer(0.05, queue.put, [Proposal("a", "late")])
    thread.start()
    assert queue.first(5.0).description == "late"
    thread.join()


def test_damaged_files_in_the_queue_are_counted_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    ProposalQueue(folder).put(Proposal("a", "good"))
    (folder / "000007.json").write_text('{"source": ')
    (folder / "000008.json").write_text('{"nothing": 1}')
    (folder / "000009.partial.json").write_text("half")
    (folder / "000010.json").write_text('{"source": 5, "description": ["a", "list"]}')
    (folder / "000011.json").write_text('{"source": "a", "description": "d", "parent": "one", "tokens": NaN}')
    (folder / "000012.json").write_text("[]")
    queue = ProposalQueue(folder)
    assert queue.damaged == 5 and [proposal.description for proposal in queue.waiting()] == ["good"]
    assert [path.name for path in folder.iterdir()] == ["000001.json"]


def test_timeline_records_spans_that_end_badly_too(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path / "timeline.jsonl")
    with timeline.span("thinking", agent="search") as facts:
        facts["outcome"] = "proposal"
    with pytest.raises(ValueError), timeline.span("run 1", experiment=3):
        raise ValueError
    with (tmp_path / "timeline.jsonl").open("a") as file:
        file.write('[]\n{"what": "torn')
    spans = read_spans(tmp_path / "timeline.jsonl")
    assert [(span["what"], span.get("outcome"), span.get("experiment")) for span in spans] == [
        ("thinking", "proposal", None),
        ("run 1", None, 3),
    ]
    assert all(span["end"] >= span["start"] > 1.7e9 for span in spans) and read_spans(tmp_path / "none") == []


def test_merge_applies_distant_changes_and_refuses_collisions() -> None:
    base = "".join(f"line {number}\n" for number in range(20))
    edited, target = base.replace("line 2\n", "line two\n"), base.replace("line 15\n", "line ü\n")
    assert three_way_merge(base, edited, target) == target.replace("line 2\n", "line two\n")
    assert three_way_merge(base, edited, base.replace("line 2\n", "line zwei\n")) is None
