from __future__ import annotations

import json
import shutil

import pytest
from report_runs import BEGIN, reports

from primus.report.data import page_data, plain_json, read_runs
from primus.run import RunDirectory


def data_of(*paths):
    data = page_data(read_runs(paths))
    plain_json(data)  # all of it can go into the page
    return data


def test_a_run_is_told_with_its_experiment_layout_versions_and_command(runs):
    path = runs.make("r1", values={"lr": 3e-4, "tensor_model_parallel_size": 4})

    (run,) = data_of(path)["runs"]

    facts = dict(run["facts"])
    assert facts["presets"] == "pre_trainer.yaml, tiny_llama.yaml"
    assert facts["layout"] == "tensor_model_parallel_size 4"
    assert (facts["nodes"], facts["processes"], facts["command"]) == ("2", "16", "primus train")
    assert ("torch", "2.13.0") in run["versions"]
    assert run["summary"]["step"] == 100


def test_what_differs_from_the_presets_is_listed(runs):
    from primus.experiment import load
    from primus.runs.compare import flat

    path = runs.make("r1")
    preset = path / "preset.yaml"
    preset.write_text(
        (path / "experiment.yaml")
        .read_text()
        .replace('"effective": true, "overrides": {"lr": 0.0003}', '"overrides": {}')
    )
    values = flat(load(preset).plain())
    path = runs.make("r2", values=values | {"lr": 0.25})

    (run,) = data_of(path)["runs"]

    assert [(key, value) for key, _, value in run["preset"]] == [("lr", "0.25")]


def test_each_metric_is_a_chart_with_its_unit_and_loss_comes_first(runs):
    charts = data_of(runs.make("r1"))["charts"]

    assert [chart["name"] for chart in charts][:3] == ["loss", "lr", "grad_norm"]
    assert {"mfu", "memory_gib", "step_time", "moe_imbalance"} <= {chart["name"] for chart in charts}
    assert charts[0]["unit"] == "nat/token"


def test_held_out_losses_are_a_chart_of_their_own(runs):
    path = runs.make("r1", [*reports(10), {"step": 10, "valid_loss": 3.5}])

    chart = next(chart for chart in data_of(path)["charts"] if chart["name"] == "valid_loss")

    assert (chart["series"][0]["x"], chart["series"][0]["y"]) == ([10], [3.5])


def test_a_loss_that_is_no_number_is_an_event_and_a_mark(runs):
    path = runs.make("r1", reports(100, loss=lambda step: "NaN" if step == 40 else 2.0))

    data = data_of(path)

    series = data["charts"][0]["series"][0]
    assert series["y"][series["x"].index(40)] == "NaN"
    assert "loss is NaN at step 40" in [event["text"] for event in data["runs"][0]["events"]]


def test_warnings_of_the_logs_stand_on_the_time_line_and_name_slow_ranks(runs):
    line = "rank 3 is slow and holds the others up: its own part of a step takes 0.900 s, "
    line += "the median of all ranks is 0.200 s"
    log = f"a line\nWarning: step 7: {line}\nWarning: step 9: the loss jumped to 9, from about 2\nno Warning: here\n"

    (run,) = data_of(runs.make("r1", log=log))["runs"]

    warnings = [(event["step"], event["time"]) for event in run["events"] if event["kind"] == "warning"]
    assert warnings == [(7, pytest.approx(BEGIN + 1.4)), (9, pytest.approx(BEGIN + 1.8))]
    assert run["slow"] == [{"rank": 3, "times": 1, "seconds": 0.9, "median": 0.2, "step": 7}]


def test_attempts_are_told_one_by_one_with_the_step_at_which_each_went_on(runs):
    lines = reports(20)
    for line in lines[10:]:
        line["attempt"] = 2
    first = {"attempt": 1, "state": "failed", "exit_status": 1, "cause": "lost a GPU"}
    first |= {"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:10Z"}

    (run,) = data_of(runs.make("r1", lines, attempt=2, attempts=(first,)))["runs"]

    assert [(each["attempt"], each["state"]) for each in run["attempts"]] == [(1, "failed"), (2, "succeeded")]
    assert run["restarts"] == [11]
    assert "attempt 1 failed: lost a GPU" in [event["text"] for event in run["events"]]


