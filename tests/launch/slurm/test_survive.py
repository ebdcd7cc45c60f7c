"""What comes after an attempt that did not finish: asked of SLURM, for which a few lines of shell stand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from primus.launch.slurm.chain import next_command
from primus.launch.slurm.record import JobFiles, Record, read_record, write_record
from primus.launch.slurm.script import Script, render
from primus.run import RunDirectory, Status

SCONTROL = """\
echo "scontrol $*" >>"CALLS"
case $1 in
show) [ "$2" = hostnames ] && echo n1 n2 || echo "NodeName=n1 State=IDLE BootTime=None" ;;
requeue) [ -z "$REFUSED" ] || { echo "scontrol: error: Requested operation is presently disabled" >&2; exit 1; } ;;
esac
"""
SBATCH = """\
echo "sbatch $*" >>"CALLS"
env | grep SECRET >>"CALLS"
[ -z "$SBATCH_REFUSED" ] || { echo "sbatch: error: Job violates accounting/QOS policy" >&2; exit 1; }
echo "${SBATCH_NEXT:-13}"
"""
SQUEUE = 'echo "${REASON:-None}"'
SCANCEL = 'echo "scancel $*" >>"CALLS"'
TOOLS = {"scontrol": SCONTROL, "sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL}


@pytest.fixture
def job(tmp_path):
    """Runs survive.py in job 12 on n1 and n2; `job.files` are those of its run."""
    run = tmp_path / "toy/runs/RUN"
    files = JobFiles(run)
    files.folder.mkdir(parents=True)
    command = ["sbatch", "--parsable", "--nodes=2", "--exclude=n9", "--dependency=afterok:3", "job.sh"]
    facts = {"name": "toy", "nnodes": 2, "experiment": "", "submitted": "", "directory": "/", "command": []}
    write_record(run, Record(job="12", **facts, sbatch=command, options={}))
    files.note(job="12", restart=0, state="running", nodes="n[1-2]", exit_status=None)
    for name, script in TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n".replace("CALLS", str(tmp_path / "calls")))
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SECRET": "hidden"}
    environment |= {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]"}

    def call(what, *arguments, requeues=1, **more):
        command = [sys.executable, "-m", "primus.launch.slurm.survive", what, str(run), "--max-requeues", str(requeues)]
        done = subprocess.run(
            [*command, *arguments], env={**environment, **more}, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        calls = (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
        return done, [each for each in calls if not each.startswith("scontrol show")]

    def script(setup, **more):
        """Runs the job's script to its end, with this setup file; there is no srun."""
        job = render(Script(run=run, directory=tmp_path, train=[sys.executable], chain=2))
        for name, text in {"job.sh": job, "environment.sh": "", "setup.sh": setup}.items():
            (files.folder / name).write_text(text)
        variables = {**environment, "SLURM_JOB_NUM_NODES": "1", "REASON": "TimeLimit", **more}
        command = ["bash", str(files.folder / "job.sh")]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    call.script = script
    call.files, call.run_dir = files, RunDirectory(run)
    return call


def states(job):
    return [line["state"] for line in job.files.read_attempts()]


def test_a_silent_node_starts_the_job_again_without_it(job):
    done, calls = job("end", "--status", "137", "--silent", "300", "--lost", "1", "--exclude")
    assert done.stdout == "5\n"
    assert calls == ["scontrol requeue 12", "scontrol update JobId=12 ExcNodeList=n2"]
    assert states(job) == ["running", "node failed", "requeued"]
    assert "node n2 gave no sign of life for 300 s" in done.stderr


def test_a_node_that_went_away_is_left_in_unless_it_is_to_be_left_out(job):
    job.run_dir.write_status(Status(state="failed", exit_status=5, cause="node 1 went away: its launcher was killed"))
    assert job("end", "--status", "5", "--lost", "1")[1] == ["scontrol requeue 12"]


def test_a_training_that_failed_itself_is_not_started_again(job):
    job.run_dir.write_status(Status(state="failed", exit_status=7, cause="rank 0 on node 0: left with status 7"))
    done, calls = job("end", "--status", "7", "--lost", "1")
    assert (done.stdout, calls) == ("7\n", [])


