"""What runtimes say of images, as recorded from docker 28.2 and podman 4.3."""

from __future__ import annotations

import json
import struct
import uuid

import pytest

from primus.errors import MissingError, ServiceError
from primus.launch.container.host import Runtime
from primus.launch.container.image import inquire, sif_id

INSPECTED = [
    {
        "Id": "sha256:8ab3",
        "RepoDigests": ["localhost/box@sha256:d8b9"],
        "Config": {"Env": ["PATH=/opt/venv/bin:/usr/bin", "HIP_FLAGS=-a=b"]},
    }
]
SILENT_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
FORBIDDEN = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/images/x/json": dial unix /var/run/docker.sock: '
    "connect: permission denied"
)
ABSENT = {
    "docker": "Error response from daemon: No such image: x:latest",
    "podman": "Error: inspecting object: x: image not known",
}


@pytest.fixture
def runtime(tmp_path):
    """`runtime("docker", out=..., err=..., status=...)` is a program that answers so, whatever it is asked."""

    def make(name, *, out="", err="", status=0):
        (tmp_path / "out").write_text(out)
        (tmp_path / "err").write_text(err)
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/err >&2\nexit {status}\n")
        program.chmod(0o755)
        return Runtime(name=name, program=str(program))

    return make


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_an_image_that_is_here(runtime, name):
    image = inquire(runtime(name, out=json.dumps(INSPECTED)), "x").image()
    assert image.id == "sha256:8ab3"
    assert image.digests == ("localhost/box@sha256:d8b9",)
    assert image.environment == {"PATH": "/opt/venv/bin:/usr/bin", "HIP_FLAGS": "-a=b"}


def test_an_image_may_set_nothing(runtime):
    assert inquire(runtime("docker", out='[{"Id": "1", "Config": null}]'), "x").image().environment == {}


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_an_image_that_is_not_here(runtime, name):
    assert inquire(runtime(name, out="[]", err=ABSENT[name], status=1), "x").image() is None


@pytest.mark.parametrize(
    ("said", "remedy"), [(SILENT_DAEMON, "Start the daemon"), (FORBIDDEN, "join the group docker")]
)
def test_a_daemon_that_cannot_be_asked_is_told_with_a_remedy(runtime, said, remedy):
    with pytest.raises(ServiceError) as error:
        inquire(runtime("docker", err=said, status=1), "x").image()
    assert said in str(error.value)
    assert remedy in str(error.value)


def test_an_image_that_cannot_be_pulled_is_missing(runtime, capfd):
    with pytest.raises(MissingError, match="docker could not pull it"):
        inquire(runtime("docker", err=ABSENT["docker"], status=1), "x").pull()
    assert ABSENT["docker"] in capfd.readouterr().err


def test_apptainer_is_asked_by_running_env_in_the_image(runtime, tmp_path):
    asked = inquire(runtime("apptainer", out="HF_HOME=/cache\0NOTE=a\nb\0"), str(tmp_path))
    assert asked.image() is None  # nothing runs before it has to
    assert asked.pull().environment == {"HF_HOME": "/cache", "NOTE": "a\nb"}


def test_an_apptainer_file_has_the_number_that_it_was_made_with(tmp_path):
    number = uuid.uuid4()
    head = struct.pack("32s10s3s3s16s", b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC", b"01", b"02", number.bytes)
    (tmp_path / "image.sif").write_bytes(head + b"\0" * 64)
    (tmp_path / "other.sif").write_bytes(b"x" * 100)
    assert sif_id(tmp_path / "image.sif") == str(number)
    assert sif_id(tmp_path / "other.sif") is None
    assert sif_id(tmp_path) is None