def test_a_run_that_failed_at_its_start_tells_cause_remedy_and_log(runs):
    diagnosis = {"cause": "the disk is full", "evidence": "ENOSPC", "remedy": "free some space"}
    path = runs.make(
        "r1", [], state="failed", exit_status=1, cause="rank 0 failed", diagnosis=diagnosis, log="one\nlast\n"
    )
    (path / "metrics.jsonl").unlink()

    data = data_of(path)

    failure = data["runs"][0]["failure"]
    assert (failure["cause"], failure["known"], failure["remedy"]) == (
        "rank 0 failed",
        "the disk is full",
        "free some space",
    )
    assert failure["tail"] == ["one", "last"]
    assert data["charts"] == []
    assert "no step was reported" in data["runs"][0]["notes"]


@pytest.mark.parametrize("lost", ["manifest.json", "experiment.yaml", "status.json"])
@pytest.mark.parametrize("damage", [None, b"", b'{"half', b"[1]", b"\xff\xfe"])
def test_what_is_missing_or_damaged_is_said_and_the_rest_is_shown(runs, lost, damage):
    path = runs.make("r1")
    (path / lost).unlink() if damage is None else (path / lost).write_bytes(damage)

    (run,) = data_of(path)["runs"]

    assert f"{lost} is {'missing' if damage is None else 'damaged'}" in run["notes"]
    assert run["summary"]["step"] == 100


def test_half_a_line_at_the_end_is_counted(runs):
    (run,) = data_of(runs.make("r1", torn=b'{"step": 101, "lo'))["runs"]

    assert run["summary"]["step"] == 100
    assert any(note.startswith("1 line") for note in run["notes"])


def test_a_manifest_of_another_format_is_said(runs):
    (run,) = data_of(runs.make("r1", manifest={"format": 9, "primus": "3.0", "resources": "all of them"}))["runs"]

    assert any("format 9" in note and "3.0" in note for note in run["notes"])


def test_a_status_of_another_version_is_shown_as_far_as_it_is_known(runs):
    path = runs.make("r1")
    status = json.loads((path / "status.json").read_text())
    status |= {"novelty": [1], "failures": "none", "attempts": ["?"], "diagnosis": 3}
    (path / "status.json").write_text(json.dumps(status))

    assert data_of(path)["runs"][0]["state"] == "succeeded"


def test_secrets_stay_out(runs):
    token = "hf_" + "a1B2c3D4e5" * 4
    path = runs.make("r1", log=f"Warning: step 1: token {token}\n", state="failed", cause=f"can't log in with {token}")

    assert token not in plain_json(data_of(path))


def test_the_gain_of_tuning_is_read_beside_the_file_that_was_used(runs, tmp_path):
    total = {"default_us": 100.0, "tuned_us": 80.0, "gain": 0.25, "saved": 0.2}
    shape = {
        "gemm": "a GEMM",
        "calls": 3,
        "state": "kept",
        "default_us": 10.0,
        "tuned_us": 8.0,
        "gain": 0.25,
        "share": 1.0,
    }
    report = {"version": 1, "total": total, "counts": {"kept": 1}, "shapes": [shape]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    path = runs.make("r1", manifest={"tuning": {"stage": 3, "file": str(tmp_path / "results.txt")}})

    tuning = data_of(path)["runs"][0]["tuning"]

    assert (tuning["total"]["saved"], tuning["shapes"][0]["gemm"]) == (0.2, "a GEMM")


def test_runs_are_compared(runs):
    data = data_of(runs.make("r1", values={"lr": 1e-3}), runs.make("r2", values={"lr": 1e-4}))

    assert ["experiment", "modules.pre_trainer.overrides.lr", "0.001", "0.0001"] in data["differences"]
    assert [each["run"] for each in data["charts"][0]["series"]] == [0, 1]


def test_the_bars_of_step_times_count_every_report(runs):
    bars = data_of(runs.make("r1"), runs.make("r2", reports(50, step_time=lambda step: 3.0 if step == 9 else 0.2)))[
        "distribution"
    ]

    assert [sum(each["counts"]) for each in bars["series"]] == [100, 50]
    assert bars["series"][1]["most"] == 3.0


def test_an_empty_folder_of_a_run_makes_a_page(runs):
    path = runs.make("r1")
    for each in path.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    RunDirectory(path).metrics.write_text("")

    assert data_of(path)["charts"] == []


def test_a_status_of_another_version_is_said(runs):
    path = runs.make("r1")
    (path / "status.json").write_text('{"state": "resting", "attempt": "third", "attempts": 5}')
    assert "status.json is damaged, or of another version of Primus" in data_of(path)["runs"][0]["notes"]


def test_metrics_that_can_not_be_read_are_said(runs):
    path = runs.make("r1")
    (path / "metrics.jsonl").unlink()
    (path / "metrics.jsonl").mkdir()
    assert "metrics.jsonl can't be read: Is a directory" in data_of(path)["runs"][0]["notes"]
