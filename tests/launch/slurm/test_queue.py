"""What squeue, sacct and scontrol print, on the versions of SLURM that are in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.errors import ServiceError
from primus.launch.slurm.nodes import failed_since
from primus.launch.slurm.queue import ask, parse_accounts, parse_queue, queued
from primus.launch.slurm.reasons import read_reason
from primus.launch.slurm.states import STATES, read_state

RECORDED = Path(__file__).with_name("recorded")

QUEUE = {
    "22.05": """\
12_0|RUNNING|main|2|None|2026-11-22T22:03:42|1:00:00|0:12|n[1-2]|/work/us/me/toy/runs/A/slurm/job.sh
12_1|PENDING|main|2|Resources|2026-11-22T23:00:00|1:00:00|0:00||/work/us/me/toy/runs/A/slurm/job.sh
9|COMPLETED|main|1|None|2026-11-22T21:00:00|UNLIMITED|0:05|n3|/work/with|pipe
and line/runs/B/slurm/job.sh
""",
    "23.11": """\
12|PENDING|main,short|8|Priority|N/A|NOT_SET|0:00||/w/runs/A/slurm/job.sh
13|PENDING|gpu|1|ReqNodeNotAvail, UnavailableNodes:n[1,3]|N/A|1:00|0:00||(null)
""",
    "25.05": """\
CLUSTER: big
12+0|RUNNING|main|1|None|2026-11-22T22:03:42|1-00:00:00|1-02:03:04|n1|bash
14|REQUEUE_HOLD|main|1|launch failed requeued held|Unknown|1:00|0:00|n1|/w/runs/C/slurm/job.sh
""",
}


def test_rows_of_the_queue_are_read_whatever_their_commands_hold():
    rows = parse_queue(QUEUE["22.05"])
    assert [row.job for row in rows] == ["9", "12_0", "12_1"]
    done, running, waiting = rows
    assert done.command == "/work/with|pipe\nand line/runs/B/slurm/job.sh"
    assert (running.word, running.nodes, running.count, running.reason) == ("RUNNING", "n[1-2]", 2, "")
    assert (waiting.reason, waiting.start, waiting.nodes) == ("Resources", "2026-11-22T23:00:00", "")


def test_what_slurm_does_not_say_is_empty():
    first, second = parse_queue(QUEUE["23.11"])
    assert (first.partition, first.start, first.limit) == ("main,short", "", "")
    assert (second.reason, second.command) == ("ReqNodeNotAvail, UnavailableNodes:n[1,3]", "")


def test_the_line_of_a_named_cluster_is_no_job():
    assert [row.job for row in parse_queue(QUEUE["25.05"])] == ["12+0", "14"]


def test_accounts_tell_of_every_attempt_and_of_signals():
    rows = parse_accounts((RECORDED / "sacct-22.05.txt").read_text())
    assert [(row.job, row.word, row.exit_code) for row in rows] == [
        ("1", "COMPLETED", 0),
        ("2", "FAILED", 7),
        ("3", "TIMEOUT", 0),
        ("4_0", "COMPLETED", 0),
        ("4_1", "COMPLETED", 0),
        ("5", "CANCELLED", 0),
        ("7", "FAILED", 137),
        ("8", "CANCELLED", 0),
        ("9", "NODE_FAIL", 0),
        ("9", "COMPLETED", 0),
        ("10", "NODE_FAIL", 0),
    ]
    held = next(row for row in rows if row.job == "8")
    assert (held.nodes, held.start, held.limit) == ("", "", "")
    assert [row.nodes for row in rows if row.job == "9"] == ["n[1-2]", "n[1,4]"]


@pytest.fixture
def slurm(tmp_path):
    """Makes tools of SLURM from lines of shell; the environment that finds them."""

    def make(**tools):
        for name, script in tools.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin", "SQUEUE_FORMAT": "%i", "SLURM_TIME_FORMAT": "relative"}

    return make


INVALID = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
NO_ACCOUNTS = "echo 'Slurm accounting storage is disabled' >&2; exit 1"


def test_a_job_that_the_queue_has_forgotten_is_looked_for_in_the_accounts(slurm):
    row = "12|FAILED|7:0|Unknown|Unknown|main|2|1:00:00|00:04:00|n1"
    (found,) = ask("12", slurm(squeue=INVALID, sacct=f"echo '{row}'"))
    assert (found.source, found.exit_code) == ("sacct", 7)


def test_without_accounts_there_is_nothing_of_it(slurm):
    assert ask("12", slurm(squeue=INVALID, sacct=NO_ACCOUNTS)) == []


def test_a_controller_that_is_down_is_an_error(slurm):
    tools = slurm(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ServiceError, match="controller does not answer"):
        queued(["-j", "12"], tools)


def test_what_the_user_has_chosen_of_the_output_does_not_count(slurm):
    tools = slurm(
        squeue='echo "$SQUEUE_FORMAT$SLURM_TIME_FORMAT" >&2; [ "$SQUEUE_FORMAT$SLURM_TIME_FORMAT" = standard ]'
    )
    assert queued(["-j", "12"], tools) == []


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("PartitionDown", "partition debug is down: it will never start"),
        ("Resources", "not enough nodes are free"),
        ("(Priority)", "other jobs go first"),
        ("JobHeldUser", "it is held: `scontrol release` lets it go"),
        (
            "ReqNodeNotAvail, UnavailableNodes:n1",
            "a node that it needs is down, drained or reserved (UnavailableNodes:n1)",
        ),
        ("QOSMaxGRESPerUser", "a limit of its quality of service is reached"),
        ("AssocGrpGRES", "a limit of its account is reached"),
        ("DependencyNeverSatisfied", "the job that it depends on did not end as it has to: it will never start"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons_are_plain_words(reason, words):
    assert str(read_reason(reason, "debug")) == words


def test_no_reason_is_none():
    assert [read_reason(text) for text in ("", "None", "(null)")] == [None, None, None]


def test_every_state_has_a_name_of_ours():
    assert {name: read_state(name).name for name in ("PENDING", "RUNNING", "COMPLETED", "NODE_FAIL", "TIMEOUT")} == {
        "PENDING": "pending",
        "RUNNING": "running",
        "COMPLETED": "succeeded",
        "NODE_FAIL": "failed",
        "TIMEOUT": "interrupted",
    }
    assert all((state.phase == "ended") == (state.exit_status is not None) for state in STATES.values())


NODES = """\
echo 'NodeName=n1 Arch=x86_64 State=DOWN*+DRAIN BootTime=2026-01-01T00:00:00 Reason=Not responding [slurm@2026-11-22]'
echo 'NodeName=n2 Arch=x86_64 State=IDLE BootTime=2999-01-01T00:00:00 Comment=(null)'
echo 'NodeName=n3 Arch=x86_64 State=ALLOCATED BootTime=2026-01-01T00:00:00'
"""


def test_nodes_that_are_down_or_were_started_anew_have_failed(slurm):
    assert failed_since("n[1-3]", "2026-11-22T20:00:00Z", slurm(scontrol=NODES)) == {
        "n1": "node n1 is down*+drain: Not responding",
        "n2": "node n2 was started anew at 2999-01-01T00:00:00",
    }
