"""The page and the picture: what they say, that hostile text stays text, and that the loop never dies of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from recorded_night import IDENTITY, PROJECT, make_night

from mlx_autoresearch.errors import AutoresearchError
from mlx_autoresearch.history import Night
from mlx_autoresearch.night_lock import NightLock
from mlx_autoresearch.paths import runs_root
from mlx_autoresearch.records import CRASH, DISCARD, KEEP, Proposal, RunResult, Verdict
from mlx_autoresearch.report.__main__ import is_running, main
from mlx_autoresearch.report.gather import NightFacts, gather
from mlx_autoresearch.report.page import block, clock, hours, render, write_report
from mlx_autoresearch.report.update import rewrite_report

VOID = {"meta", "link", "input", "br"}

HOSTILE = (
    "<script>window.stolen = 1</script>",
    "</script></style></title><img src=x onerror='window.stolen = 1'>",
    "\"' onmouseover=window.stolen=1 x='",
    "javascript:window.stolen=1 https://example.org [link](javascript:alert(1))",
    "\x1b[31mred\x1b[0m \x00 \x07 \u2028 \u2029 \u202e backwards \ufeff",
    "{{ 7 * 7 }} {% raw %} ${7*7} $\\frac{1}{ $x$ % \\",
    "&lt;b&gt; &amp; <b>bold</b> <!-- <a href='#e0'>",
    "é 漢字 🙂 ‏עברית",
    "long" * 5000,
)  # fmt: skip


class Page(HTMLParser):
    """The elements, texts and attributes of a page; it must be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        self.ids += [value or "" for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def hostile_night(root: Path) -> Night:
    """Every text that an agent, a run or a folder can choose is hostile."""
    night = Night.open(root, replace(IDENTITY, dataset=HOSTILE[0], machine=HOSTILE[1], harness=HOSTILE[2]))
    for number, text in enumerate((*HOSTILE, *HOSTILE)):
        source = f"# {number}\n" + text.replace("\x00", "") + "\n"
        parent = None if number == 0 else 0
        proposal = Proposal(source, text, text, text, agent=text, parent=parent, tokens=1, dollars=None)
        experiment = night.add(proposal)
        failure = text if number % 3 == 1 else None
        score = None if failure else 1.3 - number / 1000
        run = RunResult(1, failure=failure, reason=text, val_bpb=score, test_bpb=score, sandbox=text)
        experiment.record_result(experiment.new_run_folder(), run)
        status = CRASH if failure else KEEP if number % 2 == 0 else DISCARD
        experiment.record_verdict(Verdict(status, text, score, 0.01, 0, 1.3, 0.99, 0.01))
        experiment.record_commit(text.encode("ascii", "replace").decode())
    spans = [{"what": text, "start": n, "end": n + 1, "outcome": text} for n, text in enumerate(HOSTILE)]
    spans += [{**span, "what": "thinking"} for span in spans]
    conditions = [{"experiment": n, "run": 1, "conditions": {}, "invalid": text} for n, text in enumerate(HOSTILE)]
    for name, entries in (("timeline", spans), ("conditions", conditions)):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    texts = {"0": HOSTILE, str(night.incumbent().number): HOSTILE}
    (root / "samples.json").write_text(json.dumps({"prompts": HOSTILE, "texts": texts}))
    split = {"documents": "<b>", "text_bytes": 1}
    (root / "dataset.json").write_text(json.dumps({"name": HOSTILE[0], "splits": {"train": split}}))
    return night


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> NightFacts:
    root = tmp_path_factory.mktemp("runs") / "night"
    make_night(root, 40)
    return gather(root, running=False)


@pytest.fixture(scope="module")
def text(facts: NightFacts) -> str:
    return render(facts)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_is_one_balanced_file_that_loads_nothing(text: str, page: Page) -> None:
    assert (
        page.tags.count("script") == page.tags.count("style") == page.tags.count("h1") == page.tags.count("main") == 1
    )
    links = [value for name, value in page.attributes if name in ("href", "src", "action")]
    assert links and all(value.startswith("#") or value == "data:," for value in links)
    assert "http:" not in re.sub(r'xmlns[:\w]*="[^"]*"', "", text) and "https:" not in text
    assert len(page.ids) == len(set(page.ids))
    for link in {value for name, value in page.attributes if name == "href" and value.startswith("#e")}:
        assert link[1:] in page.ids


def test_only_its_own_script_may_run(text: str) -> None:
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert f"script-src &#39;sha256-{digest}&#39;" in policy or f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_it_says_what_happened(facts: NightFacts, page: Page) -> None:
    first, best = facts.baseline, facts.best
    for words in (
        f"{first.val.mean:.4f} → {best.val.mean:.4f}",
        f"{first.test.mean:.4f} → {best.test.mean:.4f}",
        f"best {best.val.mean:.4f} ± {best.val.half_width:.4f}",
        best.experiment.proposal.description,
        best.experiment.verdict.sentence,
        facts.samples.of(best.number)[0].split(".")[0],
        "Watt-hours unknown",
        facts.identity.machine,
        "236,000 documents",
    ):
        assert words in page.text, words


def test_patches_are_shown_line_by_line(facts: NightFacts, text: str) -> None:
    row = next(row for row in facts.rows if "WARMDOWN" in row.patch)
    (removed, added) = re.findall(r"(?m)^[-+](WARMDOWN.*)$", row.patch)
    assert f"<del>-{removed}</del>" in text and f"<ins>+{added}</ins>" in text


def test_a_page_of_a_night_that_is_over_does_not_refresh(facts: NightFacts, text: str) -> None:
    assert 'data-running="no"' in text and 'http-equiv="refresh"' not in text
    assert 'data-running="yes"' in (running := render(replace(facts, running=True)))
    assert '<noscript><meta http-equiv="refresh"' in running and "<strong>Running.</strong>" in running


def test_hostile_text_stays_text(tmp_path: Path, facts: NightFacts) -> None:
    root = tmp_path / "<script>alert(1)<"
    night = hostile_night(root)
    (night.experiments[4].folder / "proposal.json").write_text("{")  # its damage names the folder
    text = render(gather(root, running=True))
    page = Page(text)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("#") or value == "data:," for name, value in page.attributes if name in ("href", "src"))
    assert set(page.tags) <= set(Page(render(replace(facts, running=True))).tags)
    for words in ("<script>window.stolen = 1</script>", "{{ 7 * 7 }}", "&lt;b&gt; &amp; <b>bold</b>", "漢字 🙂"):
        assert words in page.text
    shown = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert not [c for c in shown if not c.isprintable() and c not in "\n\t"]


