"""`primus tune report`, `check` and `merge` on the files of a real tuning."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from primus.commands.tune import app
from primus.errors import MissingError, PrimusError, UsageError
from primus.tuning.gemm import Gemm
from primus.tuning.options import Bench
from primus.tuning.results import read_results
from primus.tuning.shapes import read_shapes


@pytest.fixture(scope="module")
def tuned(make_tuning: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two shapes with faster kernels, one that fails."""
    tuning = make_tuning(tmp_path_factory.mktemp("output") / "tune_hipblaslt" / "toy")
    tuning.shapes(*(gemm(m) for m in (320, 192, 64)))
    tuning.run(environ={"STANDIN_FAILURES": "64x512x256:none"})
    return tuning


def gemm(m: int) -> Gemm:
    return Gemm.single(m=m, n=512, k=256, a_type="bf16_r", trans_a="T")


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == status
    return result.output


def test_report_shows_times_gain_and_share_with_bars(tuned):
    lines = run("report", tuned.folder).splitlines()
    assert lines[0].endswith("engine bench: 3 shapes: 2 faster, 1 failed")
    first = next(line for line in lines if line.startswith("TN 320"))
    shape = tuned.shape(gemm(320))
    for text in (f"{shape['default_us']:.1f}", f"{shape['tuned_us']:.1f}", f"{shape['gain']:+.1%}", "█"):
        assert text in first
    assert any(line.startswith("TN 64×512×256 bf16_r (failed): no-solution: ") for line in lines)
    assert lines[-1].startswith("Expected: ")
    assert "less time in GEMMs" in lines[-1]


@pytest.mark.parametrize("part", ["report.json", "", ".."])
def test_report_finds_it_by_file_and_folder(tuned, part: str):
    assert "3 shapes" in run("report", tuned.folder / part)


def test_report_finds_the_one_below_output(tuned, monkeypatch: pytest.MonkeyPatch):
    folder = tuned.folder.parents[2]
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr("primus.commands.tune.report._OUTPUT", Path(folder.name))
    monkeypatch.delenv("PRIMUS_MODEL", raising=False)
    assert "3 shapes" in run("report")
    monkeypatch.setenv("PRIMUS_MODEL", "another")
    with pytest.raises(MissingError, match=r"no report\.json of stage 2"):
        run("report")


def test_report_prints_what_was_written_as_json(tuned):
    assert json.loads(run("report", tuned.folder, "--json")) == tuned.report()


def test_report_draws_each_shape(tuned, tmp_path: Path):
    assert f"Drawn in {tmp_path / 'gain.svg'}" in run("report", tuned.folder, "--plot", tmp_path / "gain.svg")
    root = ElementTree.parse(tmp_path / "gain.svg").getroot()
    words = " ".join(str(each.text) for each in root.iter("{http://www.w3.org/2000/svg}text"))
    assert all(f"TN {m}×512×256 bf16_r" in words for m in (320, 192, 64))
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 3, "the ground and two bars"
    run("report", tuned.folder, "--plot", tmp_path / "gain.html")
    assert "<svg " in (tmp_path / "gain.html").read_text()
    with pytest.raises(UsageError, match=r"ends in \.svg or \.html"):
        run("report", tuned.folder, "--plot", tmp_path / "gain.bmp")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 0}', '{"version": 1, "shapes": [{}]}'])
def test_report_says_when_a_file_is_none(tmp_path: Path, text: str):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(PrimusError, match="this is no report of stage 2"):
        run("report", tmp_path)


def test_check_tells_rows_and_coverage(tuned):
    text = run("check", tuned.request.results, "--shapes", tuned.request.shapes)
    assert "2 of 3 have a row" in text
    assert "fa9cdd18" in text


def test_check_asks_the_library_here(tuned, rocm: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROCM_PATH", str(rocm))
    assert run("check", tuned.request.results).endswith("Training can use it.\n")
    monkeypatch.setenv("STANDIN_REVISION", "0badc0de")
    assert "was made with hipBLASLt build fa9cdd18, installed is 0badc0de" in run(
        "check", tuned.request.results, status=4
    )


def test_check_names_damaged_lines(tuned, tmp_path: Path):
    damaged = tmp_path / "results"
    damaged.write_text(tuned.request.results.read_text()[:-30])
    found = json.loads(run("check", damaged, "--json"))
    assert (found["rows"], found["unread"]) == (1, 2)
    assert "the file ends in the middle of this line" in run("check", damaged)


def test_check_without_a_file_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EXP", raising=False)
    with pytest.raises(UsageError, match="name a tuning file"):
        run("check")
    with pytest.raises(MissingError, match="no such file; stage 2 of `primus tune` writes it"):
        run("check", tmp_path / "results")


def test_merge_adds_up_the_calls_of_dumps_and_shapes(tuned, tmp_path: Path):
    command = " ".join(gemm(320).to_argv(Bench.H25))
    (tmp_path / "node0").mkdir()
    (tmp_path / "node0" / "1.log").write_text(f"hipblaslt-bench --api_method c {command} \n" * 5 + "noise\n")
    out = tmp_path / "merged" / "gemm_shapes.jsonl"
    text = run("merge", tuned.request.shapes, tmp_path / "node0", "-o", out)
    assert "1 not hipBLASLt's" in text
    merged = read_shapes(out).uses
    before = read_shapes(tuned.request.shapes).uses
    assert merged[gemm(320)].calls == before[gemm(320)].calls + 5
    assert merged.keys() == before.keys()


def test_merge_keeps_the_fastest_row_of_each_problem(tuned, tmp_path: Path):
    slower = tmp_path / "slower"
    row = next(each for each in read_results(tuned.request.results).rows if each.key.m == 320)
    lines = tuned.request.results.read_text().splitlines()
    old = ",".join(row.values)
    values = list(row.values)
    values[row.names.index("us")], values[row.names.index("solution_index")] = "99.5", "77"
    slower.write_text("\n".join([lines[0], f"    {','.join(row.names)}", f"    {','.join(values)}"]) + "\n")
    out = tmp_path / "merged"
    assert "2 rows of 3 in 2 files" in run("merge", slower, tuned.request.results, "-o", out)
    assert {",".join(each.values) for each in read_results(out).rows if each.key.m == 320} == {old}


def test_merge_refuses_what_does_not_go_together(tuned, tmp_path: Path):
    with pytest.raises(UsageError, match=r"is a tuning file and .* is not"):
        run("merge", tuned.request.results, tuned.request.shapes, "-o", tmp_path / "out")
    other = tmp_path / "other"
    other.write_text(tuned.request.results.read_text().replace("fa9cdd18", "0badc0de", 1))
    with pytest.raises(PrimusError, match="different hipBLASLt builds"):
        run("merge", tuned.request.results, other, "-o", tmp_path / "out")
    (tmp_path / "text").write_text("nothing of hipBLASLt\n")
    with pytest.raises(MissingError, match="no GEMM in 1 files with 1 lines; 1 lines are not hipBLASLt's"):
        run("merge", tmp_path / "text", "-o", tmp_path / "out")
    with pytest.raises(MissingError, match="can't read"):
        run("merge", tmp_path / "none", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
