"""`primus slurm submit` up to SLURM itself, for which a few lines of shell stand; the real one: tests/real/slurm/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENT = (
    (Path(__file__).parent / "test_train.py").read_text().partition('EXPERIMENT = """\\\n')[2].partition('"""')[0]
)

SINFO = """\
echo 'main*|up|2-00:00:00|6|idle|128|1024000|gpu:mi300x:8|mi300x'
echo 'old|down|infinite|3|idle|32|128000|(null)|(null)'
"""


@pytest.fixture
def desk(tmp_path):
    """A folder with toy.yaml, and a SLURM that writes down how it is called."""
    programs = {
        "sinfo": SINFO,
        "sbatch": f'printf "%s\\0" "$@" >{tmp_path}/called\nenv -0 >{tmp_path}/env\necho "42;big"',
    }
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work/toy.yaml").write_text(EXPERIMENT)
    return tmp_path


@pytest.fixture
def submit(desk):
    def run(*arguments, exp="toy.yaml", **environment):
        given = {"PATH": f"{desk}/bin:/usr/bin:/bin", "HOME": str(desk), "USER": "me", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "primus", "slurm", "submit", *(["--exp", exp] if exp else []), *arguments]
        return subprocess.run(
            command, cwd=desk / "work", env=given | environment, capture_output=True, text=True, check=False
        )

    return run


def test_the_job_is_handed_to_sbatch(submit, desk):
    done = submit("--nnodes", "2", "--gpus-per-node", "1", "--set", "transformer_impl=local", "--json", HF_TOKEN="hf_x")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["job"], answer["cluster"]) == ("42", "big")
    called = (desk / "called").read_text().split("\0")
    assert {"--parsable", "--nodes=2", "--gpus-per-node=1", "--exclusive", "--job-name=toy"} <= set(called)
    assert "HF_TOKEN" not in (desk / "env").read_text()
    run = Path(answer["runs"][0]["run"])
    assert "export HF_TOKEN=hf_x\n" in (run / "slurm/environment.sh").read_text()
    assert json.loads((run / "slurm.json").read_text())["cluster"] == "big"


def test_only_the_id_is_printed_when_asked_for(submit):
    assert submit("--gpus-per-node", "0", "--parsable").stdout == "42\n"


def test_all_kinds_of_problems_are_told_at_once(submit, desk):
    done = submit("--partition", "old", "--set", "micro_batch_szie=4", "--setup", "no.sh")
    assert done.returncode == 3
    for text in ("Did you mean micro_batch_size?", "partition old is down", "--setup no.sh: there is no such file"):
        assert text in done.stderr
    assert not (desk / "called").exists()
    assert not (desk / "work/output").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--wait", "--interactive"], "exclude each other"),
        (["--parsable", "--json"], "--parsable and --json exclude each other"),
        (["--array", "lr=1,2", "--follow"], "--array has several runs, --follow shows one"),
        (["--array", "lr"], "expected KEY=VALUE,VALUE"),
        (["--sbatch-arg=--export=NONE"], "the environment goes through a file of the run"),
    ],
)
def test_wrong_usage_is_said(submit, arguments, text):
    done = submit(*arguments)
    assert text in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--exp", "toy.yaml"], "--doctor examines nodes and trains nothing, so it takes no --exp"),
        (["--set", "lr=1", "--array", "lr=1,2", "--backend", "megatron"], "takes no --backend, --set, --array"),
        (["--image", "x", "--mount", "/a", "--container", "podman"], "takes no --image, --container, --mount"),
        (["--no-resume", "--tune-stage", "1", "--snapshot"], "takes no --snapshot, --tune-stage, --resume/--no-resume"),
        (["--chain", "2", "--max-requeues", "1", "--save-before", "9"], "no --max-requeues, --chain, --save-before"),
        (
            ["--max-restarts", "1", "--stall-timeout", "9", "--grace", "3"],
            "no --stall-timeout, --max-restarts, --grace",
        ),
        (["--exclude-failed-nodes", "--on-stall", "kill"], "takes no --on-stall, --exclude-failed-nodes"),
    ],
)
def test_what_only_a_training_has_is_refused_with_doctor(submit, desk, arguments, text):
    done = submit("--doctor", *arguments, exp=None)
    assert text in done.stderr
    assert done.returncode == 2
    assert not (desk / "called").exists()


def test_what_only_an_examination_has_is_refused_without_doctor(submit):
    done = submit("--full", "--workspace", "out", "--data", "d", "--step-timeout", "9")
    assert "--full, --workspace, --data, --step-timeout: only together with --doctor" in done.stderr
    assert done.returncode == 2


def test_an_examination_needs_no_experiment_and_says_what_it_does_not_use(submit, desk):
    (desk / "site.toml").write_text('image = "registry/train:1"\nmax_requeues = 5\nsave_before = 60\n')
    variables = {"EXP": "toy.yaml", "DOCKER_IMAGE": "x", "PRIMUS_SLURM_CONFIG": str(desk / "site.toml")}
    done = submit("--doctor", "--nnodes", "2", "--gpus-per-node", "1", "--full", "--json", exp=None, **variables)
    assert done.returncode == 0, done.stderr
    assert "Warning: not used by --doctor: $EXP, $DOCKER_IMAGE" in done.stderr
    assert f"{desk}/site.toml:1 image: the nodes are examined outside of any container" in done.stderr
    answer = json.loads(done.stdout)
    run = desk / "work/output/doctor/runs" / Path(answer["runs"][0]["run"]).name
    assert (answer["runs"][0]["run"], answer["page"]) == (str(run), f"{run}/doctor/report.html")
    called = (desk / "called").read_text().split("\0")
    assert {"--nodes=2", "--job-name=doctor", "--no-requeue"} <= set(called)
    assert not [word for word in called if word.startswith("--signal")]
    assert (
        f"doctor --workspace {desk}/work/output --full --rendezvous-timeout 120.0)"
        in (run / "slurm/job.sh").read_text()
    )
    assert not (run / "slurm/experiment.yaml").exists()


def test_an_examination_is_checked_against_the_cluster_as_well(submit):
    done = submit("--doctor", "--partition", "old", "--nnodes", "9", exp=None)
    assert "partition old is down" in done.stderr
    assert done.returncode == 4


def test_a_dry_run_changes_nothing_and_says_the_same_twice(submit, desk):
    before = sorted(desk.rglob("*"))
    first, second = (submit("--gpus-per-node", "0", "--dry-run") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert sorted(desk.rglob("*")) == before


def test_a_dry_run_works_where_slurm_is_not(submit):
    done = submit("--dry-run", PATH="/nonexistent")
    assert done.returncode == 0
    assert "Warning: not checked against the cluster: sinfo is not on the PATH" in done.stderr


def test_a_sites_file_counts_and_is_named(submit, desk):
    (desk / "site.toml").write_text('partition = "old"\n')
    done = submit("--dry-run", PRIMUS_SLURM_CONFIG=str(desk / "site.toml"))
    assert done.returncode == 4
    assert f"{desk}/site.toml:1 partition: partition old is down" in done.stderr


def test_options_of_the_training_are_passed_on_to_it(submit, desk):
    (desk / "site.toml").write_text('image = "registry/train:1"\n')
    given = (
        "--mount",
        "/a b",
        "--mount",
        "/c",
        "--privileged",
        "--max-restarts",
        "3",
        "--tune-stage",
        "1",
        "--no-resume",
    )
    done = submit(*given, "--dry-run", PRIMUS_SLURM_CONFIG=str(desk / "site.toml"))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("train=(")]
    assert line.endswith(
        " train --image registry/train:1 --privileged --mount '/a b' --mount /c --tune-stage 1 --max-restarts 3 "
        "--no-resume)"
    )


PROBE = """
import sys
from primus.cli import main
sys.argv = ["primus", "slurm", "submit", "--exp", "toy.yaml", "--gpus-per-node", "0"]
try:
    main()
except SystemExit:
    print(*sys.modules)
"""


def test_a_login_node_imports_nothing_heavy(desk):
    environment = {"PATH": f"{desk}/bin:/usr/bin:/bin", "HOME": str(desk), "USER": os.environ.get("USER", "me")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=desk / "work", env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "primus.launch.slurm.submit" in loaded
    assert not loaded & {"torch", "numpy", "megatron.core", "torchtitan", "rich", "pydantic", "primus.launch.local"}


def test_a_secret_in_the_experiment_is_in_the_environment_file_only(submit, desk):
    secret = "hf_" + "a1B2" * 8

    done = submit("--nnodes", "2", "--gpus-per-node", "1", "--set", f"wandb_project={secret}", "--json")

    assert done.returncode == 0, done.stderr
    holders = [path for path in desk.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")]
    assert [path.name for path in holders] == ["environment.sh"]
    assert secret not in done.stdout + done.stderr
