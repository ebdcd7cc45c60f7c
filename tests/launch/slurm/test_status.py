"""How a job stands, from what SLURM says and what the job has written; and which job a name means."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.slurm.find import Found, find
from primus.launch.slurm.listing import list_jobs
from primus.launch.slurm.queue import Row
from primus.launch.slurm.record import JobFiles, Record, write_record
from primus.launch.slurm.status import attempts_of, judge, status_of
from primus.run import RunDirectory, Status

BEGAN = {"time": "t1", "job": "12", "restart": 0, "state": "running", "exit_status": None, "nodes": "n[1-2]"}


def ended(status):
    return {**BEGAN, "time": "t2", "state": "ended", "exit_status": status}


def row(word, source="squeue", **more):
    return Row(job="12", word=word, source=source, **more)


@pytest.mark.parametrize(
    ("found", "lines", "expected"),
    [
        (row("RUNNING"), [BEGAN], ("running", "squeue", None)),
        (row("PENDING"), [BEGAN, ended(143)], ("pending", "squeue", None)),
        (row("COMPLETED"), [BEGAN, ended(0)], ("succeeded", "squeue", 0)),
        (row("FAILED"), [BEGAN, ended(7)], ("failed", "squeue", 7)),
        (row("FAILED"), [BEGAN, ended(138)], ("interrupted", "squeue", 138)),
        (row("NODE_FAIL"), [BEGAN], ("failed", "squeue", 5)),
        (row("FAILED", "sacct", exit_code=9), [], ("failed", "sacct", 9)),
        (row("CANCELLED", "sacct", exit_code=0), [], ("interrupted", "sacct", 143)),
        (row("NODE_FAIL", "sacct", exit_code=0), [], ("failed", "sacct", 5)),
        (row("COMPLETED", "sacct", exit_code=0), [], ("succeeded", "sacct", 0)),
        (row("RUNNING", "sacct"), [BEGAN, ended(0)], ("succeeded", "run", 0)),
        (row("RUNNING", "sacct"), [BEGAN], ("lost", "run", None)),
        (None, [BEGAN, ended(3)], ("failed", "run", 3)),
        (None, [BEGAN], ("lost", "run", None)),
    ],
)
def test_slurm_counts_first_then_what_the_job_has_written(found, lines, expected):
    state, _, source, status = judge(Found(job="12", row=found), lines, None)
    assert (state, source, status) == expected


def test_a_script_whose_end_slurm_has_missed_is_told():
    state, words, _, status = judge(Found(job="12", row=row("RUNNING")), [BEGAN, ended(0)], None)
    assert (state, words, status) == ("running", "its script has ended, and SLURM has not noticed yet", 0)


def test_without_slurm_the_last_that_is_known_is_told():
    found = Found(job="12", silence="squeue is not on the PATH")
    assert judge(found, [BEGAN], None)[0] == "running"
    assert "SLURM was not asked: squeue is not on the PATH" in judge(found, [], None)[1]


def test_a_node_that_failed_belongs_to_the_attempt_that_it_ended():
    second = {**BEGAN, "restart": 1, "nodes": "n[1,3]"}
    failed = {"job": "12", "restart": 0, "state": "node failed", "failed": ["n2"], "why": "node n2 is down"}
    first, last = attempts_of([BEGAN, ended(5), second, failed, {**ended(0), "restart": 1}])
    assert (first["failed_nodes"], first["why"], first["exit_status"]) == (["n2"], "node n2 is down", 5)
    assert (last["failed_nodes"], last["exit_status"], "why" in last) == ([], 0, False)


@pytest.fixture
def workspace(tmp_path):
    """Two runs with jobs 12 and 13, of which 14 goes on with 13; no SLURM."""
    for run_id, job, chain in (("20260101T000000Z-aaaaaa", "12", []), ("20260101T000000Z-bbbbbb", "13", ["14"])):
        run = tmp_path / "output/us/me/toy/runs" / run_id
        JobFiles(run).folder.mkdir(parents=True)
        record = Record(
            job=job,
            name="toy",
            nnodes=2,
            experiment="toy.yaml",
            submitted="t0",
            directory="/",
            command=[],
            sbatch=[],
            options={},
            chain=chain,
        )
        write_record(run, record)
    return tmp_path / "output"


NOWHERE = {"PATH": "/nonexistent"}


@pytest.mark.parametrize(
    ("name", "job"),
    [
        (None, "14"),
        ("12", "12"),
        ("13", "14"),
        ("14", "14"),
        ("20260101T000000Z-a", "12"),
        ("20260101T000000Z-bbbbbb", "14"),
    ],
)
def test_a_job_has_many_names(workspace, name, job):
    assert [found.job for found in find(name, workspace, NOWHERE)] == [job]


def test_a_run_directory_names_its_job(workspace):
    (run,) = workspace.glob("us/me/toy/runs/*aaaaaa")
    assert find(str(run), workspace, NOWHERE)[0].job == "12"


def test_names_that_mean_nothing_or_too_much_are_errors(workspace, tmp_path):
    with pytest.raises(MissingError, match="neither a job's id nor a run"):
        find("nothing", workspace, NOWHERE)
    with pytest.raises(MissingError, match="SLURM knows no job 99"):
        find("99", workspace, NOWHERE)
    with pytest.raises(UsageError, match="may mean 2 runs"):
        find("20260101T", workspace, NOWHERE)
    with pytest.raises(MissingError, match="no job below"):
        find(None, tmp_path / "elsewhere", NOWHERE)


def test_the_whole_is_put_together(workspace):
    (run,) = workspace.glob("us/me/toy/runs/*bbbbbb")
    RunDirectory(run).write_status(Status(state="failed", exit_status=7, cause="rank 1 left"))
    lines = [{**BEGAN, "job": "13"}, {**ended(7), "job": "14"}]
    JobFiles(run).attempts.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"half')
    (run / "metrics.jsonl").write_text('{"step": 5, "loss": "NaN"}\n')
    (found,) = find("13", workspace, NOWHERE)
    status = asdict(status_of(found))
    assert {"state": "failed", "exit_status": 7, "cause": "rank 1 left", "step": 5, "nodes": "n[1-2]"}.items() <= (
        status.items()
    )
    assert status["chain"] == ("13", "14")


def test_a_list_has_the_queue_and_the_earlier_runs_each_once(workspace, tmp_path):
    (run,) = workspace.glob("us/me/toy/runs/*bbbbbb")
    tools = tmp_path / "bin"
    tools.mkdir()
    lines = [
        f"{job}|{word}|main|2|None|N/A|1:00|0:00||{run}/slurm/job.sh" for job, word in ((13, "FAILED"), (14, "PENDING"))
    ]
    (tools / "squeue").write_text(
        "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in [*lines, lines[0][:-10] + "x"])
    )
    (tools / "squeue").chmod(0o755)
    jobs, silence = list_jobs(workspace, {"PATH": f"{tools}:/usr/bin:/bin"})
    assert not silence
    assert [(job.job, job.state) for job in jobs] == [("12", "lost"), ("14", "pending")]
