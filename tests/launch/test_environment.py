"""The table of environment variables: what applies where, and whose value wins."""

from __future__ import annotations

from pathlib import Path

from primus.job import Job, Resources, Variable
from primus.launch.environment import SETTINGS, decide


def decided(environ=None, variables=(), **resources):
    job = Job(
        name="toy",
        backend="toy",
        module="toy",
        environment=tuple(variables),
        resources=Resources(**resources),
        run_dir=Path("/r"),
    )
    return {decision.variable.name: decision for decision in decide(job, environ or {})}


def test_gpu_settings_stay_away_from_a_cpu():
    names = decided(accelerator="cpu").keys()
    assert not [name for name in names if name.startswith(("NCCL", "RCCL", "HSA", "NVTE", "GPU", "TORCH_NCCL"))]


def test_rocm_settings_stay_away_from_nvidia():
    names = decided(accelerator="nvidia").keys()
    assert not [name for name in names if name.startswith(("RCCL", "HSA", "GPU_", "NVTE"))]


def test_an_amd_gpu_gets_the_settings_of_the_guide():
    values = {name: decision.value for name, decision in decided(accelerator="amd", nproc_per_node=8).items()}
    expected = {"GPU_MAX_HW_QUEUES": "2", "HSA_ENABLE_SDMA": "1", "RCCL_MSCCL_ENABLE": "0", "NVTE_CK_USES_BWD_V3": "0"}
    assert expected.items() <= values.items()


def test_the_loopback_interface_is_for_a_single_node():
    assert decided()["GLOO_SOCKET_IFNAME"].value == "lo"
    assert "GLOO_SOCKET_IFNAME" not in decided(nnodes=2)


def test_settings_of_the_network_are_for_several_nodes():
    assert "NCCL_CROSS_NIC" not in decided(accelerator="amd")
    assert "NCCL_CROSS_NIC" in decided(accelerator="amd", nnodes=2)


def test_the_users_value_wins_and_is_known_as_such():
    decision = decided({"OMP_NUM_THREADS": "16"})["OMP_NUM_THREADS"]
    assert (decision.value, decision.yours, decision.variable.value) == ("16", True, "1")


def test_an_empty_value_of_the_user_is_a_value():
    assert decided({"GLOO_SOCKET_IFNAME": ""})["GLOO_SOCKET_IFNAME"].value == ""


def test_the_backends_wish_replaces_that_of_the_table():
    wish = Variable(name="OMP_NUM_THREADS", value="4", reason="this backend computes on the CPU")
    assert decided(variables=[wish])["OMP_NUM_THREADS"].variable == wish


def test_downloads_go_below_the_data_path():
    assert decided({"DATA_PATH": "/data"})["HF_HOME"].value == "/data/huggingface"
    assert decided({"DATA_PATH": "/data", "HF_HOME": "/hf"})["HF_HOME"].value == "/hf"
    assert "HF_HOME" not in decided({"DATA_PATH": ""})


def test_every_row_says_why():
    assert all(len(setting.reason) > 15 for setting in SETTINGS)
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
