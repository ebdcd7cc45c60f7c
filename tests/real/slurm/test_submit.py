"""`primus slurm submit` on a real cluster, with trainings that take milliseconds."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Desk, read, sets

pytestmark = pytest.mark.real


def test_a_job_runs_and_its_run_directory_tells_of_it(desk: Desk) -> None:
    done = desk.submit("--nnodes", "2", "--nproc-per-node", "1", "--json", "--wait")
    assert done.returncode == 0, done.stderr
    answer, run = json.loads(done.stdout), desk.run()
    assert answer["runs"] == [{"job": answer["job"], "run": str(run), "values": {}}]
    record = read(run / "slurm.json")
    assert record["job"] == answer["job"]
    assert record["options"]["nnodes"] == 2
    assert read(run / "status.json")["state"] == "succeeded"
    assert read(run / "manifest.json")["resources"]["world_size"] == 2
    begin, end = map(json.loads, (run / "slurm/attempts.jsonl").read_text().splitlines())
    assert (begin["state"], end["state"], end["exit_status"], end["restart"]) == ("running", "ended", 0, 0)
    seen = [read(run / f"seen-rank{rank}.json") for rank in (0, 1)]
    assert [each["node"] for each in seen] == [0, 1]
    assert len({each["host"] for each in seen}) == 2
    assert {each["cpus"] for each in seen} == {os.cpu_count()}
    assert seen[0]["environment"]["MASTER_ADDR"].startswith("127.0.1.")  # the name leads to the loopback
    assert seen[0]["environment"]["MASTER_PORT"] == str(20000 + int(answer["job"]) % 12000)
    assert "this is node 1" in (run / "slurm/logs/node1.log").read_text()


def test_the_status_of_a_worker_passes_through(desk: Desk) -> None:
    done = desk.submit(
        "--nnodes", "2", "--nproc-per-node", "1", "--wait", *sets(fail_rank=1, steps=400, step_seconds=0.1)
    )
    assert done.returncode == 7, done.stderr
    run = desk.run()
    status = read(run / "status.json")
    assert (status["state"], status["exit_status"]) == ("failed", 7)
    assert status["cause"].startswith("rank 1 on node 1: left with exit status 7")
    job = read(run / "slurm.json")["job"]
    assert desk.cluster.job_state(job) == "FAILED"
    assert "ExitCode=7:0" in desk.cluster.run("scontrol", "show", "job", job).stdout


def test_gpus_of_a_node_are_its_processes(desk: Desk) -> None:
    done = desk.primus("slurm", "submit", "--exp", "toy.yaml", "--gpus-per-node", "2", "--follow")
    assert done.returncode == 0, done.stderr
    assert "toy: toy, 2 processes" in done.stdout
    assert "step 3/3  loss 1.3333" in done.stdout
    seen = read(desk.run() / "seen-rank1.json")
    assert seen["world_size"] == 2
    assert seen["environment"]["ROCR_VISIBLE_DEVICES"] == "0,1"


def test_an_array_has_a_run_for_each_value(desk: Desk) -> None:
    done = desk.submit("--array", "steps=1,2", "--wait", "--parsable")
    assert done.returncode == 0, done.stderr
    for index, count in enumerate((1, 2)):
        run = desk.run(f"toy-steps-{count}")
        assert read(run / "slurm.json")["job"] == f"{done.stdout.strip()}_{index}"
        assert read(run / "slurm.json")["values"] == {"steps": str(count)}
        assert read(run / "seen-rank0.json")["values"]["steps"] == count
        assert f"step {count}/{count}" in (run / "slurm/logs/node0.log").read_text()
        assert (run / "slurm/logs/job.log").exists()


def test_a_task_of_an_array_that_fails_gives_the_status(desk: Desk) -> None:
    assert desk.submit("--array", "fail_status=0,5", "--set", "fail_rank=0", "--wait").returncode == 5


NASTY = 'it\'s "q" $(touch pwned) `id` a,b=c %j \\ ünï ✓\nnext line\t*?[x]{a,b}; & | <>~!#'


def test_what_the_user_writes_arrives_unchanged(desk: Desk, tmp_path: Path) -> None:
    folder = "dir 'q' \"d\" $(touch pwned) %j,ü;&"
    there = Desk(desk.cluster, tmp_path / folder)
    (there.folder / "setup.sh").write_text('export FROM_SETUP="$NASTY$(printf .)"\n')
    done = there.submit(
        *("--nnodes", "2", "--nproc-per-node", "1", "--wait", "--setup", "setup.sh", "--no-exclusive"),
        *("--comment", NASTY, "--job-name", NASTY, "--set", f"note={json.dumps(NASTY)}"),
        env={"NASTY": NASTY, "HF_TOKEN": "hf_$(id)'\"", "EMPTY": ""},
    )
    assert done.returncode == 0, done.stderr
    run = there.run()
    for rank in (0, 1):
        seen = read(run / f"seen-rank{rank}.json")
        assert seen["directory"] == str(there.folder)
        assert seen["values"]["note"] == NASTY
        assert seen["environment"]["NASTY"] == NASTY
        assert seen["environment"]["FROM_SETUP"] == NASTY + "."
        assert seen["environment"]["HF_TOKEN"] == "hf_$(id)'\""
        assert seen["environment"]["EMPTY"] == ""
    assert stat.S_IMODE((run / "slurm/environment.sh").stat().st_mode) == 0o600
    record = read(run / "slurm.json")
    assert f"--comment={NASTY}" in record["sbatch"]
    assert not list(tmp_path.rglob("pwned"))
    said = desk.cluster.run("squeue", "-h", "-t", "all", "-j", record["job"], "-o", "%j").stdout
    assert said.startswith(NASTY.partition("\n")[0])


def test_no_secret_is_kept_by_slurm_or_printed(desk: Desk) -> None:
    done = desk.submit("--parsable", "--wait", env={"HF_TOKEN": "hf_verysecret", "MY_PASSWORD": "pa55"})
    assert done.returncode == 0
    job = done.stdout.strip()
    kept = b"".join(path.read_bytes() for path in desk.cluster.root.glob(f"state/hash*/job.{job}/*"))
    assert kept
    assert b"hf_verysecret" not in kept + done.stdout.encode() + done.stderr.encode()
    shown = desk.submit("--dry-run", env={"HF_TOKEN": "hf_verysecret"})
    assert "HF_TOKEN" in shown.stdout
    assert "hf_verysecret" not in shown.stdout + shown.stderr


def test_a_dry_run_shows_the_script_and_changes_nothing(desk: Desk) -> None:
    before = sorted(map(str, desk.folder.rglob("*")))
    done = desk.submit("--dry-run", "--time", "1:00", env={"SBATCH_PARTITION": "main", "NNODES": "3"})
    assert done.returncode == 0, done.stderr
    assert "#!/bin/bash" in done.stdout
    assert "# $SBATCH_PARTITION" in done.stdout
    assert "nnodes = 3" in done.stdout
    assert "--time=1:00" in done.stdout
    assert "slurm.toml:6 exclusive" in done.stdout
    assert sorted(map(str, desk.folder.rglob("*"))) == before
    assert not desk.cluster.run("squeue", "-h").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--partition", "closed"], 4, "--partition: partition closed is down; the job would never start"),
        (["--partition", "shrt"], 4, "there is no partition shrt. Did you mean short?"),
        (["--nnodes", "5"], 4, "--nnodes 5: partition main has 4 nodes"),
        (["--partition", "short", "--time", "2:00"], 4, "--time 2:00: partition short allows at most 1:00"),
        (["--set", "stepz=3"], 3, "Did you mean steps?"),
        (["--time", "soon"], 2, "--time 'soon': expected minutes"),
        (["--resume"], 4, "has no checkpoint to resume from"),
        (["--setup", "no.sh"], 4, "--setup no.sh: there is no such file here"),
        (["--nodelist", "n99"], 5, "--nodelist or --exclude: a node that this cluster does not have"),
        (["--reservation", "nobodys"], 5, "--reservation: it does not exist, is over, or is not yours"),
        (["--sbatch-arg=--no-such-option"], 5, "does not know"),
    ],
)
def test_what_can_not_run_is_refused_and_leaves_nothing(
    desk: Desk, arguments: list[str], status: int, text: str
) -> None:
    done = desk.submit(*arguments)
    assert text in done.stderr
    assert done.returncode == status
    assert not (desk.folder / "output").exists()
    assert not desk.cluster.run("squeue", "-h").stdout


def test_a_refusal_leaves_other_runs_alone(desk: Desk) -> None:
    assert desk.submit("--wait").returncode == 0
    assert desk.submit("--nodelist", "n99").returncode == 5
    assert read(desk.run() / "status.json")["state"] == "succeeded"


def test_without_slurm_the_error_says_where_to_go(desk: Desk) -> None:
    done = desk.submit(env={"PATH": "/nonexistent"})
    assert done.returncode == 4
    assert "sinfo is not on the PATH" in done.stderr


def test_a_job_waits_for_another_one(desk: Desk) -> None:
    first = desk.submit("--parsable", *sets(steps=2, step_seconds=0.5))
    done = desk.submit("--wait", "--dependency", f"afterok:{first.stdout.strip()}", "--set", "exp_name=after")
    assert done.returncode == 0, done.stderr
    assert read(desk.run() / "status.json")["state"] == "succeeded"


def test_a_dependency_that_slurm_does_not_know_is_a_warning(desk: Desk) -> None:
    done = desk.submit("--dependency", "afterok:99999", "--wait")
    assert done.returncode == 0
    assert "--dependency: SLURM does not know job 99999" in done.stderr


def test_waiting_ends_when_a_dependency_can_not_be_fulfilled(desk: Desk) -> None:
    first = desk.submit("--parsable", "--set", "fail_rank=0")
    done = desk.submit("--wait", "--dependency", f"afterok:{first.stdout.strip()}", "--set", "exp_name=after")
    assert done.returncode == 5
    assert "will never start: the job that it depends on did not end as it has to" in done.stderr


def test_a_cancelled_job_ends_the_wait(desk: Desk) -> None:
    command = [sys.executable, "-m", "primus", "slurm", "submit", "--exp", "toy.yaml", "--gpus-per-node", "0", "--wait"]
    with subprocess.Popen(
        [*command, *sets(steps=1000, step_seconds=0.1)],
        cwd=desk.folder,
        env=desk.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        desk.cluster.wait_for(lambda: any(run.glob("seen*") for run in desk.runs()), "the training")
        desk.cluster.wait_for((desk.run() / "seen-rank0.json").exists, "the training")
        desk.cluster.run("scancel", read(desk.run() / "slurm.json")["job"])
        assert waiting.wait(240) == 128 + signal.SIGTERM
        assert waiting.stderr is not None
        assert "was cancelled" in waiting.stderr.read()


def test_in_the_foreground_the_output_is_here_and_the_status_too(desk: Desk) -> None:
    done = desk.submit("--interactive", "--nnodes", "2", "--nproc-per-node", "1")
    assert done.returncode == 0, done.stderr
    assert "step 3/3  loss 1.3333" in done.stdout
    record = read(desk.run() / "slurm.json")
    assert record["job"].isdigit()
    failed = desk.submit("--interactive", "--set", "fail_rank=0", "--set", "exp_name=bad")
    assert failed.returncode == 7


def test_the_code_that_was_submitted_runs(desk: Desk) -> None:
    (desk.folder / "mine.py").write_text("VERSION = 'submitted'\n")
    (desk.folder / ".gitignore").write_text("output/\ndata/\n")
    (desk.folder / "data").mkdir()
    (desk.folder / "data/corpus").write_text("text")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=desk.folder, check=True)
    (desk.folder / "new.py").write_text("")
    (desk.folder / "setup.sh").write_text(
        "sleep 1\npython3 -c 'import mine; print(mine.VERSION)' >seen.txt\ncat data/corpus >>seen.txt\n"
    )
    done = desk.submit("--snapshot", "--setup", "setup.sh", "--parsable")
    assert done.returncode == 0, done.stderr
    (desk.folder / "mine.py").write_text("VERSION = 'changed later'\n")
    desk.cluster.wait_for(lambda: desk.cluster.job_state(done.stdout.strip()) == "COMPLETED", "the job")
    code = desk.run() / "slurm/code"
    assert (code / "seen.txt").read_text() == "submitted\ntext"
    assert (code / "new.py").exists()
    assert read(desk.run() / "seen-rank0.json")["directory"] == str(code)
    assert not (desk.folder / "seen.txt").exists()


def test_variables_of_the_original_scripts_stand_in_for_options(desk: Desk) -> None:
    environment = {"EXP": "toy.yaml", "NNODES": "2", "GPUS_PER_NODE": "1", "MASTER_PORT": "23456", "LOG_DIR": "logs"}
    done = desk.primus("slurm", "submit", "--wait", env=environment)
    assert done.returncode == 0, done.stderr
    run = desk.run()
    seen = read(run / "seen-rank1.json")
    assert (seen["world_size"], seen["environment"]["MASTER_PORT"]) == (2, "23456")
    assert "step 3/3" in (desk.folder / "logs" / f"toy-{run.name}" / "node0.log").read_text()


def test_a_failing_setup_file_ends_the_job_with_its_reason(desk: Desk) -> None:
    (desk.folder / "setup.sh").write_text("false\n")
    assert desk.submit("--setup", "setup.sh", "--wait").returncode == 4
    assert "the setup file left with status 1" in (desk.run() / "slurm/logs/job.log").read_text()


def test_many_submissions_at_once(desk: Desk) -> None:
    environment = desk.environment
    command = [sys.executable, "-m", "primus", "slurm", "submit", "--exp", "toy.yaml", "--parsable", "--no-exclusive"]
    hold = ["--gpus-per-node", "0", "--sbatch-arg=--hold", "--mem", "10M"]
    started = [
        subprocess.Popen(
            [*command, *hold, "--set", f"exp_name=toy{number}"],
            cwd=desk.folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(20)
    ]
    jobs = {process.communicate(timeout=240)[0].strip() for process in started}
    assert {process.returncode for process in started} == {0}
    assert len(jobs) == 20
    assert len(desk.cluster.run("squeue", "-h", "-t", "PD").stdout.splitlines()) == 20