def test_unknown_is_never_zero(tmp_path: Path) -> None:
    night = Night.open(tmp_path / "night", IDENTITY)
    page = Page(render(gather(night.root, running=True)))
    assert "being measured" in page.text and "0.0000" not in page.text and "nan" not in page.text
    night.add(Proposal("A = 1\n", "the file"))
    night.experiments[0].record_verdict(Verdict(CRASH, "it failed"))
    page = Page(render(gather(night.root, running=False)))
    assert "The unchanged file failed." in page.text and "0.0000" not in page.text
    assert "validation unknown, test unknown" in page.text and "learning curves are unknown" in page.text


def test_the_files_are_written_whole(tmp_path: Path) -> None:
    night = make_night(tmp_path / "night", 3)
    write_report(night.root, running=False)
    picture = (night.root / "progress.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and int.from_bytes(picture[16:20], "big") == 1600
    assert not list(night.root.glob("*partial*"))
    before = sorted(path for path in night.root.rglob("*") if path.name not in ("report.html", "progress.png"))
    write_report(night.root, running=False)
    after = sorted(path for path in night.root.rglob("*") if path.name not in ("report.html", "progress.png"))
    assert before == after


def test_trouble_is_a_sentence(tmp_path: Path) -> None:
    said: list[str] = []
    rewrite_report(tmp_path / "nowhere", True, said.append)
    night = Night.open(tmp_path / "night", IDENTITY)
    (night.root / "report.html").mkdir()
    rewrite_report(night.root, True, said.append)
    assert [sentence.startswith("Note: the report in ") for sentence in said] == [True, True]
    assert not list(night.root.glob("*partial*"))


def test_command_line() -> None:
    night = make_night(runs_root() / "older", 2)
    command = [sys.executable, "-m", "mlx_autoresearch.report", "--tag", "older"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and str(night.root / "report.html") in done.stdout
    assert (night.root / "progress.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"), [([], "There is no night under"), (["--tag", "x"], "there is no run in")]
)
def test_no_night_is_a_sentence(arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    with pytest.raises(AutoresearchError, match=words):
        main()


def test_a_held_lock_is_a_running_night(tmp_path: Path) -> None:
    night = Night.open(tmp_path / "night", IDENTITY)
    assert not is_running(night.root)
    with NightLock(night.root):
        assert is_running(night.root)
    assert not is_running(night.root)


def test_words() -> None:
    assert [hours(seconds) for seconds in (43, 720, 25_500)] == ["43 s", "12 min", "7 h 05 min"]
    assert re.fullmatch(r"\d\d \w{3} \d\d:\d\d", clock(1_795_557_600))
    assert block("a\tb\n\x1b[0m\u2028\u202e") == "a\tb\n\ufffd[0m\ufffd\ufffd"
