"""Which runtime and which devices a machine has, on trees that are made here."""

from __future__ import annotations

import os

import pytest

from primus.errors import MissingError
from primus.launch.container.host import Host, Runtime, check_devices, find_runtime, look

PODMAN = Runtime(name="podman", program="podman", rootless=True)


@pytest.fixture
def programs(tmp_path):
    """`programs("docker")` puts programs of these names on a PATH, and returns an environment with it."""

    def make(*names):
        (tmp_path / "bin").mkdir()
        for name in names:
            (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
            (tmp_path / "bin" / name).chmod(0o755)
        return {"PATH": str(tmp_path / "bin")}

    return make


def plant(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_the_only_runtime_is_taken(programs, tmp_path):
    assert find_runtime(None, programs("podman"), tmp_path).name == "podman"


def test_docker_without_its_daemon_gives_way_to_another(programs, tmp_path):
    environ = programs("docker", "podman")
    assert find_runtime(None, environ, tmp_path).name == "podman"
    plant(tmp_path, "var/run/docker.sock")
    assert find_runtime(None, environ, tmp_path).name == "docker"


def test_docker_elsewhere_counts_as_running(programs, tmp_path):
    environ = programs("docker", "podman") | {"DOCKER_HOST": "tcp://build:2375"}
    assert find_runtime(None, environ, tmp_path).name == "docker"


def test_the_chosen_runtime_is_taken_when_it_is_here(programs, tmp_path):
    environ = programs("docker", "podman")
    assert find_runtime("docker", environ, tmp_path).program == str(tmp_path / "bin/docker")
    with pytest.raises(MissingError, match="--container apptainer: apptainer is not installed"):
        find_runtime("apptainer", environ, tmp_path)


def test_a_machine_without_any_runtime_says_so(programs, tmp_path):
    with pytest.raises(MissingError, match="none of docker, podman and apptainer"):
        find_runtime(None, programs(), tmp_path)


def test_a_daemon_of_the_users_own_is_rootless(programs, tmp_path):
    own = {"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}
    environ = programs("docker")
    assert find_runtime("docker", environ | own, tmp_path).rootless
    assert not find_runtime("docker", environ, tmp_path).rootless


def test_only_devices_that_are_here_are_given(tmp_path):
    plant(tmp_path, "dev/kfd", "dev/dri/renderD128", "dev/infiniband/uverbs0")
    assert look("amd", tmp_path).devices == ("/dev/kfd", "/dev/dri", "/dev/infiniband")
    assert look("cpu", tmp_path).devices == ("/dev/infiniband",)


def test_an_empty_fabric_is_none(tmp_path):
    (tmp_path / "dev/infiniband").mkdir(parents=True)
    assert look("cpu", tmp_path) == Host(uid=os.geteuid(), gid=os.getegid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to groups")
def test_the_groups_of_the_devices_are_found_by_number(tmp_path):
    plant(tmp_path, "dev/kfd", "dev/dri/renderD128", "dev/dri/card0")
    os.chown(tmp_path / "dev/kfd", 0, 109)
    os.chown(tmp_path / "dev/dri/renderD128", 0, 44)
    os.chown(tmp_path / "dev/dri/card0", 0, 7)  # for screens
    assert look("amd", tmp_path).groups == (44, 109)


def test_enforced_selinux_is_seen(tmp_path):
    plant(tmp_path, "sys/fs/selinux/enforce").joinpath("sys/fs/selinux/enforce").write_text("1")
    assert look("cpu", tmp_path).selinux


def test_a_gpu_without_its_render_devices_is_refused():
    host = Host(uid=0, gid=0, devices=("/dev/kfd",))
    with pytest.raises(MissingError, match="no /dev/dri"):
        check_devices(PODMAN, host, "amd")


def test_podman_must_know_nvidias_gpus():
    with pytest.raises(MissingError, match="nvidia-ctk cdi generate"):
        check_devices(PODMAN, Host(uid=0, gid=0), "nvidia")


def test_a_device_that_the_user_may_not_open_is_named():
    host = Host(uid=7, gid=7, devices=("/dev/kfd", "/dev/dri"), groups=(109,), closed=("/dev/kfd",))
    with pytest.raises(MissingError, match=r"may not open /dev/kfd.*number 109"):
        check_devices(PODMAN, host, "amd")
    check_devices(Runtime(name="docker", program="docker"), host, "amd")  # its daemon opens it
