"""One attempt after another: what the other nodes hear when a part can't begin, and signals between two attempts."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from primus.errors import MissingError
from primus.job import Job, Resources
from primus.launch import attempts, restart
from primus.launch.attempt import Agreed
from primus.launch.attempts import Steps, run_attempts
from primus.launch.care import Care
from primus.launch.link import LOST, Link
from primus.launch.local import submit
from primus.launch.record import Outcome
from primus.launch.supervise import Interrupted
from primus.run import RunDirectory


@pytest.fixture
def links():
    """Those of node 0 and of node 1, to each other."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname())
        second = server.accept()[0]
    links = (Link({1: first}), Link({0: second}))
    yield links
    for link in links:
        link.close()


@pytest.mark.parametrize(
    ("node", "kind", "cause"), [(0, "end", "on node 0: no room"), (1, "ended", "no room")], ids=["node0", "node1"]
)
def test_what_keeps_a_part_from_beginning_after_the_nodes_have_met_is_told(links, node, kind, cause):
    def plan(agreed):
        raise MissingError("no room")

    steps = Steps(meet=lambda: (Agreed(run_id="run"), links[node]), plan=plan, newest_checkpoint=lambda: None)
    with pytest.raises(MissingError, match=r"^no room$"):
        run_attempts(steps, Care(), argv=["primus"], environ=os.environ)
    told, lost = [*links[1 - node].receive(60.0), *links[1 - node].receive(60.0)][:2]
    assert (told.kind, told.data["cause"], told.data["exit_status"]) == (kind, cause, 4)
    assert lost.kind == LOST


STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]


@pytest.fixture
def job(tmp_path):
    return Job(
        name="toy",
        backend="toy",
        module="toy",
        total_steps=3,
        resources=Resources(),
        run_dir=tmp_path / "run",
        console_ranks=(0,),
        files={"experiment.yaml": "toy: true\n"},
    )


@pytest.fixture
def environ():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent / "workers"), "TOY": "die"}


def again(outcome):
    return replace(outcome, state="restarting", again=3600.0)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_in_the_pause_before_a_restart_ends_the_job(job, environ, monkeypatch, capsys, number):
    def pause(seconds):
        os.kill(os.getpid(), number)
        time.sleep(seconds)

    def fail(job, *, judge, **given):
        return submit(job, judge=again, **given)

    monkeypatch.setattr(restart, "pause", pause)
    monkeypatch.setattr(attempts, "submit", fail)
    steps = Steps(
        meet=lambda: (Agreed(run_id="run"), None), plan=lambda agreed: (job, None), newest_checkpoint=lambda: None
    )
    ended = run_attempts(steps, Care(), argv=["primus"], environ=environ)
    status = RunDirectory(job.run_dir).read_status()
    assert ended.exit_status == status.exit_status == 128 + number
    assert (status.state, status.cause) == ("interrupted", f"stopped by {number.name}")
    assert f"toy: stopped by {number.name}, not started again." in capsys.readouterr().err


@pytest.mark.parametrize("number", STOPS[:3])
def test_a_signal_while_a_restart_is_decided_is_not_lost(job, environ, number):
    def judge(outcome):
        os.kill(os.getpid(), number)
        return again(outcome)

    with pytest.raises(Interrupted) as asked:
        submit(job, argv=["primus"], environ=environ, judge=judge)
    assert asked.value.signal == number


def test_a_signal_when_the_workers_have_ended_does_not_hide_how(job, environ):
    """SLURM's warning may come at the last moment."""

    def judge(outcome):
        for number in STOPS:
            os.kill(os.getpid(), number)
        return outcome

    outcome = submit(job, argv=["primus"], environ=environ | {"TOY": "steps"}, judge=judge)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.exit_status) == ("succeeded", 0)
    assert RunDirectory(job.run_dir).read_status().state == "succeeded"
