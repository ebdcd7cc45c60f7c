"""What a dry run shows of a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from primus.job import Job, Network, Resources, Variable
from primus.launch.dry_run import explain
from primus.redact import HIDDEN


def shown(environ=None, **changes):
    fields = {
        "name": "toy",
        "backend": "megatron",
        "module": "toy.worker",
        "args": ("--resume", "auto"),
        "resources": Resources(),
        "run_dir": Path("/out/runs/TIME-ID"),
        "files": {"experiment.yaml": ""},
    }
    return explain(Job(**{**fields, **changes}), beginning="starts from zero", environ=environ or {})


SEVERAL = Resources(nnodes=2, node_rank=1, nproc_per_node=2, master_addr="node-a", master_port=2222)


def test_a_job_of_one_process_in_full():
    text = shown(total_steps=1000, resources=Resources(master_port=2222))
    paragraphs = text.split("\n\n")
    assert paragraphs[0].splitlines() == [
        "Experiment: toy (megatron)",
        "Processes:  1 on cpu: 1 node with 1 each",
        "This node:  0, with rank 0",
        "Rendezvous: 127.0.0.1, port 2222",
        "Steps:      1,000",
        "Start:      starts from zero",
    ]
    assert paragraphs[1].endswith(" -m toy.worker /out/runs/TIME-ID --resume auto --total-steps 1000")
    assert "RANK=0 LOCAL_RANK=0 GROUP_RANK=0 WORLD_SIZE=1" in paragraphs[2]
    assert paragraphs[3].splitlines() == [
        "Files that would be written:",
        "  /out/runs/TIME-ID/experiment.yaml",
        "  /out/run.lock",
        "  /out/runs/TIME-ID/manifest.json",
        "  /out/runs/TIME-ID/status.json",
        "  /out/runs/TIME-ID/metrics.jsonl",
        "  /out/runs/TIME-ID/model.json",
        "  /out/runs/TIME-ID/logs/node0/rank0.log",
    ]


def test_the_second_of_two_nodes_shows_its_own_ranks_and_files():
    text = shown(resources=SEVERAL)
    assert "Processes:  4 on cpu: 2 nodes with 2 each" in text
    assert "This node:  1, with ranks 2 to 3" in text
    assert "Rendezvous: node-a, port 2222" in text
    assert "primus.launch.agent --nnodes=2" in text
    assert "/out/runs/TIME-ID/logs/node1/rank3.log" in text
    assert "manifest.json" not in text  # node 0 writes it


def test_every_variable_comes_with_its_reason():
    wish = Variable(name="CUDA_DEVICE_MAX_CONNECTIONS", value="1", reason="keeps the order of the kernels")
    assert "  CUDA_DEVICE_MAX_CONNECTIONS=1" in shown(environment=(wish,))
    assert "# megatron: keeps the order of the kernels" in shown(environment=(wish,))


def test_a_value_of_the_user_is_shown_as_such():
    line = next(line for line in shown({"OMP_NUM_THREADS": "8"}).splitlines() if "OMP_NUM_THREADS" in line)
    assert line.split("#")[0].strip() == "OMP_NUM_THREADS=8"
    assert "# yours; primus would set 1: one thread per worker" in line


def test_a_value_with_spaces_can_be_copied_into_a_shell():
    wish = Variable(name="FLAGS", value="a b", reason="r")
    assert "FLAGS='a b'" in shown(environment=(wish,))


def test_a_secret_is_not_shown():
    wish = Variable(name="HF_TOKEN", value="abc", reason="r")
    assert f"HF_TOKEN={HIDDEN}" in shown(environment=(wish,))


def test_several_nodes_see_what_was_found_of_their_network():
    network = Network(
        interface="eth0",
        route="the default route",
        link="roce",
        ports=("mlx5_0:1",),
        fabric="1 active port; left out: mlx5_1:1 (DOWN)",
        gid="differs between the ports",
    )
    text = shown(resources=replace(SEVERAL, accelerator="amd", gpu_model="gfx942", network=network))
    assert "4 on amd (gfx942): 2 nodes" in text
    assert text.split("\n\n")[2].splitlines() == [
        "Network of this node:",
        "  Interface:  eth0, the default route",
        "  RDMA ports: 1 active port; left out: mlx5_1:1 (DOWN)",
        "  GID index:  none, differs between the ports",
    ]


def test_a_value_of_the_gpu_model_is_shown_as_such():
    resources = Resources(accelerator="amd", gpu_model="gfx950")
    assert "# gfx950: Transformer Engine may use MXFP8" in shown(resources=resources)
