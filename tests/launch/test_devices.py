"""Accelerators are found from the file systems of real machines' shapes."""

from __future__ import annotations

import pytest

from primus.launch.devices import find_accelerators


@pytest.fixture
def amd(tmp_path):
    """Two CPU sockets and eight Instincts, as the kernel driver shows them."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    for node in range(10):
        folder = tmp_path / f"sys/class/kfd/kfd/topology/nodes/{node}"
        folder.mkdir(parents=True)
        is_cpu = node < 2
        (folder / "properties").write_text(
            f"cpu_cores_count {96 if is_cpu else 0}\nsimd_count {0 if is_cpu else 1216}\ngfx_target_version 90402\n"
        )
    return tmp_path


@pytest.fixture
def nvidia(tmp_path):
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm", "nvidia-modeset"):
        (tmp_path / "dev" / name).touch()
    return tmp_path


def found(root, **environ):
    accelerators = find_accelerators(environ, root)
    return accelerators.kind, accelerators.count


def test_amd_gpus_are_counted_without_the_cpu_nodes(amd):
    assert found(amd) == ("amd", 8)


def test_nvidia_gpus_are_counted_without_the_control_devices(nvidia):
    assert found(nvidia) == ("nvidia", 4)


def test_a_machine_without_either_is_a_cpu(tmp_path):
    assert found(tmp_path) == ("cpu", 0)


def test_a_kernel_driver_without_gpus_is_a_cpu(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    assert found(tmp_path) == ("cpu", 0)


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        ({"HIP_VISIBLE_DEVICES": "0,1,2"}, 3),
        ({"ROCR_VISIBLE_DEVICES": "0,1"}, 2),
        ({"ROCR_VISIBLE_DEVICES": "4,5,6,7", "HIP_VISIBLE_DEVICES": "0,1"}, 2),
        ({"CUDA_VISIBLE_DEVICES": "3"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "3", "HIP_VISIBLE_DEVICES": "0,1"}, 2),
        ({"ROCR_VISIBLE_DEVICES": "GPU-8a1b2c3d4e5f6071"}, 1),
        ({"HIP_VISIBLE_DEVICES": "0,1,-1,2"}, 2),
    ],
)
def test_devices_that_the_environment_hides_are_not_counted(amd, environ, count):
    assert found(amd, **environ) == ("amd", count)


@pytest.mark.parametrize("value", ["", "-1", "none"])
def test_hiding_all_devices_means_training_on_the_cpu(nvidia, value):
    assert found(nvidia, CUDA_VISIBLE_DEVICES=value) == ("cpu", 0)


def test_mig_slices_count_as_devices(nvidia):
    assert found(nvidia, CUDA_VISIBLE_DEVICES="MIG-1b2c/1/0,MIG-1b2c/2/0") == ("nvidia", 2)


def test_the_evidence_names_the_variable_that_hides_devices(amd):
    assert "HIP_VISIBLE_DEVICES=0" in find_accelerators({"HIP_VISIBLE_DEVICES": "0"}, amd).evidence
