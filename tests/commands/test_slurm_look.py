"""`primus slurm status`, list, logs and cancel, with a few lines of shell for SLURM; see tests/real/slurm/ as well."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from primus.launch.slurm.record import JobFiles, Record, write_record
from primus.run import RunDirectory, Status

SQUEUE = """\
case "$*" in
*" 12 "*) echo "12|$STATE|debug|4|$REASON|2026-12-24T18:00:00|1:00:00|0:10|n[1-4]|@RUN@/slurm/job.sh" ;;
*" 13 "*) echo "13|RUNNING|debug|1|None|2026-12-24T18:00:00|1:00:00|0:10|n1|/home/me/other.sh" ;;
*--user=*) echo "12|$STATE|debug|4|$REASON|N/A|1:00:00|0:10|n[1-4]|@RUN@/slurm/job.sh" ;;
*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;
esac
"""


@pytest.fixture
def primus(tmp_path):
    """Runs `primus slurm …` where job 12 has a run of two attempts, the first of which n2 has ended."""
    run = tmp_path / "output/us/me/toy/runs/20260101T000000Z-abcdef"
    files = JobFiles(run)
    files.logs.mkdir(parents=True)
    facts = {"name": "toy", "experiment": "", "submitted": "", "directory": "/", "command": [], "sbatch": []}
    write_record(run, Record(job="12", nnodes=4, **facts, options={"nproc_per_node": 8}))
    for restart, nodes in ((0, "n[1-4]"), (1, "n[1,3-5]")):
        files.note(job="12", restart=restart, state="running", nodes=nodes, exit_status=None)
        if not restart:
            files.note(job="12", restart=0, state="node failed", failed=["n2"], why="node n2 is down")
            files.note(job="12", restart=0, state="ended", nodes=nodes, exit_status=5)
    RunDirectory(run).write_status(Status(state="running", attempt=2))
    (tmp_path / "bin").mkdir()
    for name, script in (("squeue", SQUEUE.replace("@RUN@", str(run))), ("sacct", "exit 1")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def call(*arguments, state="RUNNING", reason="None"):
        environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "STATE": state, "REASON": reason, "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "primus", "slurm", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    call.files = files
    return call


def test_a_waiting_job_says_why_and_until_when(primus):
    done = primus("status", "12", state="PENDING", reason="Priority")
    assert done.returncode == 0, done.stderr
    assert "pending: waits: other jobs go first" in done.stdout
    assert "2026-12-24T18:00:00 as SLURM expects now" in done.stdout
    never = primus("status", "12", state="PENDING", reason="PartitionDown")
    assert "partition debug is down: it will never start" in never.stdout


def test_a_job_is_shown_attempt_by_attempt_with_the_node_that_failed(primus):
    lines = primus("status", "12").stdout.splitlines()
    facts = {line[:14].strip(): line[14:] for line in lines}
    assert facts["failed nodes"] == "n2"
    assert facts["attempt 1"].startswith("job 12 on n[1-4], began ")
    assert facts["attempt 1"].endswith(", status 5: node n2 is down")
    assert facts["attempt 2"].endswith("has not ended")


def test_the_same_for_programs(primus):
    (job,) = json.loads(primus("status", "--json").stdout)
    assert (job["job"], job["state"], job["failed_nodes"], len(job["attempts"])) == ("12", "running", ["n2"], 2)
    assert json.loads(primus("list", "--json").stdout)[0]["job"] == "12"


def test_a_list_has_a_row_for_each_job(primus):
    header, row = primus("list").stdout.splitlines()
    assert header.split()[:3] == ["job", "experiment", "state"]
    assert row.split()[:5] == ["12", "toy", "running", "(attempt", "2)"]


def test_logs_of_the_script_of_a_node_or_of_a_rank(primus):
    primus.files.log.write_text("of the script\n")
    primus.files.node_log(0).write_text("of node 0\n")
    primus.files.node_log(1).write_text("of node 1\n")
    rank = RunDirectory(primus.files.run).log_path(1, 9)
    rank.parent.mkdir(parents=True)
    rank.write_text("of rank 9\n")
    assert primus("logs", "12").stdout == "of the script\nof node 0\n"
    assert primus("logs", "12", "--node", "1").stdout == "of node 1\n"
    assert primus("logs", "12", "--rank", "9").stdout == "of rank 9\n"
    assert "has printed nothing yet" in primus("logs", "12", "--rank", "31").stderr
    assert set(json.loads(primus("logs", "12", "--json").stdout)["logs"]) == {"job", "node0", "node1", "rank9"}


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["logs", "12", "--node", "4"], 4, "--node 4: the job has 4 nodes, counted from 0"),
        (["logs", "13"], 2, "job 13 was not submitted by Primus"),
        (["status", "99"], 4, "SLURM knows no job 99"),
        (["cancel", "99"], 4, "SLURM knows no job 99"),
        (["cancel"], 2, "Missing argument"),
    ],
)
def test_what_is_not_there_is_an_error(primus, arguments, status, text):
    done = primus(*arguments)
    assert text in done.stderr
    assert done.returncode == status


def test_a_job_that_is_over_is_not_cancelled_again(primus):
    done = primus("cancel", "12", state="COMPLETED")
    assert done.returncode == 0, done.stderr
    assert "Job 12 had ended already: is done." in done.stdout


def test_a_damaged_record_is_told(primus):
    primus.files.record.write_text("{")
    done = primus("status")
    assert done.returncode == 4
    assert "slurm.json can't be read" in done.stderr
