"""Workers that get no further: when that is noticed, what is said of it, and how the job ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace

import pytest

from primus.backends.heartbeat import read_heartbeat
from primus.job import Job, Resources
from primus.launch import guard, together
from primus.launch.care import Care
from primus.launch.link import Link
from primus.launch.stall import Standing, cause_of, describe, holders
from primus.launch.supervise import Supervisor

QUICK = {"stall_timeout": 0.2}

UNHURRIED = {"stall_timeout": 2.0}
"""Leaves the ranks time to be at the same step: each writes its heartbeat once a second."""


def standing(rank, step=7, stack="", **fields):
    given = {"node": 0, "host": "node-a", "phase": "training", "seconds": 312.0, **fields}
    return Standing(rank=rank, step=step, stack=stack, **given)


def test_a_stopped_rank_holds_the_others_up():
    ranks = [
        standing(0, stack="a"),
        replace(standing(1, stack="a"), note="stopped by a signal"),
        standing(2, stack="b"),
    ]
    assert holders(ranks) == [1]


def test_a_rank_that_is_behind_holds_the_others_up():
    assert holders([standing(0), standing(1, step=6, stack="x"), standing(2)]) == [1]


def test_a_rank_that_does_something_else_than_most_holds_them_up():
    assert holders([standing(rank, stack="load" if rank == 2 else "all_reduce") for rank in range(4)]) == [2]


def test_nobody_is_blamed_when_all_do_the_same():
    assert holders([standing(rank, stack="all_reduce") for rank in range(3)]) == [0, 1, 2]


def test_the_cause_names_step_and_ranks():
    assert cause_of([standing(0), standing(1, step=6)]) == "stalled at step 7: rank 1"


def test_identical_stacks_are_shown_once_with_their_ranks():
    ranks = [standing(rank, stack="File x, in all_reduce") for rank in range(3)]
    text = describe([*ranks, standing(3, step=None, phase="starting", stack="File y, in load")])
    assert text.splitlines() == [
        "No step for 312 s. Probably held up by rank 3.",
        "  ranks 0-2 on node 0 (node-a): step 7 done, training, for 312 s",
        "  rank 3 on node 0 (node-a): no step yet, starting, for 312 s",
        "Stack of rank 3, innermost call first:",
        "  File y, in load",
        "Stack of ranks 0-2, innermost call first:",
        "  File x, in all_reduce",
    ]


def test_nodes_and_ranks_without_a_stack_are_named():
    text = describe([standing(0, stack="s"), standing(1, node=1, host="node-b", note="stopped by a signal")])
    assert "  rank 1 on node 1 (node-b): step 7 done, training, stopped by a signal, for 312 s" in text
    assert "No stack of rank 1: not able to answer." in text


def test_a_stall_is_told_with_every_ranks_stack_and_training_may_go_on(launch):
    run = launch("hang", resources={"nproc_per_node": 2}, care=UNHURRIED)
    seen = read_until(run, "Stack of rank 1")
    text = "".join(seen)
    assert "No step for" in text
    assert "ranks 0-1 on node 0" in text
    assert "step 3 done, training" in text
    assert "hold_up" in text
    (run.run_dir / "resume").touch()
    read_until(run, "Training goes on.")


def read_until(run, word):
    """The lines of the launcher up to the one with this word."""
    lines = []
    for line in run.process.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word} never came: {''.join(lines)}")


def test_a_stalled_job_ends_with_a_status_of_its_own_when_that_is_wanted(launch, gone):
    run = launch("hang", resources={"nproc_per_node": 2}, care=UNHURRIED | {"on_stall": "kill"})
    status, out, err = run.finish()
    assert status == 124
    assert "Training failed: stalled at step 3: rank" in err
    assert run.status()["state"] == "failed"
    assert run.status()["exit_status"] == 124
    assert run.status()["cause"].startswith("stalled at step 3: rank")
    assert "hold_up" in out
    gone(run.pid(0), run.pid(1))


def test_a_stopped_rank_is_named(launch, until):
    run = launch("hang_when_told", resources={"nproc_per_node": 2}, care=QUICK | {"on_stall": "kill"})
    run.wait_for("waiting-0", "waiting-1")
    until(lambda: read_heartbeat(run.run_dir / "heartbeats/node0-rank1") is not None)
    os.kill(run.pid(1), signal.SIGSTOP)
    (run.run_dir / "begin").touch()  # start-up may take long: before this nobody is late
    _, out, _ = run.finish()
    assert "Probably held up by rank 1." in out
    assert "stopped by a signal (kill -CONT lets it go on)" in out


def test_workers_that_hang_when_those_of_node_0_are_done_are_shown_and_ended(launch, tmp_path, gone):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    common = {"nnodes": 2, "nproc_per_node": 1, "master_addr": "127.0.0.2", "master_port": port}
    care = UNHURRIED | {"on_stall": "kill"}
    runs = [
        launch(
            "hang_on_node_1", run_dir=tmp_path / "run", resources={**common, "node_rank": node}, care=care, meet=True
        )
        for node in (0, 1)
    ]
    (status, out, err), (other_status, _, other_err) = [run.finish() for run in runs]
    assert status == other_status == 124
    assert "rank 1 on node 1" in out
    assert "step 3 done, training" in out
    assert "hold_up" in out
    assert "No answer" not in out
    for text in (err, other_err):
        assert "Training failed: stalled at step 3: rank 1" in text
    assert runs[0].status()["cause"] == "stalled at step 3: rank 1"
    gone(runs[0].pid(1))


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Node 0 when its workers are done, its link, what it noted, and node 1's link to it."""
    monkeypatch.setattr(guard, "_COLLECT", 0.0)
    job = Job(
        name="toy",
        backend="toy",
        module="toy",
        total_steps=3,
        resources=Resources(nnodes=2),
        run_dir=tmp_path,
        console_ranks=(0,),
        files={},
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Link({1: socket.create_connection(server.getsockname())})
        other = Link({0: server.accept()[0]})
    notes = []
    yield (
        guard.Guard(job, Supervisor(), Care(stall_timeout=1.0, on_stall="kill"), link, notes.append),
        link,
        notes,
        other,
    )
    link.close()
    other.close()


def test_a_node_that_does_not_say_where_its_workers_are_is_named(alone):
    guard, link, notes, other = alone
    other.send("stalled")
    supervisor = Supervisor()
    supervisor.grace = -together._LAST_WORDS
    together.hear_all(guard, link, supervisor)
    assert notes == ["No step for a while.\nNo answer from node 1."]
    assert guard.end.cause == "stalled: no answer from node 1"
    assert guard.end.exit_status == 124
    assert [message.kind for message in other.receive(60.0)] == ["show", "end"]


def test_a_node_whose_workers_end_after_all_is_no_stall(alone):
    guard, link, notes, other = alone
    other.send("stalled")
    other.send("ended", state="succeeded", exit_status=0, cause=None, killed=False, failures=[])
    together.hear_all(guard, link, Supervisor())
    assert notes == []
    assert guard.end is None


@pytest.mark.parametrize("toy", ["hang_at_start", "save_for_ever"])
def test_start_up_and_saving_may_take_longer(launch, toy, until):
    run = launch(toy, care=QUICK | {"on_stall": "kill"})
    run.wait_for("waiting-0")
    until(lambda: read_heartbeat(run.run_dir / "heartbeats/node0-rank0") is not None)
    time.sleep(2.5)
    assert run.process.poll() is None


def test_no_watch_when_the_timeout_is_0(launch, until):
    run = launch("hang", care={"stall_timeout": 0.0, "on_stall": "kill"})
    run.wait_for("heartbeats")
    (run.run_dir / "resume").touch()
    until(lambda: (beat := read_heartbeat(run.run_dir / "heartbeats/node0-rank0")) is not None and beat.step == 4)
    assert run.process.poll() is None
