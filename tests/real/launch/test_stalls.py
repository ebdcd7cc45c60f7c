"""Trainings that get no further."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest
from training import Training

pytestmark = pytest.mark.real

LONG = ("--set", "train_iters=100000", "--set", "save_interval=100000", "--set", "log_interval=1")


def test_a_stopped_rank_is_shown_with_the_stacks_of_all_and_the_job_ends(train: Callable[..., Training]) -> None:
    training = train("--nproc-per-node", "2", "--stall-timeout", "5", "--on-stall", "kill", *LONG)
    training.wait_for("step 4/")
    training.signal(1, signal.SIGSTOP)
    assert training.finish() == 124, training.text
    assert "Probably held up by rank 1." in training.text
    assert "stopped by a signal" in training.text
    # The other one may have been stopped at the same place.
    stack = re.split(r"Stack of ranks? 0(?:-1)?, innermost call first:", training.text)[1]
    assert ".py" in stack
    assert training.status["exit_status"] == 124
    assert training.status["cause"].startswith("stalled at step ")
    assert training.status["cause"].endswith(": rank 1")


def test_node_0_shows_the_ranks_of_all_nodes(two_nodes: Callable[..., list[Training]]) -> None:
    nodes = two_nodes("--stall-timeout", "5", "--on-stall", "kill", *LONG)
    nodes[0].wait_for("step 4/")
    nodes[0].signal(1, signal.SIGSTOP, node=1)
    assert [node.finish() for node in nodes] == [124, 124], nodes[0].text + nodes[1].text
    assert "rank 1 on node 1" in nodes[0].text
    assert re.search(r"Stack of ranks? 0(-1)?, innermost call first:", nodes[0].text)
    assert nodes[0].status["cause"].endswith(": rank 1")
