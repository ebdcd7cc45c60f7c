"""`primus tune`: which commands its stages become, and what it refuses. The stages themselves: tests/tuning/ and
tests/real/tuning/test_chain.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from primus.commands.tune.given import Wish
from primus.commands.tune.kubernetes import connection, kubernetes_words
from primus.commands.tune.run import slurm_words, train_words
from primus.errors import UsageError
from primus.tuning.shapes import read_shapes

SBATCH = """\
echo "$@" >>{folder}/submitted
number=$(wc -l <{folder}/submitted)
echo "10$number"
"""


@pytest.fixture
def primus(tmp_path):
    """Runs `primus` where a few lines of shell stand for SLURM."""
    programs = {
        "sinfo": "echo 'main*|up|2-00:00:00|6|idle|128|1024000|gpu:mi300x:8|mi300x'",
        "sbatch": SBATCH.format(folder=tmp_path),
        "squeue": "echo known",
    }
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "USER": "me"} | environ
        command = [sys.executable, "-m", "primus", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)

    return run


def wish(**changes) -> Wish:
    given = {"exp": "x.yaml", "options": {}, "variables": {}, "more": (), "dry_run": False}
    return Wish(**{**given, **changes})


def test_a_stage_here_is_a_training_with_that_stage():
    asked = wish(
        options={"sets": ("lr=1", "seed=2"), "nproc_per_node": 2, "privileged": True}, more=("--on-stall", "abort")
    )
    assert train_words(asked, 3) == [
        *("--exp", "x.yaml", "--tune-stage", "3"),
        *("--set", "lr=1", "--set", "seed=2", "--nproc-per-node", "2", "--privileged", "--on-stall", "abort"),
    ]


def test_jobs_wait_for_the_stage_before_and_stage_2_has_one_node():
    asked = wish(options={"nnodes": 4}, more=("--partition", "main"))
    first, second, third = slurm_words(asked, 1), slurm_words(asked, 2, after="7"), slurm_words(asked, 3, after="8;big")
    assert first[4:] == ["--nnodes", "4", "--partition", "main"]
    assert second[4:] == ["--nnodes", "1", "--dependency", "afterok:7", "--partition", "main"]
    assert third[4:] == ["--nnodes", "4", "--dependency", "afterany:8", "--partition", "main"]


def test_a_workload_is_told_what_the_environment_tells_a_job(monkeypatch):
    monkeypatch.setenv("PRIMUS_MODEL", "seven")
    asked = wish(
        options={"nproc_per_node": 8}, variables={"PRIMUS_TUNE_ITERS": "3"}, more=("--url", "u", "create", "--cpu", "9")
    )
    assert kubernetes_words(asked, 1) == [
        *("--url", "u", "create", "--exp", "x.yaml", "--tune-stage", "1", "--gpu", "8"),
        *("--env", "PRIMUS_TUNE_ITERS=3", "--env", "PRIMUS_MODEL=seven", "--cpu", "9"),
    ]


@pytest.mark.parametrize("target", ["slurm", "k8s"])
def test_a_target_refuses_what_it_decides_itself(target):
    words = {"slurm": slurm_words, "k8s": kubernetes_words}[target]
    with pytest.raises(UsageError, match=f"--node-rank: not with --target {target}"):
        words(wish(options={"node_rank": 1}), 1)


def test_three_jobs_are_submitted_that_wait_for_each_other(primus, tmp_path):
    done = primus(
        *(
            "tune",
            "--stage",
            "all",
            "--target",
            "slurm",
            "--exp",
            "llama3_8B",
            "--nnodes",
            "2",
            "--set",
            "mock_data=true",
        ),
        *("--set", "transformer_impl=local", "--set", "tokenizer_type=NullTokenizer", "--", "--gpus-per-node", "8"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Stage 1: job 101", "Stage 2: job 102", "Stage 3: job 103"]
    jobs = (tmp_path / "submitted").read_text().splitlines()
    assert ["--nodes=2" in job for job in jobs] == [True, False, True]
    assert ["--dependency=afterok:101" in jobs[1], "--dependency=afterany:102" in jobs[2]] == [True, True]


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (("create",), "/output, and no --volume holds that in the pods"),
        (("create", "--volume", "pvc:data:/elsewhere"), "Name a storage that all of them share"),
        (("create", "--workdir", "/data/me", "--volume", "pvc:data:/data:ro"), "mounts /data with `:ro`"),
    ],
)
def test_all_stages_on_a_cluster_want_a_storage_that_they_share(primus, create, message):
    asked = ("tune", "--stage", "all", "--target", "k8s", "--exp", "llama3_8B")
    done = primus(*asked, "--", "--context", "c", *create)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_whoever_waits_for_a_stage_looks_where_it_was_created():
    create = ("create", "--workspace=team", "--volume", "pvc:data:/", "--", "--workspace", "no")
    asked = wish(exp="llama3_8B", more=("--context", "c", *create))
    assert connection(asked) == ["--context", "c", "--namespace", "team"]
    assert connection(wish(more=("--url", "u", "create", "--workspace", "team"))) == ["--url", "u"]


def test_all_stages_on_several_nodes_are_refused_where_nobody_puts_them_in_order(primus):
    done = primus("tune", "--stage", "all", "--exp", "llama3_8B", NNODES="2")
    assert done.returncode == 2
    assert "Run --stage 1 on all nodes, --stage 2 on the first, --stage 3 on all" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--stage is missing: expected 1, 2, 3, all"),
        (("--stage", "4"), "--stage 4: expected 1, 2, 3, all"),
        (("--stage", "1"), "--exp FILE is missing"),
        (("--stage", "1", "--target", "slum"), "Did you mean slurm?"),
        (("--stage", "1", "shapes", "--exp", "llama3_8B"), "--stage 1 and the command shapes: give one of the two"),
    ],
)
def test_a_command_line_that_means_nothing_is_refused(primus, arguments, message):
    done = primus("tune", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_predicted_shapes_are_shown_and_written_for_stage_2(primus, tmp_path):
    shown = primus("tune", "shapes", "--exp", "llama3_8B", "--nproc-per-node", "8", "-o", "shapes.jsonl", "--json")
    assert shown.returncode == 0, shown.stderr
    listed = json.loads(shown.stdout)["shapes"]
    assert len(read_shapes(tmp_path / "shapes.jsonl").uses) == len(listed) == 15
    assert sum(each["flops_share"] for each in listed) == pytest.approx(1)


def test_stage_1_shows_its_variables_with_their_reasons_in_a_dry_run(primus, tmp_path):
    shown = primus(
        *("tune", "--stage", "1", "--exp", "megatron/tiny_llama", "--dry-run"),
        PRIMUS_MODEL="seven",
        HIPBLASLT_LOG_LEVEL="2",
        OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"),
    )
    assert shown.returncode == 0, shown.stderr
    folder = tmp_path / "output" / "tune_hipblaslt" / "seven"
    assert f"HIPBLASLT_LOG_FILE={folder}/gemm_shape/node0/gemm_%i.txt" in shown.stdout
    assert "# tuning, stage 1: one file for each process" in shown.stdout
    assert "HIPBLASLT_LOG_LEVEL  # where it is set, even to 0" in shown.stdout
    assert not Path(tmp_path / "output").exists()


def test_the_variables_of_the_guide_mean_a_stage(primus):
    missing = primus("train", "--exp", "megatron/tiny_llama", PRIMUS_HIPBLASLT_TUNING_STAGE="2", PRIMUS_MODEL="seven")
    assert missing.returncode == 4
    assert "output/tune_hipblaslt/seven/gemm_shape/gemm_shapes.jsonl is not there: run stage 1 first" in missing.stderr


def test_stage_2_takes_one_node_whatever_the_layout_needs(primus, tmp_path):
    given = ("--exp", "llama3_8B", "--set", "mock_data=true", "--set", "transformer_impl=local")
    wide = ("--set", "tokenizer_type=NullTokenizer", "--set", "pipeline_model_parallel_size=16")
    asked = ("slurm", "submit", *given, *wide, "--gpus-per-node", "8", "--nnodes", "2")
    assert primus(*asked, "--tune-stage", "2").returncode == 0
    assert "--nodes=1" in (tmp_path / "submitted").read_text()
