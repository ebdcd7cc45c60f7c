"""`primus train` up to the point where workers start; the training itself is under tests/real/."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

EXPERIMENT = """\
work_group: us
user_name: me
exp_name: toy
workspace: ${WORKSPACE:./output}
modules:
  pre_trainer:
    framework: megatron
    overrides:
      train_iters: 5
      num_layers: 2
      hidden_size: 64
      num_attention_heads: 4
      seq_length: 32
      max_position_embeddings: 32
      micro_batch_size: 2
      global_batch_size: 4
      mock_data: true
      tokenizer_type: NullTokenizer
      vocab_size: 256
      lr: 1e-3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "toy.yaml").write_text(EXPERIMENT)
    return tmp_path / "work"


@pytest.fixture
def train(folder, tmp_path):
    """Runs `primus train` in a folder with toy.yaml, without any variable of the original scripts."""
    names = ["EXP", "BACKEND", "NNODES", "NODE_RANK", "GPUS_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "DATA_PATH"]
    clean = {name: value for name, value in os.environ.items() if name not in names}
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    clean |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "primus", "train", *arguments],
            cwd=folder,
            env=clean | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def snapshot(root: Path):
    """Every file below a folder with its size and times."""
    return {
        str(path.relative_to(root)): (path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in [root, *root.rglob("*")]
    }


def test_a_dry_run_shows_the_job_and_changes_nothing(train, tmp_path):
    before = snapshot(tmp_path)
    done = train("--exp", "toy.yaml", "--dry-run")
    assert done.returncode == 0
    assert "Experiment: toy (megatron)" in done.stdout
    assert "Steps:      5" in done.stdout
    assert f"{tmp_path}/work/output/us/me/toy/runs/TIME-ID/experiment.yaml" in done.stdout
    assert snapshot(tmp_path) == before


def test_a_dry_run_says_the_same_twice(train):
    assert train("--exp", "toy.yaml", "--dry-run").stdout == train("--exp", "toy.yaml", "--dry-run").stdout


PROBE = """
import os, sys
before = dict(os.environ)
from primus.cli import main
sys.argv = ["primus", "train", "--exp", "toy.yaml", "--dry-run"]
try:
    main()
except SystemExit:
    assert dict(os.environ) == before
    print(*sys.modules)
"""


def test_a_dry_run_imports_nothing_heavy_and_leaves_the_environment_alone(folder):
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=folder, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {"torch", "numpy", "megatron.core", "torchtitan", "rich", "pydantic", "importlib.metadata"}
    assert "primus.launch.dry_run" in loaded
    assert not loaded & heavy
    assert not loaded & {"primus.launch.local", "primus.backends.worker", "primus.backends.torchtitan"}


def test_a_dry_run_needs_no_package_of_the_backend(folder, tmp_path):
    light = tmp_path / "light"
    light.mkdir()
    (light / "sitecustomize.py").write_text(
        "import primus.backends.registry as registry\nregistry._is_installed = lambda package: False\n"
    )
    argv = [sys.executable, "-m", "primus", "train", "--exp", "toy.yaml"]
    environment = os.environ | {"PYTHONPATH": str(light)}
    run = partial(subprocess.run, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    dry, wet = run([*argv, "--dry-run"]), run(argv)
    assert dry.returncode == 0
    assert "Warning: the megatron backend needs what is not installed here: torch" in dry.stderr
    assert wet.returncode == 4
    assert "Error: the megatron backend needs what is not installed here: torch" in wet.stderr
    assert not (folder / "output").exists()


def test_an_option_changes_a_value(train):
    assert "Steps:      7" in train("--exp", "toy.yaml", "--set", "train_iters=7", "--dry-run").stdout


def test_the_variables_of_the_original_stand_in_for_the_options(train):
    done = train(
        *("--dry-run", "--set", "global_batch_size=8"),
        EXP="toy.yaml",
        BACKEND="megatron",
        NNODES="2",
        NODE_RANK="1",
        GPUS_PER_NODE="2",
        MASTER_ADDR="node-a",
        MASTER_PORT="2222",
        DATA_PATH="/data",
    )
    assert "Processes:  4 on cpu: 2 nodes with 2 each" in done.stdout
    assert "Rendezvous: node-a, port 2222" in done.stdout
    assert "HF_HOME=/data/huggingface" in done.stdout


def test_an_option_wins_over_its_variable(train):
    done = train("--exp", "toy.yaml", "--nproc-per-node", "1", "--dry-run", EXP="no.yaml", GPUS_PER_NODE="64")
    assert "Processes:  1 on cpu" in done.stdout


@pytest.mark.parametrize("variables", [{}, {"GPUS_PER_NODE": "auto"}])
def test_auto_is_a_process_for_each_device_here(train, variables):
    words = [] if variables else ["--nproc-per-node", "auto"]
    assert "Processes:  1 on cpu" in train("--exp", "toy.yaml", *words, "--dry-run", **variables).stdout


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_that_cannot_be_is_refused(train, number):
    done = train("--exp", "toy.yaml", "--nproc-per-node", number, "--dry-run")
    assert done.returncode == 2
    assert f"'{number}' is neither a number, 1 or more, nor auto" in " ".join(done.stderr.split())


def test_an_empty_variable_is_not_set(train):
    names = ("BACKEND", "NNODES", "NODE_RANK", "GPUS_PER_NODE", "MASTER_ADDR", "MASTER_PORT")
    done = train("--exp", "toy.yaml", "--dry-run", **dict.fromkeys(names, ""))
    assert "Rendezvous: 127.0.0.1, port taken when it starts" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--exp", "no.yaml"], 4, "there is no file no.yaml"),
        (["--exp", "toy.yaml", "--set", "micro_batch_szie=4"], 3, "Did you mean micro_batch_size?"),
        (["--exp", "toy.yaml", "--set", "train_iters=many"], 3, "train_iters"),
        (["--exp", "toy.yaml", "--set", "tensor_model_parallel_size=2"], 3, "tensor_model_parallel_size"),
        (["--exp", "toy.yaml", "--backend", "torchtatin"], 2, "torchtatin"),
        (["--exp", "toy.yaml", "--ranks", "0,3"], 2, "--ranks 3: the ranks are only 0"),
        (["--from-run", "no"], 4, "--from-run no: there is no such directory"),
        (["--dry-run"], 2, "--exp FILE is missing"),
        (["--exp", "toy.yaml", "--node-rank", "1"], 2, "--node-rank 1: there is one node"),
        (["--exp", "toy.yaml", "--nnodes", "2"], 2, "2 nodes need --master-addr and --master-port"),
        (["--exp", "toy.yaml", "--resume"], 4, "has no checkpoint to resume from"),
    ],
)
def test_bad_input_is_said_before_anything_is_made(train, folder, arguments, status, text):
    done = train(*arguments)
    assert text in done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert not (folder / "output").exists()


