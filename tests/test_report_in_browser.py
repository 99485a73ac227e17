"""The page in a real Chromium without a window: no error, quick, inert, usable by hand and keyboard, on a phone too.

Set MLX_AUTORESEARCH_SCREENSHOTS to a folder to look at what was seen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from recorded_night import make_night
from test_report_page import HOSTILE, hostile_night

from mlx_autoresearch.report.page import write_report

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[test]'")

PLACES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


def chromium() -> str | None:
    """The browser of this machine; Ubuntu's package is a snap, which can't read the tests' folders."""
    found = (shutil.which(place) for place in PLACES)
    return next((path for path in found if path and not Path(path).resolve().name.startswith("snap")), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright_api.Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or Google Chrome on a Mac")
    switches = ["--no-sandbox", "--disable-gpu"] if os.geteuid() == 0 else ["--disable-gpu"]
    with playwright_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=switches)
        yield started
        started.close()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a night with 300 experiments."""
    root = tmp_path_factory.mktemp("runs") / "nov24"
    make_night(root, 300)
    write_report(root, running=False)
    return root / "report.html"


class Visit:
    """A page that is open, with what it complained about and what it wanted to load."""

    def __init__(self, browser: playwright_api.Browser, path: Path, viewport: dict[str, int], **more: str) -> None:
        self.context = browser.new_context(viewport=viewport, **more)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)  # other programs may take the machine
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def width_beyond_the_screen(self) -> int:
        root = "document.documentElement"
        return self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")

    def picture(self, name: str, full_page: bool = True) -> None:
        """A screenshot, where somebody wants one."""
        folder = os.environ.get("MLX_AUTORESEARCH_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=full_page, timeout=120_000)


@pytest.fixture
def visit(browser: playwright_api.Browser) -> Iterator[type[Visit]]:
    opened: list[Visit] = []

    def open_page(path: Path, viewport: dict[str, int] = WIDE, **more: str) -> Visit:
        opened.append(Visit(browser, path, viewport, **more))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()
        assert one.complaints == []
        assert all(url.startswith(("file:", "data:")) for url in one.requests)


def test_300_experiments_are_there_in_under_a_second(visit: type[Visit], night: Path) -> None:
    page = visit(night).page
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})  # its own time, whatever else the machine does
    page.reload()
    metrics = {metric["name"]: metric["value"] for metric in client.send("Performance.getMetrics")["metrics"]}
    assert 0 < metrics["TaskDuration"] < 1
    assert page.locator("#experiments tbody tr").count() == 301
    assert page.locator(".staircase-wide a").count() == 301


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_wide(visit: type[Visit], night: Path, scheme: str) -> None:
    seen = visit(night, color_scheme=scheme)
    paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert seen.width_beyond_the_screen() == 0
    assert seen.page.locator(".staircase-wide").is_visible() and not seen.page.locator(".staircase-narrow").is_visible()
    seen.picture(f"wide-{scheme}")
    seen.picture(f"wide-{scheme}-top", full_page=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(visit: type[Visit], night: Path, scheme: str) -> None:
    seen = visit(night, PHONE, color_scheme=scheme)
    assert seen.width_beyond_the_screen() == 0
    assert seen.page.locator(".staircase-narrow").is_visible() and not seen.page.locator(".staircase-wide").is_visible()
    seen.page.locator("#e7 summary").click()
    assert seen.page.locator("#e7 dl").is_visible() and seen.width_beyond_the_screen() == 0
    seen.picture(f"phone-{scheme}")


def numbers(page: playwright_api.Page) -> list[int]:
    cells = page.locator("#experiments tbody tr:visible td:first-child")
    return [int(text) for text in cells.all_inner_texts()]


def scores(page: playwright_api.Page) -> list[float]:
    values = "cells => cells.map(cell => cell.dataset.value).filter(Boolean).map(Number)"
    return page.locator("#experiments tbody td:nth-child(3)").evaluate_all(values)


def test_sort_and_filter(visit: type[Visit], night: Path) -> None:
    page = visit(night).page
    heading = page.get_by_role("button", name="Bits per byte")
    heading.focus()
    page.keyboard.press("Enter")
    assert scores(page) == sorted(scores(page)) and numbers(page) != sorted(numbers(page))
    assert page.locator("#experiments th[aria-sort=ascending]").inner_text().startswith("Bits per byte")
    heading.click()
    assert scores(page) == sorted(scores(page), reverse=True)
    page.get_by_label("Verdict").select_option("kept")
    kept = numbers(page)
    assert 0 in kept and 1 < len(kept) < 100
    page.get_by_label("Search").fill("warmdown")
    assert set(numbers(page)) < set(kept) and "of 301 rows" in page.locator("#count").inner_text()


def test_a_point_tells_its_story_and_leads_to_its_row(visit: type[Visit], night: Path) -> None:
    seen = visit(night)
    page = seen.page
    words = page.locator("#e12 summary").inner_text()
    box = page.locator('.staircase-wide a[href="#e12"]').bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    assert words in page.locator("#card").inner_text() and page.locator("#card").is_visible()
    seen.picture("card", full_page=False)
    page.mouse.click(box["x"] + 3, box["y"] + 3)
    assert page.locator("#e12 details").get_attribute("open") is not None and page.url.endswith("#e12")
    assert not page.locator("#card").is_visible() or "experiment" not in page.locator("#card").inner_text()
    seen.picture("row", full_page=False)
    page.locator('.staircase-wide a[href="#e0"]').focus()
    assert "0, kept" in page.locator("#card").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#card").is_visible()


def test_a_running_night_comes_back_as_it_was(visit: type[Visit], night: Path) -> None:
    root = night.parent
    write_report(root, running=True)
    seen = visit(night)
    page = seen.page
    page.add_init_script("window.setInterval = (work) => { window.tick = work; return 1; }")
    page.reload()
    page.locator("#e5 summary").click()
    page.get_by_label("Search").fill("an")
    page.get_by_role("button", name="Nr").click()
    page.get_by_role("button", name="Nr").click()
    page.evaluate("scrollTo(0, 1500)")
    with page.expect_event("load"):
        page.evaluate("tick()")
    assert page.locator("#e5 details").get_attribute("open") is not None
    assert page.get_by_label("Search").input_value() == "an" and page.evaluate("scrollY") == 1500
    assert numbers(page) == sorted(numbers(page), reverse=True)

    page.locator("#search").focus()  # somebody is typing: no reload, or what follows would be lost
    page.evaluate("const now = Date.now(); Date.now = () => now + 3 * 3600 * 1000; tick()")
    assert "the loop may have ended" in page.locator("#state").inner_text()
    write_report(root, running=False)


def test_hostile_text_is_inert(visit: type[Visit], tmp_path: Path) -> None:
    root = tmp_path / "<script>alert(1)<"
    hostile_night(root)
    write_report(root, running=False)
    for viewport in (WIDE, PHONE):
        seen = visit(root / "report.html", viewport)
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
        box = page.locator("svg:visible a").first.bounding_box()
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        assert page.evaluate("window.stolen") is None and seen.width_beyond_the_screen() == 0
        assert HOSTILE[0] in page.locator("#e0 summary").inner_text()
        seen.picture(f"hostile-{viewport['width']}", full_page=False)


def test_without_javascript(browser: playwright_api.Browser, night: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)
    page = context.new_page()
    page.goto(night.as_uri())
    page.locator('.staircase-wide a[href="#e0"]').click(force=True)
    assert page.url.endswith("#e0") and not page.locator("#filter").is_visible()
    context.close()


def test_a_screen_reader_finds_its_way(visit: type[Visit], night: Path) -> None:
    page = visit(night).page
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    levels = page.locator("h1, h2, h3").evaluate_all("headings => headings.map(heading => +heading.tagName[1])")
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    unnamed = page.locator("section:not([aria-labelledby])").count() + page.locator("a:not([aria-label]):empty").count()
    assert unnamed == 0
    assert page.locator("svg:visible a:not([tabindex])").count() < 40  # not all 300 points are stops of the keyboard
    assert 'columnheader "Bits per byte"' in page.locator("#experiments thead").aria_snapshot()
    assert (
        f"experiment 0, kept: {page.locator('#e0 summary').inner_text()}"
        in page.locator(".staircase-wide").aria_snapshot()
    )
