import os
import socket

from primus.runs.summary import last_report, summarize


def test_a_summary_says_how_the_run_stands_and_how_far_it_came(workspace):
    run = workspace.run("r1", losses=[3.0, 2.5], state="failed", exit_status=7, cause="it broke", attempt=2,
                        ended="2026-01-01T00:01:30Z")  # fmt: skip

    summary = summarize(run)

    assert (summary.id, summary.experiment, summary.state, summary.attempt) == ("r1", "tiny", "failed", 2)
    assert (summary.step, summary.loss, summary.tokens_per_second) == (2, 2.5, 200.0)
    assert (summary.exit_status, summary.cause, summary.seconds) == (7, "it broke", 90)


def test_half_a_line_at_the_end_is_left_out(workspace):
    run = workspace.run("r1", losses=[3.0, 2.5], torn=b'{"step": 3, "lo')

    assert summarize(run).step == 2


def test_an_evaluation_is_not_taken_for_a_training_step(workspace):
    run = workspace.run("r1", losses=[3.0], torn=b'{"step": 1, "valid_loss": 9.0}\n')

    assert summarize(run).loss == 3.0


def test_a_loss_that_is_no_number_is_shown_as_such(workspace):
    loss = summarize(workspace.run("r1", losses=["NaN"])).loss

    assert loss is not None
    assert loss != loss


def test_a_run_whose_launcher_is_gone_from_this_machine_is_lost(workspace):
    gone = workspace.run("gone", state="running", exit_status=None, host=socket.gethostname(), pid=2**22 + 1)
    here = workspace.run("here", state="running", exit_status=None, host=socket.gethostname(), pid=os.getpid())
    away = workspace.run("away", state="running", exit_status=None, host="another-machine", pid=2**22 + 1)

    assert [summarize(run).state for run in (gone, here, away)] == ["lost", "running", "running"]


def test_a_damaged_status_is_said_and_the_rest_still_shown(workspace):
    run = workspace.run("r1", losses=[3.0])
    (run / "status.json").write_text('{"state": "run')

    summary = summarize(run)

    assert (summary.state, summary.step) == ("unreadable", 1)


def test_the_last_report_is_found_at_the_end_of_a_long_file(workspace):
    run = workspace.run("r1", losses=[1.0] * 5000)

    assert last_report(run / "metrics.jsonl")["step"] == 5000


def test_a_run_without_metrics_has_no_report(tmp_path):
    assert last_report(tmp_path / "metrics.jsonl") == {}


def test_what_is_no_file_or_no_number_is_left_out(workspace):
    run = workspace.run("r1", torn=b'{"step": "seven", "loss": 1}\n')
    assert summarize(run).step is None
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    assert last_report(run / "metrics.jsonl") == {}


def test_times_that_are_no_text_are_no_fault(workspace):
    run = workspace.run("r1")
    (run / "status.json").write_text('{"state": "failed", "started": 12, "ended": [], "cause": {"a": 1}}')
    summary = summarize(run)
    assert (summary.state, summary.seconds, summary.cause) == ("failed", None, "{'a': 1}")
