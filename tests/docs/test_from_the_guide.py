"""docs/from-the-guide.md: every command of the original guide and every variable of its scripts is there, and what
stands beside it works. Training is run dry, Kubernetes is a stand-in for its server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safe_server import OLD, SafeServer, serving

from primus.errors import ExitStatus

PAGE = (Path(__file__).parents[2] / "docs/from-the-guide.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
OURS = {command: row[0] for row in ROWS if len(row) == 2 for command in re.findall(r"`(primus [^`]+)`", row[1])}

GUIDE = (
    "docker pull",
    "git clone --recurse-submodules",
    "git submodule update --init --recursive",
    "pip install -r requirements.txt",
    "pre-commit install",
    "BACKEND=megatron EXP=examples/megatron/configs/llama3_8B-pretrain.yaml bash ./examples/run_local_pretrain.sh",
    "BACKEND=torchtatin EXP=examples/torchtitan/configs/llama3_8b.toml bash ./examples/run_local_pretrain.sh",
    "bash tools/docker/start_container.sh",
    "docker exec -it dev_primus bash",
    "BACKEND=megatron EXP=examples/megatron/configs/llama3_8B-pretrain.yaml bash ./examples/run_pretrain.sh",
    "BACKEND=torchtatin EXP=examples/torchtitan/configs/llama3_8b.toml bash ./examples/run_pretrain.sh",
    "EXP=examples/megatron/configs/<model_config> bash ./examples/run_local_pretrain.sh",
    "export DOCKER_IMAGE=",
    "export NNODES=8",
    "BACKEND=megatron EXP=examples/megatron/configs/llama3_8B-pretrain.yaml bash ./examples/run_slurm_pretrain.sh",
    "BACKEND=torchtatin EXP=examples/torchtitan/configs/llama3_8b.toml bash ./examples/run_slurm_pretrain.sh",
    "BACKEND=megatron EXP=examples/megatron/configs/llama2_7B-pretrain.yaml bash ./examples/run_slurm_pretrain.sh",
    "export PRIMUS_HIPBLASLT_TUNING_STAGE=${PRIMUS_HIPBLASLT_TUNING_STAGE:-0}",
    "PRIMUS_HIPBLASLT_TUNING_STAGE=1",
    "PRIMUS_HIPBLASLT_TUNING_STAGE=2",
    "PRIMUS_HIPBLASLT_TUNING_STAGE=3",
    "export EXP=examples/megatron/configs/llama2_7B-pretrain.yaml",
    "NNODES=1 bash ./examples/run_slurm_pretrain.sh",
    *(f"run_k8s_pretrain.sh --url http://api.example.com {verb}" for verb in ("create", "get", "delete", "list")),
    "run_k8s_pretrain.sh --url http://api.example.com nodes",
)

VARIABLES = {
    "EXP": ("llama3_8B", "Experiment: llama3_8B"),
    "BACKEND": ("torchtatin", "Did you mean torchtitan?"),
    "NNODES": ("4", "4 nodes need --master-addr"),
    "NODE_RANK": ("3", "--node-rank 3: there is one node"),
    "GPUS_PER_NODE": ("2", "with 2 each"),
    "MASTER_ADDR": ("10.0.0.9", "Rendezvous: 10.0.0.9"),
    "MASTER_PORT": ("4321", "port 4321"),
    "DOCKER_IMAGE": ("reg/image:1", "reg/image:1"),
    "DATA_PATH": ("/", "HF_HOME=//huggingface"),
    "PRIMUS_HIPBLASLT_TUNING_STAGE": ("1", "Experiment: llama3_8B-gemm-shapes"),
    "LOCAL_RANKS_FILTER": ("x", "LOCAL_RANKS_FILTER"),
    "MEGATRON_PATH": ("/nowhere", "MEGATRON_PATH"),
}
"""Each variable with a value, and what a dry run says with it."""

ELSEWHERE = {"HF_TOKEN", "PRIMUS_*", "PRIMUS_MODEL", "TORCHTITAN_PATH", "LOG_DIR"}


@pytest.fixture
def primus(tmp_path: Path):
    """Runs a command line in an empty folder, with no variable of the scripts but those that are given."""
    clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "primus", *words], cwd=tmp_path, env={**clean, "HOME": str(tmp_path), **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("command", GUIDE)
def test_a_command_of_the_guide_is_in_a_table(command: str) -> None:
    assert any(command in row[0] for row in ROWS)


@pytest.mark.parametrize("command", [each for each in OURS if " k8s " not in each])
def test_the_command_beside_it_works(command: str, primus, tmp_path: Path) -> None:
    dry = [] if command == "primus models" else ["--dry-run"]

    done = primus(*command.split()[1:], *dry)

    if command.startswith("primus tune --stage 3"):  # only with the file of stage 2
        assert (done.returncode, "tune_hipblas_gemm_results.txt" in done.stderr) == (ExitStatus.MISSING, True)
    else:
        assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_the_commands_for_kubernetes_work_one_after_another(primus) -> None:
    commands = [each for each in OURS if " k8s " in each]
    id = "abc123"
    with serving(SafeServer(OLD, workspaces=("team-dev",))) as server:
        for command in commands:
            words = command.replace("http://api.example.com", server.url).replace("abc123", id).split()[1:]
            done = primus(*words)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            id = json.loads(done.stdout)["workloadId"] if "create" in words else id
    assert len(commands) == 5


def test_every_variable_of_the_scripts_is_in_the_table() -> None:
    listed = {row[0].strip("`") for row in ROWS if re.fullmatch(r"`[A-Z][A-Z_*]+`", row[0])}
    assert listed == VARIABLES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_the_scripts_still_works(name: str, primus) -> None:
    value, expected = VARIABLES[name]
    needed = {"EXP": "llama3_8B", "BACKEND": "megatron"}
    if name == "MASTER_ADDR":
        needed |= {"NNODES": "2", "MASTER_PORT": "29500"}

    done = primus("train", "--dry-run", **{**needed, name: value})

    assert expected in done.stdout + done.stderr


def test_a_token_is_passed_into_a_container_and_not_shown(primus) -> None:
    variables = {"HF_TOKEN": "hf_" + "s3cr3t" * 6, "PRIMUS_ANY": "1"}
    done = primus("train", "--exp", "llama3_8B", "--image", "x", "--dry-run", **variables)
    assert "HF_TOKEN=" in done.stdout
    assert "PRIMUS_ANY=1" in done.stdout
    assert "s3cr3t" not in done.stdout


def test_the_model_variable_names_the_folder_of_the_tuning(primus, tmp_path: Path) -> None:
    done = primus("tune", "--stage", "2", "--exp", "llama2_7B", "--dry-run", PRIMUS_MODEL="mine")
    assert f"{tmp_path}/output/tune_hipblaslt/mine/gemm_shape" in done.stdout


def test_the_log_folder_of_slurm_is_taken_from_its_variable(primus) -> None:
    done = primus("slurm", "submit", "--exp", "llama3_8B", "--dry-run", LOG_DIR="/logs/here")
    assert "/logs/here" in done.stdout
