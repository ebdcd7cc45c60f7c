"""Trainings that fail and are started again."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import pytest
from training import Training

pytestmark = pytest.mark.real

Start = Callable[..., Training]
Hold = Callable[[int], None]
Nodes = Callable[..., list[Training]]

EVERYTHING = ("step", "loss", "grad_norm", "lr")


@pytest.fixture(scope="module")
def undisturbed(train: Start) -> list[tuple[float, ...]]:
    training = train("--nproc-per-node", "2")
    assert training.finish() == 0, training.text
    return training.reports(*EVERYTHING)


def test_a_killed_rank_costs_nothing_but_time(
    train: Start, undisturbed: list[tuple[float, ...]], hold_after: Hold
) -> None:
    hold_after(7)
    training = train("--nproc-per-node", "2", "--max-restarts", "2")
    training.wait_for("step 6/12")
    training.signal(1, signal.SIGKILL)
    assert training.finish() == 0, training.text
    assert "Starts again from" in training.text
    assert "after step 4." in training.text
    assert training.status["attempt"] == 2
    (first,) = training.status["attempts"]
    assert (first["state"], first["exit_status"]) == ("failed", 137)
    assert "rank 1 on node 0: died of SIGKILL" in first["cause"]
    assert training.reports(*EVERYTHING) == undisturbed


def test_both_nodes_start_again_when_one_fails(
    two_nodes: Nodes, undisturbed: list[tuple[float, ...]], hold_after: Hold
) -> None:
    hold_after(7)
    nodes = two_nodes("--max-restarts", "1")
    nodes[0].wait_for("step 6/12")
    nodes[0].signal(1, signal.SIGKILL, node=1)
    assert [node.finish() for node in nodes] == [0, 0], nodes[0].text + nodes[1].text
    assert nodes[0].status["attempt"] == 2
    assert nodes[0].reports(*EVERYTHING) == undisturbed


def test_a_failure_on_one_node_is_the_exit_status_of_all(two_nodes: Nodes, hold_after: Hold) -> None:
    hold_after(3)
    nodes = two_nodes()
    nodes[0].wait_for("step 2/12")
    nodes[0].signal(1, signal.SIGKILL, node=1)
    assert [node.finish() for node in nodes] == [137, 137], nodes[0].text + nodes[1].text
    assert nodes[0].status["cause"].startswith("rank 1 on node 1: died of SIGKILL")


def test_a_node_that_goes_away_ends_the_job(two_nodes: Nodes, hold_after: Hold) -> None:
    hold_after(3)
    nodes = two_nodes()
    nodes[0].wait_for("step 2/12")
    nodes[1].process.kill()
    assert nodes[0].finish() == 5, nodes[0].text
    assert nodes[0].status["cause"].startswith(f"node 1 ({socket.gethostname()}) went away")


def test_a_divergence_that_comes_back_is_not_tried_a_third_time(train: Start) -> None:
    training = train("--max-restarts", "5", "--set", "lr=1e30", "--set", "clip_grad=0")
    assert training.finish() == 1, training.text
    assert "was no finite number before: it would be again" in training.text
    assert training.status["attempt"] == 2


def test_a_stop_is_not_a_failure(train: Start) -> None:
    training = train("--max-restarts", "5", "--set", "train_iters=100000", "--set", "save_interval=100000")
    training.wait_for("step 2/")
    training.process.send_signal(signal.SIGTERM)
    assert training.finish() == 143, training.text
    assert training.status["state"] == "interrupted"
    assert training.status["attempts"] == []
