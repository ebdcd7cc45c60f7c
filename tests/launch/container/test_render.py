"""The command line of each runtime, whole. PRIMUS_WRITE_GOLDEN=1 writes the files in golden/."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from primus.errors import UsageError
from primus.job import Job, Resources
from primus.launch.container.host import Host, Runtime
from primus.launch.container.image import Image
from primus.launch.container.render import Container, apptainer_image
from primus.launch.container.request import Mount, Request

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "docker.io/rocm/megatron-lm:v25.5_py310"

AMD = Host(uid=1000, gid=100, devices=("/dev/kfd", "/dev/dri", "/dev/infiniband"), groups=(44, 109), rdma=True)
NVIDIA = Host(uid=1000, gid=100, cdi=True)
PLAIN = Host(uid=0, gid=0)

ENGINES = {
    "docker": Runtime(name="docker", program="/usr/bin/docker"),
    "docker_rootless": Runtime(name="docker", program="/usr/bin/docker", rootless=True),
    "podman": Runtime(name="podman", program="/usr/bin/podman", rootless=True),
    "podman_root": Runtime(name="podman", program="/usr/bin/podman"),
    "apptainer": Runtime(name="apptainer", program="/usr/bin/apptainer"),
}


def container(runtime="podman_root", accelerator="cpu", host=PLAIN, job=None, **changes):
    job = job or Job(
        name="llama",
        backend="megatron",
        module="primus.backends.megatron.worker",
        args=("--resume", "auto"),
        total_steps=50,
        resources=Resources(nproc_per_node=8, accelerator=accelerator, gpu_model=None),
        run_dir=Path("/project/output/amd/me/llama/runs/1"),
    )
    fields = {
        "job": job,
        "request": Request(image=IMAGE),
        "runtime": ENGINES[runtime],
        "host": host,
        "image": Image(id="sha256:1", digests=("rocm/megatron-lm@sha256:2",)),
        "name": "primus-1-node0-7",
        "working_directory": Path("/project"),
        "mounts": (
            Mount(source="/project", target="/project"),
            Mount(source="/mnt/tokens", target="/data", read_only=True),
        ),
        "variables": {"HF_TOKEN": "secret", "NCCL_DEBUG": "INFO"},
        "packages": ("torch", "megatron.core"),
    }
    return Container(**{**fields, **changes})


def argv(*args, **kwargs):
    return container(*args, **kwargs).argv("ENV_FILE")


CASES = {
    "docker_amd": ("docker", "amd", AMD),
    "docker_nvidia": ("docker", "nvidia", NVIDIA),
    "docker_rootless_amd": ("docker_rootless", "amd", AMD),
    "podman_rootless_amd": ("podman", "amd", AMD),
    "podman_nvidia": ("podman_root", "nvidia", NVIDIA),
    "podman_cpu": ("podman_root", "cpu", PLAIN),
    "apptainer_amd": ("apptainer", "amd", AMD),
    "apptainer_nvidia": ("apptainer", "nvidia", NVIDIA),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_is_that_of_the_golden_file(name):
    runtime, accelerator, host = CASES[name]
    made = "\n".join(argv(runtime, accelerator, host)) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("PRIMUS_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(made)
    assert made == path.read_text()


@pytest.mark.parametrize("runtime", ENGINES)
def test_no_value_of_a_variable_is_in_the_command_line(runtime):
    assert "secret" not in " ".join(argv(runtime, "amd", AMD))


def test_a_privileged_container_is_only_made_when_asked_for():
    asked = Request(image=IMAGE, privileged=True)
    assert "--privileged" not in argv("docker", "amd", AMD)
    assert "--privileged" in argv("docker", "amd", AMD, request=asked)
    assert not [word for word in argv("docker", "amd", AMD, request=asked) if word.startswith("--device")]


def test_selinux_does_not_keep_the_container_from_the_mounted_folders():
    assert "--security-opt=label=disable" in argv(host=replace(PLAIN, selinux=True))
    assert "--security-opt=label=disable" not in argv()


def test_a_value_with_line_breaks_is_taken_from_the_runtimes_own_environment():
    made = container(variables={"NOTE": "a\nb", "PLAIN": "c d"})
    assert "--env=NOTE" in made.argv("ENV_FILE")
    assert made.env_text == "PLAIN=c d\n"


def test_apptainer_reads_its_file_with_a_shell():
    made = container("apptainer", variables={"NOTE": "a\nb's", "PLAIN": "c $d"})
    assert made.by_name == []
    assert made.env_text == "NOTE='a\nb'\"'\"'s'\nPLAIN='c $d'\n"


def test_a_single_worker_runs_without_the_agent():
    job = replace(container().job, resources=Resources(accelerator="cpu"))
    inside = argv(job=job)[argv(job=job).index(IMAGE) + 1 :]
    assert inside[3:5] == ["-m", "primus.backends.megatron.worker"]


@pytest.mark.parametrize(("runtime", "path"), [("docker", "/a:b"), ("apptainer", "/a,b")])
def test_a_path_that_a_runtime_cannot_take_is_refused(runtime, path):
    with pytest.raises(UsageError, match="can't be mounted"):
        argv(runtime, mounts=(Mount(source=path, target=path),))


def test_apptainer_takes_names_as_docker_does_and_files_as_they_are(tmp_path):
    (tmp_path / "image.sif").touch()
    assert apptainer_image("rocm/pytorch:latest") == "docker://rocm/pytorch:latest"
    assert apptainer_image("oras://x/y") == "oras://x/y"
    assert apptainer_image(str(tmp_path / "image.sif")) == str(tmp_path / "image.sif")


def test_the_facts_for_the_manifest():
    facts = container("docker", "amd", AMD).facts()
    assert facts["image_id"] == "sha256:1"
    assert facts["image_digests"] == ["rocm/megatron-lm@sha256:2"]
    assert facts["mounts"] == ["/project:/project", "/mnt/tokens:/data:ro"]
