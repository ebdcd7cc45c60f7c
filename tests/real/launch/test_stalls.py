"""Trainings that get no further."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from training import Training

pytestmark = pytest.mark.real

LONG = ("--set", "train_iters=100000", "--set", "save_interval=100000", "--set", "log_interval=1")


def test_a_stopped_rank_is_shown_with_the_stacks_of_all_and_the_job_ends(train: Callable[..., Training]) -> None:
    training = train("--nproc-per-node", "2", "--stall-timeout", "2", "--on-stall", "kill", *LONG)
    training.wait_for("step 4/")
    training.signal(1, signal.SIGSTOP)
    assert training.finish() == 124, training.text
    assert "Probably held up by rank 1." in training.text
    assert "stopped by a signal" in training.text
    stack = training.text.partition("Stack of rank 0, innermost call first:")[2]
    assert ".py" in stack, training.text  # of torch or megatron, wherever it waits for the other
    assert training.status["exit_status"] == 124
    assert training.status["cause"].startswith("stalled at step ")
    assert training.status["cause"].endswith(": rank 1")


def test_node_0_shows_the_ranks_of_all_nodes(two_nodes: Callable[..., list[Training]]) -> None:
    nodes = two_nodes("--stall-timeout", "2", "--on-stall", "kill", *LONG)
    nodes[0].wait_for("step 4/")
    nodes[0].signal(1, signal.SIGSTOP, node=1)
    assert [node.finish() for node in nodes] == [124, 124], nodes[0].text + nodes[1].text
    assert "rank 1 on node 1" in nodes[0].text
    assert "Stack of rank 0, innermost call first:" in nodes[0].text
    assert nodes[0].status["cause"].endswith(": rank 1")
