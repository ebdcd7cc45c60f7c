"""The workers of one node: what they are told, how their ends become one, and the store of the job."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from primus.run import RunDirectory

WORKER = """\
import json, os, pathlib, signal, sys, time
from primus.lifeline import die_with_parent
die_with_parent()
run_dir, rank = pathlib.Path(sys.argv[1]), os.environ["RANK"]
def hold(number, frame):
    (run_dir / f"told-{rank}-{signal.Signals(number).name}").touch()
    if number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the end of another worker makes the agent tell it once more
        sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, hold)
(run_dir / f"up-{rank}").write_text(json.dumps(dict(os.environ)))
def wait(name=None):
    while name is None or not (run_dir / name).exists():
        time.sleep(0.01)
exec(os.environ.get(f"DO_{rank}", "pass"))
"""


class Node:
    """One agent whose workers do what $DO_<rank> says."""

    def __init__(self, folder: Path, *options: str, **tasks: str) -> None:
        (folder / "toy_worker.py").write_text(WORKER)
        self.run_dir = folder / "run"
        RunDirectory(self.run_dir).create({}, node=0)
        defaults = {
            "nnodes": "1",
            "node-rank": "0",
            "nproc-per-node": "2",
            "master-addr": "127.0.0.1",
            "master-port": "0",
        }
        chosen = defaults | dict(zip(options[::2], options[1::2], strict=True))
        self.process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "primus.launch.agent",
                    *(f"--{name}={value}" for name, value in chosen.items()),
                ),
                *("-m", "toy_worker", str(self.run_dir)),
            ],
            env=os.environ | {"PYTHONPATH": str(folder)} | tasks,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, *names: str) -> None:
        while not all((self.run_dir / name).exists() for name in names):
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.01)

    def told(self, rank: int) -> dict[str, str]:
        """The environment of a worker."""
        return json.loads((self.run_dir / f"up-{rank}").read_text())

    def finish(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=240)
        return self.process.returncode, out


@pytest.fixture
def start(tmp_path):
    started = []

    def start_node(*options: str, **tasks: str) -> Node:
        started.append(Node(tmp_path, *options, **tasks))
        return started[-1]

    yield start_node
    for node in started:
        node.process.kill()
        node.process.communicate()


def test_each_worker_is_told_its_place_as_torchrun_would(start):
    node = start("nnodes", "3", "node-rank", "2", "master-addr", "node-a", "master-port", "29501")
    assert node.finish() == (0, "")
    told = node.told(5)
    assert {
        name: told[name] for name in told if name.startswith(("RANK", "LOCAL", "GROUP", "WORLD", "ROLE", "MASTER"))
    } == {
        **{"RANK": "5", "LOCAL_RANK": "1", "GROUP_RANK": "2", "ROLE_RANK": "5", "ROLE_NAME": "default"},
        **{"WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "3", "ROLE_WORLD_SIZE": "6"},
        **{"MASTER_ADDR": "node-a", "MASTER_PORT": "29501"},
    }
    assert told["TORCHELASTIC_USE_AGENT_STORE"] == "True"  # so that rank 0 makes none
    assert told["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "1"
    assert int(told["PRIMUS_PARENT_PID"]) == node.process.pid


def test_workers_of_one_machine_get_a_free_port_that_nobody_else_gets(start):
    node = start(DO_0="wait()", DO_1="wait()")
    node.wait_for("up-0", "up-1")
    port = int(node.told(0)["MASTER_PORT"])
    assert node.told(1)["MASTER_PORT"] == str(port)
    with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
        pass


def test_workers_meet_in_the_store(start):
    meet = """
