"""What a container is told of this machine's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.job import Job, Resources, Variable
from primus.launch.container.variables import container_environment, split


def inside(environ=None, image=None, runtime="docker", **resources):
    job = Job(
        name="toy",
        backend="toy",
        module="toy",
        environment=(Variable(name="CUDA_DEVICE_MAX_CONNECTIONS", value="1", reason="r"),),
        resources=Resources(**resources),
        run_dir=Path("/out/runs/1"),
    )
    return container_environment(job, {"HOME": "/home/me"} | (environ or {}), image or {}, runtime)


@pytest.mark.parametrize(
    "name",
    [
        *("PRIMUS_MODEL", "NCCL_DEBUG", "RCCL_X", "GLOO_X", "HSA_X", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        *("HIPBLASLT_TUNING_OVERRIDE_FILE", "TORCH_LOGS", "TE_X", "NVTE_DEBUG", "WANDB_API_KEY", "HF_TOKEN"),
        *("MLFLOW_TRACKING_URI", "DATA_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TORCHTITAN_PATH"),
        *("MEGATRON_PATH", "https_proxy"),
    ],
)
def test_what_training_reads_is_passed(name):
    assert inside({name: "mine"})[name] == "mine"


@pytest.mark.parametrize(
    "name",
    ["PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "ROCM_PATH", "CUDA_HOME", "DOCKER_IMAGE", "RANK", "EDITOR"],
)
def test_what_belongs_to_this_machine_stays_here(name):
    assert name not in inside({name: "mine"}, nproc_per_node=2)


def test_the_launcher_itself_is_not_told_of():
    assert "PRIMUS_PARENT_PID" not in inside({"PRIMUS_PARENT_PID": "7"})


def test_what_primus_adds_is_there():
    made = inside()
    assert made["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"
    assert made["GLOO_SOCKET_IFNAME"] == "lo"
    assert (made["RANK"], made["WORLD_SIZE"]) == ("0", "1")


def test_the_image_wins_over_primus_and_the_user_over_the_image():
    assert "OMP_NUM_THREADS" not in inside(image={"OMP_NUM_THREADS": "3"})
    assert inside({"OMP_NUM_THREADS": "5"}, image={"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "5"


def test_downloads_are_kept_in_the_users_cache():
    assert inside()["HF_HOME"] == "/home/me/.cache/huggingface"
    assert inside({"DATA_PATH": "/data"})["HF_HOME"] == "/data/huggingface"
    assert "HF_HOME" not in inside(image={"HF_HOME": "/cache"})


def test_the_file_of_variables_keeps_values_as_they_are():
    text, by_name = split({"A": "x y 'z' \"q\" #", "B": "", "C": "1\n2", "D": "x" * 40_000}, "docker")
    assert text == "A=x y 'z' \"q\" #\nB=\n"
    assert by_name == ["C", "D"]


def test_what_a_job_does_without_is_not_passed_and_named_for_the_first_process():
    job = Job(
        name="toy",
        backend="toy",
        module="toy",
        without={"HIPBLASLT_LOG_LEVEL": "it silences the dump"},
        resources=Resources(),
        run_dir=Path("/out/runs/1"),
    )
    found = container_environment(
        job, {"HOME": "/", "HIPBLASLT_LOG_LEVEL": "2"}, {"HIPBLASLT_LOG_LEVEL": "1"}, "docker"
    )
    assert "HIPBLASLT_LOG_LEVEL" not in found
    assert found["PRIMUS_UNSET"] == "HIPBLASLT_LOG_LEVEL"
