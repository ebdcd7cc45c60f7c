"""Faults that really happen: what the terminal says of each, and the exit status. docs/failures.md lists them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

FOUR = {"nproc_per_node": 4}


def account(run):
    """Exit status, what the terminal says, and status.json, which must not say anything else."""
    exit_status, out, err = run.finish()
    status = run.status()
    assert status["exit_status"] == exit_status
    assert status["state"] == "failed"
    assert "<N/A>" not in out + err
    assert err.count("Training failed:") == 1
    cause = status["diagnosis"]
    assert cause is None or f"Cause: {cause['cause']}\n" in err
    assert cause is None or f"Remedy: {cause['remedy']}" in err
    return exit_status, err, status


@pytest.mark.parametrize(
    ("toy", "exit_status", "message", "cause"),
    [
        ("die", 137, "died of SIGKILL", "killed"),
        ("crash", 139, "died of SIGSEGV", "crash"),
        ("use_a_file_that_became_shorter", 135, "died of SIGBUS", "bus-error"),
        ("abort", 134, "died of SIGABRT", "abort"),
        ("allocate_beyond_the_limit", 1, "MemoryError", "host-allocation-refused"),
        ("leave_by_sys_exit", 9, "left with exit status 9", None),
        ("raise_error", 1, "ValueError: the loss is gone", None),
        ("read_what_is_not_there", 1, "FileNotFoundError: [Errno 2]", "file-missing"),
        ("take_a_taken_port", 1, "DistNetworkError: The server socket has failed", "port-in-use"),
    ],
)
def test_a_worker_that_fails_alone(launch, toy, exit_status, message, cause):
    found, err, status = account(launch(toy, module="faults"))
    assert found == exit_status
    assert f"rank 0 on node 0 ({socket.gethostname()}), exit status {exit_status}\n  {message}" in err
    assert status["cause"].startswith(f"rank 0 on node 0: {message}")
    assert (status["diagnosis"] or {}).get("name") == cause


def test_a_worker_that_is_killed_from_outside_is_said_with_what_the_others_did(launch):
    run = launch("wait_for_stop", resources=FOUR)
    run.wait_for(*(f"waiting-{rank}" for rank in range(4)))
    os.kill(run.pid(2), signal.SIGKILL)
    exit_status, err, status = account(run)
    assert exit_status == 137
    assert "Training failed: rank 2 on node 0" in err
    assert "Ranks 0-1, 3 (3 workers) had not failed" in err
    assert status["diagnosis"]["transient"]


def test_an_exception_of_one_rank_is_shown_with_its_own_log_and_traceback(launch):
    exit_status, err, _ = account(launch("raise_error:2", resources=FOUR))
    assert exit_status == 1
    assert "Training failed: rank 2 on node 0" in err
    assert "hello from rank 2" in err
    assert "hello from rank 1" not in err
    assert err.count("Traceback (most recent call last):") == 1
    assert 'raise ValueError("the loss is gone")' in err


def test_an_exception_of_all_ranks_is_told_once(launch):
    exit_status, err, status = account(launch("refuse", resources=FOUR))
    assert exit_status == 4
    assert err.count("there is no checkpoint to resume\n  The same on ranks") == 1
    assert "(3 workers)." in err
    assert len(status["failures"]) == 4


def test_the_rank_that_failed_is_told_before_those_that_lost_their_connection(launch):
    exit_status, err, status = account(launch("lose_a_peer", module="faults", resources=FOUR))
    assert exit_status == 1
    assert "Training failed: rank 1 on node 0" in err
    assert "  ValueError: the loss is gone\n" in err
    assert status["failures"][0]["rank"] == 1


@pytest.mark.parametrize("shared", [True, False])
def test_node_0_tells_of_a_rank_that_failed_on_another_node(launch, tmp_path, shared):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    common = {"nnodes": 2, "nproc_per_node": 1, "master_addr": "127.0.0.2", "master_port": port}
    folders = [tmp_path / "run", tmp_path / ("run" if shared else "other")]
    runs = [
        launch("fail_on_node_1", module="faults", run_dir=folder, resources={**common, "node_rank": node}, meet=True)
        for node, folder in enumerate(folders)
    ]
    ends = [run.finish() for run in runs]
    assert [status for status, _, _ in ends] == [1, 1]
    for _, _, err in ends:
        assert f"Training failed: rank 1 on node 1 ({socket.gethostname()}), exit status 1" in err
        assert "  ValueError: the loss is gone\n" in err
    log = folders[0] / "logs/node1/rank1.log"
    assert (f"Last lines of {log}:" if shared else f"Its log, on {socket.gethostname()}: {log}") in ends[0][2]
    assert runs[0].status()["cause"].startswith("rank 1 on node 1: ValueError: the loss is gone")


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[Path]:
    path.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=False)
    if mount.returncode:
        pytest.skip("needs the right to mount")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("resources", [{}, {"nproc_per_node": 2}])
def test_a_full_disk_is_told_though_nobody_can_write_it_down(launch, tmp_path, resources):
    options = {"module": "faults", "resources": resources}
    with tmpfs(tmp_path / "disk", "size=512k") as disk:
        exit_status, _, err = launch("fill_the_disk", run_dir=disk / "run", **options).finish()
    assert exit_status == 1
    assert "Cause: no space is left on the disk" in err
    assert "fault of Primus" not in err
    assert err.count("Traceback") <= 1  # the worker's


def test_a_disk_that_is_read_only_for_the_worker_is_named(launch, tmp_path):
    with tmpfs(tmp_path / "disk", "ro") as disk:
        _, _, status = account(launch("write_where_it_may_not", {"READ_ONLY": str(disk)}, module="faults"))
    assert status["diagnosis"]["name"] == "read-only-disk"
    assert str(disk / "file") in status["diagnosis"]["cause"]


@contextmanager
def little_memory(limit: int) -> Iterator[Path]:
    """Processes that are started in here share so many bytes of memory; yields their control group, to be removed."""
    root = Path("/sys/fs/cgroup/memory")
    old = root.exists()
    root = root if old else root.parent
    group = root / f"primus-test-{os.getpid()}"
    home = root / next(
        (line.split(":", 2)[2].lstrip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()
         if (":memory:" in line if old else line.startswith("0::"))), "",
    )  # fmt: skip
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        pytest.skip(f"needs the right to make a control group: {error}")
    try:
        yield group
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


def test_a_worker_that_the_kernel_kills_for_its_memory_is_told_so(launch):
    with little_memory(256 << 20) as group:
        run = launch("use_all_memory", module="faults")
    exit_status, err, status = account(run)
    group.rmdir()
    assert exit_status == 137
    assert status["diagnosis"]["name"] == "host-out-of-memory"
    assert "the machine's memory was used up, and the kernel killed a process" in err


def primus(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "primus", *arguments]
    return subprocess.run(argv, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=60)


SETTINGS = ("mock_data=true", "data_path=null", "micro_batch_size=1", "global_batch_size=2")
TINY = ("train", "--exp", "megatron/tiny_llama", "--nproc-per-node", "1")
TINY += tuple(word for setting in SETTINGS for word in ("--set", setting))
TWO = ("--nnodes", "2", "--master-addr", "127.0.0.2")


def test_a_read_only_workspace_is_said_before_anything_starts(tmp_path):
    with tmpfs(tmp_path / "disk", "ro") as disk:
        done = primus(*TINY, "--set", f"workspace={disk}")
    assert done.returncode == 4
    assert "the file system is read-only; choose another `workspace`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_said_before_anything_starts(tmp_path):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        done = primus(*TINY, *TWO, "--master-port", str(port), "--set", f"workspace={tmp_path}")
    assert done.returncode == 4
    assert f"--master-port {port}: another process of this machine uses it" in done.stderr


def test_a_node_that_does_not_come_is_named(tmp_path):
    with socket.create_server(("", 0)) as server:
        port = str(server.getsockname()[1])
    done = primus(*TINY, *TWO, "--master-port", port, "--rendezvous-timeout", "1", "--set", f"workspace={tmp_path}")
    assert done.returncode == 5
    assert "node 1 did not come" in done.stderr


def test_a_node_rank_out_of_range_is_wrong_usage(tmp_path):
    done = primus(*TINY, *TWO, "--node-rank", "2", "--master-port", "20000", "--set", f"workspace={tmp_path}")
    assert done.returncode == 2
    assert "--node-rank 2" in done.stderr