def test_a_broken_gpu_counts_as_a_failed_node_where_nodes_are_left_out(job):
    status = Status(
        state="failed",
        exit_status=1,
        cause="x",
        diagnosis={"name": "gpu-lost", "cause": "a GPU has fallen off the bus"},
        failures=({"node": 1},),
    )
    job.run_dir.write_status(status)
    assert job("end", "--status", "1")[1] == []
    assert job("end", "--status", "1", "--exclude")[1][-1] == "scontrol update JobId=12 ExcNodeList=n2"


def test_where_no_requeue_is_left_the_run_says_why(job):
    job.run_dir.write_status(Status(state="running"))
    done, calls = job("end", "--status", "137", "--silent", "300", "--lost", "0", requeues=0)
    assert (done.stdout, calls) == ("5\n", [])
    status = job.run_dir.read_status()
    assert (status.state, status.exit_status) == ("failed", 5)
    assert status.cause.startswith("node n1 gave no sign of life for 300 s")


def test_a_refused_requeue_is_told(job):
    job.run_dir.write_status(Status(state="running"))
    done, _ = job("end", "--status", "5", "--lost", "1", REFUSED="yes")
    assert done.stdout == "5\n"
    assert "can't be started again: SLURM refused: Requested operation is presently disabled" in done.stderr
    assert job.run_dir.read_status().state == "failed"


def test_a_job_that_was_requeued_too_often_does_not_begin(job):
    job.run_dir.write_status(Status(state="running"))
    done, _ = job("begin", SLURM_RESTART_COUNT="2")
    assert done.returncode == 5
    assert job.run_dir.read_status().cause == "SLURM has started the job again 2 times (--max-requeues 1)"
    assert job("begin", SLURM_RESTART_COUNT="1")[0].returncode == 0


def test_on_a_node_that_failed_before_the_job_does_not_begin(job):
    job.files.note(job="12", restart=0, state="node failed", failed=["n2"], why="node n2 is down")
    done, calls = job("begin", "--exclude", SLURM_RESTART_COUNT="1", requeues=2)
    assert done.returncode == 75
    assert calls == ["scontrol requeue 12", "scontrol update JobId=12 ExcNodeList=n2"]


def test_the_next_job_of_a_chain_has_no_secret_in_its_environment(job):
    _, calls = job("asked", "--asked", "USR1", "--chain", "1")
    assert calls == ["sbatch --dependency=afterany:12 --exclude=n9 --parsable --nodes=2 job.sh"]
    assert chain(job) == (["12", "13"], [])
    done, calls = job("end", "--status", "138", "--asked", "USR1", "--chain", "1")
    assert (done.stdout, len(calls)) == ("138\n", 1)
    assert chain(job) == (["12", "13"], ["13"])
    again, calls = job("asked", "--asked", "USR1", "--chain", "1", SLURM_JOB_ID="13")
    assert len(calls) == 1
    assert "--chain 1 is used up" in again.stderr


def test_a_next_job_that_was_not_taken_is_submitted_at_the_end(job):
    refused = job("asked", "--asked", "USR1", "--chain", "1", SBATCH_REFUSED="yes")[0]
    assert "the next job was not taken: SLURM refused: Job violates accounting/QOS policy" in refused.stderr
    job("end", "--status", "138", "--asked", "USR1", "--chain", "1")
    assert chain(job) == (["12", "13"], ["13"])


def test_the_next_job_takes_over_from_one_that_was_ended_while_it_saved(job):
    job("asked", "--asked", "USR1", "--chain", "1")
    assert job("begin", "--chain", "1", SLURM_JOB_ID="13")[0].returncode == 0
    assert chain(job) == (["12", "13"], ["13"])


@pytest.mark.parametrize(("reason", "kept"), [("TimeLimit", ["12", "13"]), ("None", ["12"])])
def test_the_next_job_stays_when_the_time_is_up_but_not_when_a_user_ends_this_one(job, reason, kept):
    job("asked", "--asked", "USR1", "--chain", "1")
    _, calls = job("asked", "--asked", "TERM", "--chain", "1", REASON=reason)
    assert chain(job)[0] == kept
    assert ("scancel --quiet 13" in calls) == (kept == ["12"])
    job("end", "--status", "143", "--asked", "TERM", "--chain", "1")
    assert chain(job) == (kept, kept[1:])


