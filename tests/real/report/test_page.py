"""The page as Chromium shows it."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
from report_runs import BEGIN, reports

from primus.report.page import write_report

pytestmark = pytest.mark.real

EVIL = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture
def report(runs, tmp_path: Path) -> Path:
    """A page about eight runs: one that failed, one that was started again, one that holds a NaN, and others."""
    again = reports(100)
    for line in again[60:]:
        line["attempt"] = 2
    first = {"attempt": 1, "state": "failed", "exit_status": 1, "cause": "lost a GPU"}
    first |= {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:12Z"}
    diagnosis = {"cause": "the disk is full", "evidence": "ENOSPC", "remedy": "free some space"}
    warning = f"Warning: step 30: the loss jumped to 9 {EVIL}\n"
    paths = [
        runs.make("r1-spike", reports(100, loss=lambda step: 9.0 if step == 30 else 2.0), log=warning),
        runs.make("r2-again", again, attempt=2, attempts=(first,)),
        runs.make("r3-nan", reports(100, loss=lambda step: "NaN" if step > 50 else 3.0)),
        runs.make(
            "r4-failed", [], state="failed", exit_status=1, cause=EVIL, diagnosis=diagnosis, log=f"{EVIL}\n" * 50
        ),
        *(runs.make(f"r{number}-plain", values={"lr": number * 1e-4}) for number in range(5, 9)),
    ]
    write_report(paths, tmp_path / "page.html")
    return tmp_path / "page.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_shows_everything_without_a_complaint_and_with_contrast(page, report, width, dark, tmp_path):
    page.open(report, width=width, dark=dark)

    assert page.run("document.querySelectorAll('figure svg').length") > 8
    assert page.run("document.title") == "tiny - Primus report"
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(CONTRAST) == []
    assert page.complaints() == []
    assert page.screenshot(tmp_path / "page.png").startswith(b"\x89PNG")


def test_a_value_without_neighbours_is_a_dot(page, runs, tmp_path):
    lonely = reports(5, loss=lambda step: 2.0 if step in (1, 3) else "NaN")
    write_report([runs.make("r1", lonely)], tmp_path / "page.html")
    page.open(tmp_path / "page.html")
    assert page.run("document.querySelectorAll('#chart-loss svg circle').length") == 2
    assert page.run("document.querySelectorAll('#chart-lr svg circle').length") == 0


def test_pointer_and_keys_read_the_values(page, report):
    page.open(report)
    page.run("document.querySelector('#chart-loss svg').scrollIntoView({block: 'center'})")
    box = page.run("document.querySelector('#chart-loss svg').getBoundingClientRect().toJSON()")
    page.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.run("document.querySelector('#chart-loss .tip').textContent").startswith("step ")

    page.run("document.querySelector('#chart-loss svg').focus()")
    page.key("Home")
    page.key("ArrowRight")
    said = page.run("document.querySelector('#chart-loss svg').getAttribute('aria-valuetext')")
    assert said.startswith("step 2\nr1-spike: 2 nat/token")


def test_everything_that_acts_can_be_reached_with_the_tab_key_and_has_a_name(page, report):
    page.open(report)
    page.run("document.body.focus()")
    here, seen = "document.activeElement", []
    for _ in range(60):
        page.key("Tab")
        name = f"{here}.getAttribute('aria-label') || {here}.textContent"
        seen.append(page.run(f"{here}.tagName + ' ' + ({name})"))
    assert any(each.startswith("svg Loss") for each in seen)
    assert any(each.startswith("BUTTON r1-spike") for each in seen)
    assert all(len(each.split(" ", 1)[1]) > 0 for each in seen)


def test_a_run_can_be_taken_out_with_the_keyboard(page, report):
    page.open(report)
    before = page.run("document.querySelectorAll('#chart-loss .curve').length")
    page.run("document.querySelector('.legend button').focus()")
    page.key(" ")

    assert page.run("document.querySelector('.legend button').getAttribute('aria-pressed')") == "false"
    assert page.run("document.querySelectorAll('#chart-loss .curve').length") == before - 1


def test_the_theme_is_switched_and_stays(page, report):
    page.open(report)
    page.run("document.getElementById('theme').click()")
    assert page.run("document.documentElement.dataset.theme") == "dark"

    page.open(report)
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.run("sessionStorage.clear()")


def test_png_and_csv_come_out_of_it(page, report, downloaded):
    page.open(report)
    page.run("document.querySelector('[aria-label=\"loss as PNG\"]').click()")
    page.run("document.querySelector('[aria-label=\"Loss as CSV\"]').click()")

    assert downloaded("loss.png").startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(downloaded("loss.csv").decode())))
    assert [row["loss"] for row in rows if (row["run"], row["step"]) == ("r1-spike", "30")] == ["9"]
    assert [row["loss"] for row in rows if (row["run"], row["step"]) == ("r3-nan", "51")] == ["NaN"]
    assert page.complaints() == []


def test_the_values_are_there_as_a_table(page, report):
    page.open(report)
    page.run("document.querySelector('#chart-loss summary').click()")
    page.run("new Promise((done) => setTimeout(done, 50))")

    assert "r1-spike" in page.run("document.querySelector('#chart-loss table').textContent")


def test_it_prints(page, report, tmp_path):
    page.open(report, dark=True)

    assert page.print(tmp_path / "page.pdf").startswith(b"%PDF")
    assert page.complaints() == []


def test_a_page_of_a_run_that_goes_on_reads_itself_again_and_keeps_its_place(page, runs, tmp_path, until):
    path = runs.make("r1", reports(10), state="running", host="elsewhere", started="2026-01-01T00:00:00Z", ended=None)
    write_report([path], tmp_path / "page.html", reload=1)
    page.open(tmp_path / "page.html", height=500)
    page.run("scrollTo(0, 150)")

    runs.make("r1", reports(20))
    write_report([path], tmp_path / "page.html", reload=1)

    until(lambda: "20 of 100" in page.run("document.querySelector('.tiles')?.textContent ?? ''"))
    assert page.run("scrollY") == 150
    assert page.run("DATA.reload") is None


def test_a_long_run_opens_at_once(page, runs, tmp_path):
    lines = [{"step": step, "loss": 1 + (step * 7919 % 1000) / 1000, "time": BEGIN + step} for step in range(1, 20_001)]
    write_report([runs.make("r1", lines)], tmp_path / "page.html")

    page.open(tmp_path / "page.html")

    timing = page.run("performance.getEntriesByType('navigation')[0].toJSON()")
    print(f"loaded after {timing['loadEventEnd']:.0f} ms at {time.strftime('%H:%M')}")
    assert page.run("DATA.charts[0].series[0].x.length") <= 2002