def test_a_log_size_that_is_none_is_said_at_once(train, folder):
    done = train("--exp", "toy.yaml", PRIMUS_LOG_MAX_BYTES="1 gig")
    assert done.returncode == 2
    assert "PRIMUS_LOG_MAX_BYTES=1 gig: expected a size in bytes" in done.stderr
    assert not (folder / "output").exists()


def test_all_problems_are_said_at_once(train):
    done = train("--exp", "toy.yaml", "--set", "micro_batch_szie=4", "--set", "log_interval=often")
    assert done.returncode == 3
    assert "micro_batch_szie" in done.stderr
    assert "log_interval" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_misspelt_framework_of_the_file_is_a_problem_of_the_experiment(train, folder):
    (folder / "toy.yaml").write_text(EXPERIMENT.replace("megatron", "megatorn"))
    done = train("--exp", "toy.yaml")
    assert done.returncode == 3
    assert "toy.yaml:7: " in done.stderr
    assert "Did you mean megatron?" in done.stderr


def test_a_port_in_use_is_said_before_anything_is_made(train, folder):
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
        done = train("--exp", "toy.yaml", "--master-port", port)
    assert done.returncode == 4
    assert f"--master-port {port}: another process of this machine uses it" in done.stderr
    assert not (folder / "output").exists()


def test_several_nodes_on_localhost_are_refused_at_once(train, folder):
    done = train("--exp", "toy.yaml", "--nnodes", "2", "--master-addr", "localhost", "--master-port", "29999")
    assert done.returncode == 2
    assert "which is each node itself" in done.stderr
    assert not (folder / "output").exists()


def test_a_workspace_that_cannot_be_written_is_said_before_any_process(train, folder):
    (folder / "file").write_text("")
    done = train("--exp", "toy.yaml", WORKSPACE="file/output")
    assert done.returncode == 4
    assert "can't make the folder file/output/us/me/toy" in done.stderr
    assert "a part of this path is a file" in done.stderr


def test_data_that_is_not_here_is_said_before_any_process(train, folder):
    prepared = (
        "--exp",
        "toy.yaml",
        "--set",
        "mock_data=false",
        "--set",
        "data_path=nowhere/corpus",
        "--set",
        "split=99,1,0",
    )
    result = train(*prepared)
    assert result.returncode == 4
    assert "nowhere/corpus.bin does not exist here" in result.stderr
    assert "nowhere/corpus.idx does not exist here" in result.stderr
    assert not (folder / "output").exists()


def test_a_dry_run_only_warns_of_data_that_is_not_here(train):
    result = train(
        "--exp",
        "toy.yaml",
        "--set",
        "mock_data=false",
        "--set",
        "data_path=nowhere/corpus",
        "--set",
        "split=99,1,0",
        "--dry-run",
    )
    assert result.returncode == 0
    assert "Warning: " in result.stderr
    assert "nowhere/corpus.bin does not exist here" in result.stderr