def test_a_job_whose_time_is_up_without_a_warning_has_a_next_one(job):
    job("asked", "--asked", "TERM", "--chain", "1", REASON="TimeLimit")
    assert chain(job) == (["12", "13"], [])


def test_a_training_that_has_finished_needs_no_next_job(job):
    job("asked", "--asked", "USR1", "--chain", "1")
    job.run_dir.write_status(Status(state="succeeded", exit_status=0))
    assert "scancel --quiet 13" in job("end", "--status", "0", "--asked", "USR1", "--chain", "1")[1]
    assert chain(job) == (["12"], [])


def test_a_job_that_slurm_starts_again_lines_up_the_next_one_anew(job):
    job("asked", "--asked", "USR1", "--chain", "1")
    assert "scancel --quiet 13" in job("begin", "--chain", "1", SLURM_RESTART_COUNT="1")[1]


SETUPS = {
    "goes on after the warning": """\
kill -USR1 $$
sed -n 's/.*next. *: *//p' "$folder/../slurm.json" >>"$folder/seen"
""",
    "is ended by the time": "kill -TERM $$\nfalse\n",
}


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_a_chain_goes_on_when_the_setup_took_all_the_time_but_not_twice_in_a_row(job, setup):
    first = job.script(setup)
    assert (first.returncode, chain(job)) == (143, (["12", "13"], ["13"])), first.stderr
    second = job.script(setup, SLURM_JOB_ID="13")
    assert (second.returncode, chain(job)) == (143, (["12", "13"], ["13"])), second.stderr
    assert second.stderr.count("the time of two jobs in a row was up before training began") == 1
    assert states(job).count("unchained") == 1
    if "seen" in setup:
        assert (job.files.folder / "seen").read_text() == '"13"\nnull\n'  # while it still sets up


def test_a_chain_goes_on_when_a_job_between_two_long_setups_has_trained(job):
    job("asked", "--asked", "USR1", "--chain", "3", "--untrained")
    job("untrained", "--asked", "USR1", "--chain", "3", "--status", "143")
    job("asked", "--asked", "USR1", "--chain", "3", SLURM_JOB_ID="13", SBATCH_NEXT="14")
    job("end", "--status", "138", "--asked", "USR1", "--chain", "3", SLURM_JOB_ID="13")
    job("asked", "--asked", "USR1", "--chain", "3", "--untrained", SLURM_JOB_ID="14", SBATCH_NEXT="15")
    assert chain(job) == (["12", "13", "14", "15"], ["13", "14"])


def test_a_setup_that_fails_ends_the_chain_though_the_time_is_nearly_up(job):
    done = job.script("kill -USR1 $$\nfalse\n")
    assert (done.returncode, chain(job)) == (4, (["12"], []))
    assert "the setup file left with status 1" in done.stderr


def test_a_job_that_a_user_ends_while_it_sets_up_has_no_successor(job):
    done = job.script(SETUPS["is ended by the time"], REASON="None")
    assert (done.returncode, chain(job)) == (143, (["12"], []))


def chain(job):
    """The jobs of the run, and those that have gone on with it so far."""
    record = read_record(job.run_dir.path)
    return list(record.jobs), record.chain


def test_what_srun_says_of_a_step_that_it_has_ended_does_not_count(job):
    job.run_dir.write_status(Status(state="running"))
    assert job("end", "--status", "0", "--asked", "TERM")[0].stdout == "143\n"
    job.run_dir.write_status(Status(state="succeeded", exit_status=0))
    assert job("end", "--status", "0", "--asked", "TERM")[0].stdout == "0\n"


def test_one_task_of_an_array_goes_on_alone():
    command = next_command(["sbatch", "--array=0-9", "job.sh"], "12_4", ["n1", "n2"])
    assert command == ["sbatch", "--dependency=afterany:12_4", "--exclude=n1,n2", "--array=4", "job.sh"]
