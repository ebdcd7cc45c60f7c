"""What a job survives on a real cluster: lost nodes and daemons, other jobs' sake, the end of its time."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Desk, read, sets

from primus.launch.supervise import descendants

pytestmark = pytest.mark.real

LONG = sets(steps=30, step_seconds=0.15, hold=10)
"""A toy training of five seconds, which is not over before the test lets it go on."""


def start(desk: Desk, *arguments: str) -> Path:
    """Submit a toy training and wait until it has made some steps; its run directory."""
    done = desk.submit("--parsable", "--nproc-per-node", "1", *arguments)
    assert done.returncode == 0, done.stderr
    run = desk.run()
    desk.cluster.wait_for(lambda: last_step(run) >= 3, "the first steps")
    return run


def test_a_job_that_loses_a_node_goes_on_without_it(desk: Desk) -> None:
    run = start(desk, "--nnodes", "2", "--exclude-failed-nodes", *LONG)
    desk.cluster.wait_for((run / "seen-rank1.json").exists, "the second node")
    node = read(run / "seen-rank1.json")["host"]
    desk.cluster.crash(node, noticed=True)
    let_go_on(run)
    followed = desk.primus("slurm", "logs", run.name, "--follow")
    assert followed.returncode == 0, followed.stderr
    assert "step 30/30" in followed.stdout
    assert "waits: may not begin yet" in followed.stderr
    shown = desk.primus("slurm", "status").stdout
    assert f"failed nodes  {node}\n" in shown
    assert "attempt 2" in shown
    status = read(run / "status.json")
    assert (status["state"], status["attempt"], len(status["attempts"])) == ("succeeded", 2, 1)
    assert steps(run) == list(range(1, 31))
    assert read(run / "attempt1/manifest.json")
    assert node not in {read(run / f"seen-rank{rank}.json")["host"] for rank in (0, 1)}
    failed = [line for line in attempts(run) if line["state"] == "node failed"]
    assert [line["failed"] for line in failed] == [[node]]


def test_a_job_makes_way_for_another_one_and_is_started_again_only_so_often(desk: Desk) -> None:
    run = start(desk, "--nnodes", "3", "--max-requeues", "1", *sets(steps=1000, step_seconds=0.1))
    job = read(run / "slurm.json")["job"]
    other = desk.submit("--nnodes", "4", "--partition", "urgent", "--set", "exp_name=other", "--wait")
    assert other.returncode == 0, other.stderr
    desk.cluster.wait_for(lambda: read(run / "status.json")["attempt"] == 2, "the second attempt")
    (first,) = read(run / "status.json")["attempts"]
    assert (first["state"], first["exit_status"]) == ("interrupted", 143)
    desk.cluster.wait_for(lambda: last_step(run) > 10, "further steps")
    assert steps(run) == list(range(1, last_step(run) + 1))
    desk.cluster.run("scontrol", "requeue", job)
    ended(desk, run)
    status = read(run / "status.json")
    assert (status["state"], status["exit_status"]) == ("failed", 5)
    assert status["cause"] == "SLURM has started the job again 2 times (--max-requeues 1)"
    assert desk.cluster.job_state(job) == "FAILED"


def test_a_lost_daemon_does_not_keep_a_job_that_is_done(desk: Desk) -> None:
    run = start(desk, "--lost-timeout", "10", *LONG)
    os.kill(step_daemon(read(run / "slurm.json")["job"]), signal.SIGKILL)
    let_go_on(run)
    ended(desk, run)
    assert desk.cluster.job_state(read(run / "slurm.json")["job"]) == "COMPLETED"
    status = read(run / "status.json")
    assert (status["state"], status["attempt"]) == ("succeeded", 1)


def test_a_node_without_a_sign_of_life_is_given_up(desk: Desk) -> None:
    run = start(desk, "--lost-timeout", "10", "--exclude-failed-nodes", *LONG)
    node, daemon = read(run / "seen-rank0.json")["host"], step_daemon(read(run / "slurm.json")["job"])
    for pid in (daemon, *descendants(daemon)):
        with suppress(ProcessLookupError):  # some end with the daemon, which is the first
            os.kill(pid, signal.SIGKILL)
    let_go_on(run)
    ended(desk, run)
    status = read(run / "status.json")
    assert (status["state"], status["attempt"]) == ("succeeded", 2)
    (failed,) = [line for line in attempts(run) if line["state"] == "node failed"]
    assert failed["why"].endswith("gave no sign of life for 10 s, while SLURM took the job for running")
    assert failed["failed"] == [node] != [read(run / "seen-rank0.json")["host"]]


def test_before_its_time_is_up_a_job_saves_and_another_one_goes_on(desk: Desk) -> None:
    limits = ("--time", "1", "--save-before", "55", "--chain", "1")  # SLURM looks twice a minute
    run = start(desk, *limits, *sets(steps=5000, step_seconds=0.1))
    desk.cluster.wait_for(lambda: len(begun(run)) == 2, "the next job")
    record = read(run / "slurm.json")
    assert [line["next"] for line in attempts(run) if line["state"] == "chained"] == record["chain"]
    assert begun(run)[1]["job"] == record["chain"][0] != record["job"]
    desk.cluster.wait_for(lambda: read(run / "status.json")["attempt"] == 2, "the second attempt")
    (first,) = read(run / "status.json")["attempts"]
    assert (first["state"], first["exit_status"]) == ("interrupted", 138)
    done = desk.primus("slurm", "cancel", record["job"], "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert (answer["job"], answer["words"]) == (record["chain"][0], "stopped by itself when asked to")
    assert answer["step"] == last_step(run) == int(Path(answer["checkpoint"]).read_text())
    assert steps(run) == list(range(1, last_step(run) + 1))
    assert read(run / "slurm.json")["chain"] == record["chain"]  # a job that was cancelled has no successor


def test_a_save_that_outlasts_the_time_of_the_job_does_not_end_the_chain(desk: Desk) -> None:
    limits = ("--time", "1", "--save-before", "55", "--chain", "2")
    run = start(desk, *limits, *sets(steps=5000, step_seconds=0.1, save_seconds=3600))
    job = read(run / "slurm.json")["job"]
    desk.cluster.wait_for(lambda: read(run / "slurm.json")["next"], "the next job in the queue")
    jobs = json.loads(desk.primus("slurm", "list", "--json").stdout)  # those of earlier tests too
    (listed,) = [each for each in jobs if each["run"] == str(run)]
    assert (listed["job"], listed["state"]) == (job, "running")
    desk.cluster.wait_for(lambda: len(begun(run)) == 2, "the next job")
    desk.cluster.wait_for(lambda: read(run / "status.json")["attempt"] == 2, "the second attempt")
    record = read(run / "slurm.json")
    assert (record["chain"], record["next"]) == ([begun(run)[1]["job"]], None)
    assert desk.cluster.job_state(job) == "TIMEOUT"
    (shown,) = json.loads(desk.primus("slurm", "status", job, "--json").stdout)
    assert (shown["job"], shown["state"], shown["chain"]) == (record["chain"][0], "running", [job, *record["chain"]])
    reached = last_step(run)
    desk.cluster.wait_for(lambda: last_step(run) > reached, "further steps")
    assert steps(run) == list(range(1, last_step(run) + 1))


TINY = (
    *("--exp", "megatron/tiny_llama", "--nproc-per-node", "1", "--gpus-per-node", "0"),
    *sets(mock_data="true", data_path="null", train_iters=40, lr_warmup_iters=0, log_interval=1, micro_batch_size=2),
)


def test_a_training_whose_time_is_up_learns_what_an_unbroken_one_learns(desk: Desk) -> None:
    command = ("slurm", "submit", *TINY, "--chain", "1", "--json", "--set", "exp_name=broken")
    done = desk.primus(*command)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    run = Path(answer["runs"][0]["run"])
    desk.cluster.wait_for(lambda: last_step(run) >= 5, "the first steps")
    desk.cluster.run("scancel", "--batch", "--signal=USR1", answer["job"])  # as SLURM does
    followed = desk.primus("slurm", "logs", str(run), "--rank", "0", "--follow")
    assert followed.returncode == 0, followed.stderr
    assert "step 40/40" in followed.stdout
    assert read(run / "status.json")["attempt"] == 2
    whole = desk.primus("train", *TINY[:4], *TINY[6:], "--set", "exp_name=whole")
    assert whole.returncode == 0, whole.stderr
    (other,) = (run.parents[2] / "whole/runs").iterdir()
    assert losses(run) == losses(other)


def let_go_on(run: Path) -> None:
    """End the wait of LONG."""
    (run.parents[1] / "go-on").touch()


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def step_daemon(job: str) -> int:
    """The process of SLURM that looks after the training of a job."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if command.startswith(f"slurmstepd: [{job}.0]"):
            return int(process.name)
    raise AssertionError(f"job {job} has no step")


def begun(run: Path) -> list[dict[str, Any]]:
    return [line for line in attempts(run) if line["state"] == "running"]


def steps(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def last_step(run: Path) -> int:
    return max(steps(run), default=0) if (run / "metrics.jsonl").exists() else 0


def attempts(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "slurm/attempts.jsonl").read_text().splitlines()]


def ended(desk: Desk, run: Path) -> None:
    """Wait until SLURM has no more to do for the job."""
    job = read(run / "slurm.json")["job"]
    desk.cluster.wait_for(lambda: desk.cluster.job_state(job) in ("COMPLETED", "FAILED"), "the job's end")
