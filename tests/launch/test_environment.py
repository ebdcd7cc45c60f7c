"""The table of environment variables: what applies where, and whose value wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.job import Job, Network, Resources, Variable
from primus.launch.environment import MODELS, SETTINGS, decide, model_settings

ROCE = Network(
    interface="eth0",
    route="the default route",
    link="roce",
    ports=("mlx5_0:1", "mlx5_2:1"),
    fabric="2 active ports",
    gid_index=3,
    gid="read there",
)
INFINIBAND = Network(interface="ib0", link="infiniband", ports=("mlx5_0:1",))
ETHERNET = Network(interface="eth0")


def decided(environ=None, variables=(), *, experts=False, image=None, **resources):
    job = Job(
        name="toy",
        backend="toy",
        module="toy",
        environment=tuple(variables),
        resources=Resources(**resources),
        run_dir=Path("/r"),
        experts=experts,
    )
    return {decision.variable.name: decision for decision in decide(job, environ or {}, image)}


def values(**resources):
    return {name: decision.value for name, decision in decided(**resources).items()}


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


def network_settings(**resources):
    names = ("NCCL_SOCKET", "NCCL_IB", "NCCL_CROSS", "GLOO")
    return {name: value for name, value in values(**resources).items() if name.startswith(names)}


@pytest.mark.parametrize("accelerator", ["amd", "nvidia"])
def test_roce_gets_its_ports_and_the_index_of_their_addresses(accelerator):
    assert network_settings(accelerator=accelerator, nnodes=2, network=ROCE) == {
        "GLOO_SOCKET_IFNAME": "eth0",
        "NCCL_SOCKET_IFNAME": "=eth0",
        "NCCL_IB_HCA": "=mlx5_0:1,mlx5_2:1",
        "NCCL_IB_GID_INDEX": "3",
        "NCCL_CROSS_NIC": "0",
    }


def test_infiniband_has_no_gid_index():
    settings = network_settings(accelerator="amd", nnodes=2, network=INFINIBAND)
    assert settings["NCCL_IB_HCA"] == "=mlx5_0:1"
    assert "NCCL_IB_GID_INDEX" not in settings


def test_without_rdma_only_the_interface_is_set():
    settings = network_settings(accelerator="amd", nnodes=2, network=ETHERNET)
    assert settings == {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "=eth0"}


def test_several_nodes_without_a_gpu_need_gloos_interface_only():
    assert network_settings(nnodes=2, network=ETHERNET) == {"GLOO_SOCKET_IFNAME": "eth0"}


def test_nothing_of_the_network_is_set_where_it_was_not_looked_at():
    assert network_settings(accelerator="amd", nnodes=2) == {}


def test_a_single_node_does_not_ask_for_the_network():
    assert network_settings(accelerator="amd", network=ROCE) == {"GLOO_SOCKET_IFNAME": "lo"}


def test_a_value_that_was_found_says_where():
    decision = decided(accelerator="amd", nnodes=2, network=ROCE)["NCCL_SOCKET_IFNAME"]
    assert decision.source == "this node"
    assert decision.variable.reason.endswith("(the default route)")


@pytest.mark.parametrize(("experts", "value"), [(False, "0"), (True, "1")])
def test_scratch_memory_is_kept_for_experts(experts, value):
    assert decided(accelerator="amd", experts=experts)["HSA_NO_SCRATCH_RECLAIM"].value == value
    assert "HSA_NO_SCRATCH_RECLAIM" not in decided(accelerator="nvidia", experts=experts)


def test_a_gpu_model_has_settings_of_its_own():
    settings = decided(accelerator="amd", gpu_model="gfx950")
    assert settings["NVTE_ROCM_ENABLE_MXFP8"].source == "gfx950"
    assert "NVTE_ROCM_ENABLE_MXFP8" not in decided(accelerator="amd", gpu_model="gfx942")


def test_a_gpu_models_setting_replaces_the_general_one():
    assert decided(accelerator="amd", gpu_model="gfx942")["NVTE_CK_USES_BWD_V3"].value == "0"
    assert decided(accelerator="amd", gpu_model="gfx950")["NVTE_CK_USES_BWD_V3"].value == "1"


@pytest.mark.parametrize("model", [None, "gfx90a", "NVIDIA H200"])
def test_a_model_without_a_file_gets_the_general_settings(model):
    assert decided(accelerator="amd", gpu_model=model) == decided(accelerator="amd")


def test_every_data_file_can_be_read_and_says_why():
    models = [path.stem for path in MODELS.iterdir()]
    assert {"gfx942", "gfx950"} <= set(models)
    for model in models:
        assert all(len(variable.reason) > 15 for variable in model_settings(model))


def test_the_images_value_wins_over_primus_and_the_users_over_both():
    image = {"GPU_MAX_HW_QUEUES": "4", "HSA_ENABLE_SDMA": "0"}
    settings = decided({"HSA_ENABLE_SDMA": "1"}, accelerator="amd", image=image)
    assert [settings[name].value for name in image] == ["4", "1"]
    assert [settings[name].set_by for name in image] == ["image", "user"]


def test_the_users_value_wins_and_is_known_as_such():
    decision = decided({"OMP_NUM_THREADS": "16"})["OMP_NUM_THREADS"]
    assert (decision.value, decision.set_by, decision.variable.value) == ("16", "user", "1")


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


@pytest.mark.parametrize("accelerator", ["cpu", "amd", "nvidia"])
@pytest.mark.parametrize("nnodes", [1, 2])
@pytest.mark.parametrize("experts", [False, True])
def test_no_two_rows_for_a_variable_apply_at_once(accelerator, nnodes, experts):
    resources = Resources(accelerator=accelerator, nnodes=nnodes, network=ROCE)
    job = Job(name="t", backend="t", module="t", resources=resources, run_dir=Path("/r"), experts=experts)
    names = [setting.name for setting in SETTINGS if setting.applies(job)]
    assert len(names) == len(set(names))


def test_a_firm_wish_takes_the_place_of_the_users_and_of_the_images_value():
    wish = Variable(name="HIPBLASLT_LOG_MASK", value="96", reason="r", source="tuning", firm=True)
    decision = decided({"HIPBLASLT_LOG_MASK": "1"}, [wish], image={"HIPBLASLT_LOG_MASK": "2"})["HIPBLASLT_LOG_MASK"]
    assert (decision.value, decision.set_by, decision.source) == ("96", None, "tuning")
