from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from report_runs import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "output")


def primus(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "primus", "report", *arguments]
    environment = os.environ | {"COLUMNS": "60"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_page_of_one_run_lies_in_it_and_that_of_several_here(runs, tmp_path):
    first = runs.make("r1")
    runs.make("r2")

    assert primus(tmp_path, "r1").returncode == 0
    assert (first / "report.html").exists()
    assert primus(tmp_path, "r1", "r2").stdout == "report.html\n"
    assert (tmp_path / "report.html").exists()


def test_the_page_goes_where_it_is_told(runs, tmp_path):
    done = primus(tmp_path, str(runs.make("r1")), "-o", "there.html")

    assert (done.returncode, done.stdout) == (0, "there.html\n")
    assert not (tmp_path / "output/amd/me/tiny/runs/r1/report.html").exists()


def test_csv_and_plot_make_no_page(runs, tmp_path):
    path = runs.make("r1")

    done = primus(tmp_path, "r1", "--csv", "all.csv", "--plot")

    assert done.returncode == 0, done.stderr
    assert "r1: loss" in done.stdout
    assert (tmp_path / "all.csv").read_text().startswith("run,step,loss")
    assert not (path / "report.html").exists()


def test_a_minus_is_the_standard_output(runs, tmp_path):
    runs.make("r1")
    before = set(tmp_path.iterdir())

    table, page = (primus(tmp_path, "r1", option, "-") for option in ("--csv", "-o"))

    assert (table.returncode, page.returncode) == (0, 0), table.stderr + page.stderr
    assert table.stdout.startswith("run,step,loss")
    assert page.stdout.rstrip().endswith("</html>")
    assert primus(tmp_path, "r1", "--csv", "-", "--plot").returncode == 2
    assert set(tmp_path.iterdir()) == before


def test_a_run_without_its_status_is_taken_by_its_path(runs, tmp_path):
    path = runs.make("r1")
    (path / "status.json").unlink()

    assert primus(tmp_path, str(path)).returncode == 0


def test_watching_a_run_that_is_over_ends(runs, tmp_path):
    runs.make("r1")

    assert primus(tmp_path, "r1", "--watch").returncode == 0


def test_watching_ends_with_ctrl_c_and_leaves_a_page_that_does_not_wait(runs, tmp_path, until):
    page = runs.make("r1", state="running", host="elsewhere", ended=None) / "report.html"
    process = subprocess.Popen([sys.executable, "-m", "primus", "report", "r1", "--watch"], cwd=tmp_path, text=True)
    until(page.exists)
    assert '"reload":5.0' in page.read_text()

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 130
    assert '"reload":null' in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["r9"], 4, "no run r9"),
        (["r1", "-o", "not/there/page.html"], 4, "can't write not/there/page.html"),
        (["r1", "--csv", "not/there/all.csv"], 4, "can't write not/there/all.csv"),
        (["r1", "--watch", "--plot"], 2, "--watch is for the page"),
        (["."], 2, "expected one run, found 2"),
        (["r1", "-o", "."], 2, ". is a folder; name a file"),
        (["r1", "-o", ""], 2, "is a folder; name a file"),
        (["r1", "--csv", "output"], 2, "output is a folder; name a file"),
        (["r1", "-o", "/dev/full"], 4, "can't write /dev/full: No space left on device"),
        ([""], 2, "the name of a run is empty"),
        (["r1", "--watch", "--every", "nan"], 2, "nan is no number"),
    ],
)
def test_wrong_input_is_said(runs, tmp_path, arguments, status, words):
    runs.make("r1")
    runs.make("r2")

    done = primus(tmp_path, *arguments)

    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
