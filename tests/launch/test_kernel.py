"""What the kernel says about the end of a process, from files as it has them."""

from __future__ import annotations

import pytest

from primus.launch.kernel import KernelWatch


@pytest.fixture(params=["v2", "v1", "v1 in a container"])
def counter(request, tmp_path):
    """The root of a file system, and the counter that is read there."""
    (tmp_path / "proc/self").mkdir(parents=True)
    own, group, place = {
        "v2": ("0::/job", "", "sys/fs/cgroup/job/memory.events"),
        "v1": ("4:memory:/job\n0::/", "", "sys/fs/cgroup/memory/job/memory.oom_control"),
        "v1 in a container": ("4:memory:/docker/1\n0::/", "", "sys/fs/cgroup/memory/memory.oom_control"),
    }[request.param]
    (tmp_path / "proc/self/cgroup").write_text(f"{own}\n{group}")
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text("low 0\noom 3\noom_kill 2\n")
    return path


def test_a_process_that_was_killed_for_its_memory_is_known(counter, tmp_path):
    watch = KernelWatch(tmp_path)
    counter.write_text("low 0\noom 4\noom_kill 3\n")
    assert watch.evidence(1) == [f"oom_kill rose from 2 to 3 in {counter}"]


def test_one_that_was_killed_before_is_not(counter, tmp_path):
    assert KernelWatch(tmp_path).evidence(1) == []


def test_where_nothing_can_be_read_nothing_is_said(tmp_path):
    assert KernelWatch(tmp_path).evidence(1) == []


def records(watch, *lines):
    """The kernel's log with these lines, all of them written a second after the start."""
    return [f"6,{number},{int((watch._begin + 1) * 1e6)},-;{line}\n" for number, line in enumerate(lines)]


def test_the_kernels_log_is_searched_for_the_process_and_for_gpus(tmp_path, monkeypatch):
    watch = KernelWatch(tmp_path)
    own = "Memory cgroup out of memory: Killed process 77 (python) total-vm:1kB, anon-rss:1kB"
    gpu = "amdgpu 0000:0a:00.0: amdgpu: GPU reset begin!"
    lines = records(watch, own, own.replace("77", "78"), gpu, "usb 1-1: new device")
    monkeypatch.setattr("primus.launch.kernel._records", lambda log: lines)
    assert watch.evidence(77) == [own, gpu]


def test_what_the_kernel_said_before_does_not_count(tmp_path, monkeypatch):
    watch = KernelWatch(tmp_path)
    monkeypatch.setattr("primus.launch.kernel._records", lambda log: ["6,1,5,-;amdgpu 0: GPU reset begin!\n"])
    assert watch.evidence(1) == []