import datetime, torch.distributed as dist
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
answers = [None, None]
dist.all_gather_object(answers, rank)
assert answers == ["0", "1"]
dist.destroy_process_group()
"""
    node = start(DO_0=meet, DO_1=meet, OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    assert node.finish() == (0, "")


def test_a_taken_port_is_said(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        status, out = start("master-port", str(other.getsockname()[1])).finish()
    assert status == 4
    assert "Error: can't start the workers of this node: " in out
    assert "Address already in use" in out


def test_the_first_failure_gives_the_status_and_ends_the_others(start):
    node = start(DO_0="wait()", DO_1="wait('up-0'); sys.exit(7)")
    assert node.finish()[0] == 7
    [note] = [json.loads(path.read_text()) for path in node.run_dir.glob("failures/*")]
    assert (note["rank"], note["exit_status"], note["message"]) == (1, 7, "left with exit status 7")


def test_a_worker_that_is_killed_is_noted_with_its_signal(start):
    node = start(DO_0="wait()", DO_1="os.kill(os.getpid(), signal.SIGKILL)")
    assert node.finish()[0] == 137
    [note] = [json.loads(path.read_text()) for path in node.run_dir.glob("failures/*")]
    assert note["message"].startswith("died of SIGKILL")


def test_what_a_worker_says_of_its_own_end_counts(start):
    note = {"rank": 1, "node": 0, "exit_status": 4, "time": 1.0, "message": "no checkpoint", "traceback": ""}
    own = f"(run_dir / 'failures/node0-rank1.json').write_text({json.dumps(note)!r})"
    node = start(DO_0="wait()", DO_1=f"{own}; sys.exit(4)")
    assert node.finish()[0] == 4
    assert json.loads((node.run_dir / "failures/node0-rank1.json").read_text()) == note


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGUSR1),
    ],
)
def test_a_request_to_stop_reaches_every_worker(start, sent, told):
    node = start(DO_0="wait()", DO_1="wait()")
    node.wait_for("up-0", "up-1")
    node.process.send_signal(sent)
    assert node.finish() == (128 + told, "")
    assert (node.run_dir / f"told-0-{told.name}").exists()
    assert (node.run_dir / f"told-1-{told.name}").exists()


def test_the_signal_that_asks_for_stacks_is_passed_on_and_ends_nothing(start):
    node = start(DO_0="wait()", DO_1="wait()")
    node.wait_for("up-0", "up-1")
    node.process.send_signal(signal.SIGUSR2)
    node.wait_for("told-0-SIGUSR2", "told-1-SIGUSR2")
    node.process.terminate()
    assert node.finish() == (128 + signal.SIGTERM, "")


def test_workers_that_end_well_after_they_were_asked_to_stop_were_stopped(start):
    finish = """
signal.signal(signal.SIGTERM, lambda number, frame: (run_dir / f"told-{rank}").touch())
(run_dir / f"set-{rank}").touch()
wait(f"told-{rank}")
"""
    node = start(DO_0=finish, DO_1=finish)
    node.wait_for("set-0", "set-1")
    node.process.terminate()
    assert node.finish() == (143, "")


def test_when_one_worker_was_asked_to_stop_the_others_are_too(start):
    node = start(DO_0="wait()", DO_1="wait('up-0'); os.kill(os.getpid(), signal.SIGUSR1); wait()")
    assert node.finish()[0] == 128 + signal.SIGUSR1
    assert (node.run_dir / "told-0-SIGUSR1").exists()


def test_a_store_that_dies_ends_the_job(start, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('libamdhip64.so.6: cannot open shared object file')")
    status, out = start(DO_0="wait()", DO_1="wait()").finish()
    assert status == 1
    assert "libamdhip64.so.6: cannot open shared object file" in out
    assert "Error: the store of the job has ended with exit status 1" in out


STORE_THAT_DIES = """\
import pathlib, time
while not pathlib.Path({up!r}).exists():
    time.sleep(0.01)
pathlib.Path({dead!r}).touch()
raise ImportError
"""


def test_a_worker_that_fails_after_the_store_is_the_one_that_counts(start, tmp_path):
    dead = tmp_path / "run/dead"
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(STORE_THAT_DIES.format(up=str(tmp_path / "run/up-1"), dead=str(dead)))
    node = start(DO_0="wait()", DO_1="wait('dead'); time.sleep(0.5); sys.exit(3)")
    assert node.finish()[0] == 3
    assert dead.exists()


def test_node_0_keeps_the_store_while_another_node_uses_it(start):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    node = start("nnodes", "2", "master-port", str(port), DO_0="wait('go')", DO_1="wait('go')")
    node.wait_for("up-0", "up-1")
    elsewhere = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    (node.run_dir / "go").touch()
    with pytest.raises(subprocess.TimeoutExpired):
        node.process.wait(1.5)
    for connection in elsewhere:
        connection.close()
    assert node.finish()[0] == 0


def test_the_connections_of_the_launchers_are_not_waited_for(start):
    with socket.create_server(("127.0.0.1", 0)) as met:
        port = met.getsockname()[1]
        link = socket.create_connection(("127.0.0.1", port))
        other_end, _ = met.accept()
    node = start("nnodes", "2", "master-port", str(port))
    assert node.finish()[0] == 0
    link.close()
    other_end.close()


def test_a_request_to_stop_ends_that_wait(start):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    node = start("nnodes", "2", "master-port", str(port), "nproc-per-node", "1", DO_0="wait('go')")
    node.wait_for("up-0")
    elsewhere = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    (node.run_dir / "go").touch()
    with pytest.raises(subprocess.TimeoutExpired):
        node.process.wait(1.5)
    node.process.terminate()
    assert node.finish()[0] == 143
    for connection in elsewhere:
        connection.close()


def test_workers_die_with_an_agent_that_is_killed(start, gone, until):
    node = start(DO_0="wait()", DO_1="wait()")
    node.wait_for("up-0", "up-1")
    children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children")
    until(lambda: len(children.read_text().split()) == 3)  # with the store, which is started last
    pids = [int(each) for each in children.read_text().split()]
    node.process.kill()
    gone(*pids)
