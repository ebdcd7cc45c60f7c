"""Accelerators are found from the file systems of real machines' shapes."""

from __future__ import annotations

import pytest

from primus.launch.devices import find_accelerators, gpu_of


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


def test_the_model_is_the_architecture_of_the_kernel_driver(amd):
    assert find_accelerators({}, amd).model == "gfx942"


@pytest.mark.parametrize(("version", "model"), [(90500, "gfx950"), (90010, "gfx90a"), (110501, "gfx1151")])
def test_architectures_are_written_as_compilers_do(amd, version, model):
    for properties in amd.glob("sys/class/kfd/kfd/topology/nodes/*/properties"):
        properties.write_text(properties.read_text().replace("90402", str(version)))
    assert find_accelerators({}, amd).model == model


def test_gpus_of_two_kinds_have_no_common_model(amd):
    properties = amd / "sys/class/kfd/kfd/topology/nodes/9/properties"
    properties.write_text(properties.read_text().replace("90402", "90500"))
    assert find_accelerators({}, amd).model is None


def test_places_on_the_pci_bus_are_known(tree):
    accelerators = find_accelerators({}, tree("mlx5_roce"))
    assert accelerators.count == len(accelerators.addresses) == 8
    assert accelerators.addresses[0] == "0000:05:00.0"


def test_an_nvidia_gpus_model_is_read_from_its_driver(tree):
    accelerators = find_accelerators({}, tree("infiniband_storage"))
    assert (accelerators.kind, accelerators.count, accelerators.model) == ("nvidia", 8, "NVIDIA H200")
    assert accelerators.addresses[0] == "0000:19:00.0"


def install(folder, name, output):
    tool = folder / name
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    tool.chmod(0o755)
    return f"{folder}:/bin:/usr/bin"


@pytest.mark.parametrize(
    ("tool", "output"),
    [
        ("amd-smi", '[{"gpu": 0, "bdf": "0000:05:00.0"}, {"gpu": 1, "bdf": "0000:26:00.0"}]'),
        ("rocm-smi", '{"card0": {"Device ID": "0x74a1"}, "card1": {"Device ID": "0x74a1"}, "system": {}}'),
    ],
)
def test_amds_tools_are_asked_where_the_topology_is_hidden(tmp_path, tool, output):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    accelerators = find_accelerators({"PATH": install(tmp_path, tool, output)}, tmp_path)
    assert (accelerators.kind, accelerators.count) == ("amd", 2)
    assert accelerators.evidence.startswith(tool)


def test_nvidia_smi_is_asked_where_a_driver_has_no_device_files(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dxg").touch()
    path = install(tmp_path, "nvidia-smi", "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1)")
    assert found(tmp_path, PATH=path) == ("nvidia", 1)


def test_no_tool_is_asked_when_the_kernel_says_how_many(amd):
    path = install(amd, "amd-smi", "[]")
    assert found(amd, PATH=path) == ("amd", 8)


ADDRESSES = [f"0000:{bus}:00.0" for bus in ("05", "26", "46", "65")]


@pytest.mark.parametrize(
    ("environ", "local_rank", "gpu"),
    [
        ({}, 1, "GPU 1, 0000:26:00.0"),
        ({"CUDA_VISIBLE_DEVICES": "3,2"}, 0, "GPU 0, 0000:65:00.0"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-5b6c"}, 0, "GPU 0"),
        ({"CUDA_VISIBLE_DEVICES": "3"}, 1, "GPU 1"),
    ],
)
def test_the_gpu_of_a_worker_is_named_with_its_address(nvidia, environ, local_rank, gpu):
    for address in ADDRESSES:
        (nvidia / "proc/driver/nvidia/gpus" / address).mkdir(parents=True)
    assert gpu_of(local_rank, environ, nvidia) == gpu


def test_both_variables_of_rocm_are_followed(amd):
    for node, address in enumerate(ADDRESSES, 2):
        bus = int(address.split(":")[1], 16)
        properties = amd / f"sys/class/kfd/kfd/topology/nodes/{node}/properties"
        properties.write_text(properties.read_text() + f"location_id {bus << 8}\n")
    environ = {"ROCR_VISIBLE_DEVICES": "1,2,3", "HIP_VISIBLE_DEVICES": "2,0"}
    assert gpu_of(0, environ, amd) == "GPU 0, 0000:65:00.0"


def test_a_gpu_whose_address_is_not_known_has_its_number(amd):
    assert gpu_of(5, {}, amd) == "GPU 5"


def test_a_worker_on_a_cpu_has_no_gpu(tmp_path):
    assert gpu_of(0, {}, tmp_path) == ""
