"""A job as a process: its command line and its environment."""

from __future__ import annotations

import os
from pathlib import Path

from primus.job import Job, Resources, Variable
from primus.launch.render import command, environment


def job(**changes) -> Job:
    fields = {
        "name": "toy",
        "backend": "toy",
        "module": "toy.worker",
        "args": ("--resume", "auto"),
        "resources": Resources(),
        "run_dir": Path("/runs/1"),
    }
    return Job(**{**fields, **changes})


def test_one_process_runs_the_worker_directly():
    assert command(job(), "python") == ["python", "-m", "toy.worker", "/runs/1", "--resume", "auto"]


def test_the_worker_is_told_the_number_of_steps():
    assert command(job(total_steps=7), "python")[-2:] == ["--total-steps", "7"]


def test_several_processes_on_one_node_meet_on_a_port_that_the_agent_takes():
    assert command(job(resources=Resources(nproc_per_node=2)), "python") == [
        *("python", "-m", "primus.launch.agent"),
        *("--nnodes=1", "--node-rank=0", "--nproc-per-node=2"),
        *("--master-addr=127.0.0.1", "--master-port=0"),
        *("-m", "toy.worker", "/runs/1", "--resume", "auto"),
    ]


def test_several_nodes_meet_at_the_address_that_was_given_with_their_own_ranks():
    resources = Resources(nnodes=2, node_rank=1, nproc_per_node=8, master_addr="node-a", master_port=2222)
    assert command(job(resources=resources), "python")[3:8] == [
        *("--nnodes=2", "--node-rank=1", "--nproc-per-node=8"),
        *("--master-addr=node-a", "--master-port=2222"),
    ]


def test_a_single_process_gets_the_variables_that_torchrun_would_set():
    variables = environment(job(), {})
    assert {name: variables[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")} == {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }


def test_a_port_that_was_given_is_used_for_a_single_process_too():
    assert environment(job(resources=Resources(master_port=2222)), {})["MASTER_PORT"] == "2222"


def test_the_place_of_the_starting_process_is_not_passed_on():
    outer = {"RANK": "5", "LOCAL_RANK": "5", "WORLD_SIZE": "64", "NODE_RANK": "3", "HOME": "/home/u"}
    variables = environment(job(resources=Resources(nproc_per_node=2)), outer)
    assert variables["HOME"] == "/home/u"
    assert not variables.keys() & {"RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK"}


def test_what_the_backend_needs_is_added_and_the_users_own_value_wins():
    wishes = (Variable(name="A", value="1", reason="r"), Variable(name="B", value="1", reason="r"))
    variables = environment(job(environment=wishes), {"B": "mine"})
    assert (variables["A"], variables["B"]) == ("1", "mine")


def test_the_environment_of_the_launcher_itself_is_left_alone():
    before = dict(os.environ)
    environment(job(environment=(Variable(name="A", value="1", reason="r"),)), os.environ)
    assert dict(os.environ) == before


def test_what_a_job_does_without_is_not_inherited_not_even_empty():
    made = environment(job(without={"HIPBLASLT_TUNING_OVERRIDE_FILE": "r"}), {"HIPBLASLT_TUNING_OVERRIDE_FILE": ""})
    assert "HIPBLASLT_TUNING_OVERRIDE_FILE" not in made
