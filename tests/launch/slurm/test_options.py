"""Options held against their rules, and what sbatch gets of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from primus.launch.slurm.options import RULES, Options, problems, sbatch_arguments


def test_every_option_has_a_rule():
    assert {field.name for field in fields(Options)} == {"nnodes", *RULES}


def test_all_problems_are_named_with_their_places():
    options = Options(time="2h", mem="lots", dependency="1", cpus_per_task=0)
    found = problems(options, {"time": "$SBATCH_TIMELIMIT", "mem": "slurm.toml:3 mem"})
    assert [line.partition(":")[0] for line in found[:1]] == ["$SBATCH_TIMELIMIT '2h'"]
    assert found[1] == "--cpus-per-task 0: expected a number from 1 on"
    assert found[2].startswith("slurm.toml:3 mem 'lots': expected a size")
    assert len(found) == 4


def test_options_become_those_of_sbatch():
    options = Options(nnodes=3, partition="main", exclusive=True, gpus_per_node="8", mail="me@x.org")
    assert sbatch_arguments(options, name="toy") == [
        "--nodes=3",
        "--ntasks-per-node=1",
        "--partition=main",
        "--exclusive",
        "--gpus-per-node=8",
        "--mail-user=me@x.org",
        "--job-name=toy",
        "--mail-type=END,FAIL,REQUEUE,INVALID_DEPEND",
    ]


def test_a_name_that_was_asked_for_wins():
    assert "--job-name=mine" in sbatch_arguments(Options(job_name="mine"), name="toy")


def test_further_options_stand_last_where_sbatch_lets_them_win():
    assert sbatch_arguments(Options(sbatch_args=("--switches=1",)), name="toy")[-1] == "--switches=1"


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("--export=ALL,A=1", "environment goes through a file"),
        ("-D/tmp", "works where it is submitted"),
        ("--partition=x", "use --partition"),
        ("--array=1-3", "use --array, which takes KEY=V1,V2"),
        ("-N2", "use --nnodes"),
        ("switches=1", "expected one option of sbatch in one word"),
        ("--", "expected one option of sbatch in one word"),
    ],
)
def test_a_further_option_that_would_break_the_job_is_refused(argument, reason):
    (found,) = problems(Options(sbatch_args=(argument,)), {})
    assert reason in found


def test_gpus_are_asked_for_once():
    (found,) = problems(Options(gres="gpu:4", gpus_per_node="4"), {})
    assert "both ask for GPUs" in found


def test_a_gpu_takes_one_process():
    (found,) = problems(Options(gpus_per_node="4", nproc_per_node=8), {})
    assert "8 processes on 4 GPUs (--gpus-per-node)" in found


def test_good_options_have_no_problem():
    options = Options(
        partition="a,b",
        time="1-0",
        gres="gpu:2,nvme:1",
        mem="0",
        dependency="afterok:3",
        comment="with spaces, 'quotes'\nand $(lines)",
        sbatch_args=("--switches=1", "-v"),
    )
    assert not problems(options, {})
