"""The options of a container, and what is wrong with them."""

from __future__ import annotations

import os

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.container.request import Mount, container_request, parse_mount


def request(**options):
    return container_request(**{"image": None, "runtime": None, "privileged": False, "mounts": (), **options})


def test_no_image_is_no_container():
    assert request() is None


def test_a_runtime_without_an_image_takes_the_guides():
    assert request(runtime="podman").image == "docker.io/rocm/megatron-lm:v25.5_py310"


@pytest.mark.parametrize("options", [{"privileged": True}, {"mounts": ["/tmp"]}])
def test_options_of_a_container_need_one(options):
    with pytest.raises(UsageError, match="name its image with --image"):
        request(**options)


def test_a_misspelled_runtime_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean podman"):
        request(runtime="podmann")


def test_apptainer_has_no_privileged_containers():
    with pytest.raises(UsageError, match="--privileged"):
        request(image="x", runtime="apptainer", privileged=True)


def test_a_mount_is_at_its_own_path_unless_another_is_named(tmp_path):
    assert parse_mount(str(tmp_path)) == Mount(source=str(tmp_path), target=str(tmp_path))
    assert parse_mount(f"{tmp_path}:/data") == Mount(source=str(tmp_path), target="/data")
    assert parse_mount(f"{tmp_path}:/data:ro") == Mount(source=str(tmp_path), target="/data", read_only=True)


def test_a_relative_source_is_taken_from_here(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_mount("data:/data").source == os.path.join(tmp_path, "data")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/tmp:ro", "name the path inside, too: /tmp:/tmp:ro"),
        ("/tmp:data", "must begin with /"),
        ("/tmp:/data:rx", "expected HOST"),
        ("/tmp:/data:ro:z", "expected HOST"),
        ("", "expected HOST"),
    ],
)
def test_a_mount_that_cannot_be_is_explained(text, words):
    with pytest.raises(UsageError, match=words):
        parse_mount(text)


def test_a_mount_of_what_is_not_there_is_said_at_once(tmp_path):
    with pytest.raises(MissingError, match="there is no"):
        parse_mount(f"{tmp_path}/none:/data")
