"""A submission held against what sinfo prints."""

from __future__ import annotations

import pytest

from primus.launch.slurm.options import Options
from primus.launch.slurm.partitions import parse
from primus.launch.slurm.preflight import check

SINFO = """\
main*|up|2-00:00:00|6|idle|128|1024000|gpu:mi300x:8(S:0-1)|mi300x,ib
main*|up|2-00:00:00|2|drained*|128|1024000|gpu:mi300x:8(S:0-1)|mi300x,ib
main*|up|2-00:00:00|4|mixed|64|512000+|gpu:mi210:4|mi210
debug|up|30:00|1|idle|64|512000|gpu:mi210:4|mi210
cpu|up|infinite|10|allocated|32|128000|(null)|(null)
old|down|infinite|3|idle|32|128000|(null)|(null)
soon|inact|infinite|3|idle|32|128000|(null)|(null)
"""


def findings(text=SINFO, **fields):
    return check(Options(**fields), {}, parse(text))


def problems(**fields):
    return findings(**fields).problems


def test_partitions_are_read():
    main, debug, *_ = parse(SINFO)
    assert (main.name, main.is_default, main.minutes) == ("main", True, 2880)
    assert [nodes.count for nodes in main.nodes] == [6, 2, 4]
    assert [nodes.gpus for nodes in main.nodes] == [8, 8, 4]
    assert debug.minutes == 30


def test_what_fits_has_no_problem():
    found = findings(nnodes=6, gpus_per_node="mi300x:8", time="1-0", cpus_per_task=128, mem="900G", constraint="ib")
    assert not found.problems
    assert not found.warnings


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"partition": "mian"},
            "there is no partition mian. Did you mean main? Partitions: main, debug, cpu, old, soon",
        ),
        ({"partition": "old"}, "partition old is down; the job would never start"),
        ({"partition": "soon"}, "partition soon is inactive; the job would never start"),
        ({"partition": "debug", "time": "1:00:00"}, "--time 1:00:00: partition debug allows at most 30:00"),
        ({"partition": "debug", "time": "infinite"}, "partition debug allows at most 30:00"),
        ({"partition": "debug", "nnodes": 2}, "--nnodes 2: partition debug has 1 node"),
        ({"nnodes": 13}, "--nnodes 13: partition main has 12 nodes"),
        (
            {"gpus_per_node": "9"},
            "no node of partition main has 9 GPUs (its nodes have gpu:mi300x:8(S:0-1), gpu:mi210:4)",
        ),
        ({"nnodes": 9, "gpus_per_node": "8"}, "only 8 nodes of partition main have 8 GPUs"),
        ({"gpus_per_node": "mi250:1"}, "no node of partition main has 1 GPU of type mi250"),
        ({"gres": "gpu:mi210:8"}, "no node of partition main has 8 GPUs of type mi210"),
        ({"partition": "cpu", "gpus_per_node": "1"}, "has 1 GPU (its nodes have no GPU)"),
        (
            {"cpus_per_task": 256},
            "--cpus-per-task 256: no node of partition main has 256 CPUs (its nodes have 128, 64)",
        ),
        ({"mem": "2T"}, "--mem: no node of partition main has 2T"),
        ({"constraint": "h200"}, "--constraint: no node of partition main has the feature h200"),
        ({"constraint": "mi210", "cpus_per_task": 128}, "partition main has 0 with 128 CPUs and the feature mi210"),
    ],
)
def test_what_would_be_refused_or_wait_for_ever_is_said(fields, text):
    (problem,) = problems(**fields)
    assert text in problem


def test_all_problems_are_said_at_once():
    assert len(problems(partition="debug", time="1:00:00", gpus_per_node="8", mem="1T")) == 3


def test_one_of_several_partitions_is_enough():
    found = findings(partition="debug,main", time="1:00:00", gpus_per_node="4")
    assert not found.problems
    assert "partition debug allows at most 30:00" in found.warnings[0]


def test_a_cluster_without_a_default_partition_needs_a_choice():
    (problem,) = findings(SINFO.replace("*", "")).problems
    assert "has no default one; choose from main, debug, cpu" in problem


def test_nodes_that_can_not_be_used_now_are_a_warning():
    (warning,) = findings(nnodes=8, gpus_per_node="8").warnings
    assert "6 can be used now (others: drained*); the job waits until there are 8" in warning


def test_gpus_that_nobody_asks_for_are_a_warning():
    (warning,) = findings(nnodes=2).warnings
    assert "has nodes with 8 GPUs and the job asks for none; --gpus-per-node 8" in warning
    assert not findings(nnodes=2, gpus_per_node="0").warnings


def test_an_expression_of_features_is_left_to_slurm():
    assert not problems(constraint="[a*2&b*1]", gpus_per_node="8")
