"""The account of a failed run: what the terminal shows and status.json keeps."""

from __future__ import annotations

import json

import pytest

from primus.job import Job, Resources
from primus.launch.account import account_of, account_without_notes, as_ranges
from primus.run import RunDirectory


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path)


def make_job(tmp_path, **resources):
    made = Job(
        name="toy",
        backend="toy",
        module="toy",
        resources=Resources(**{"nproc_per_node": 4, **resources}),
        run_dir=tmp_path / "run",
    )
    RunDirectory(made.run_dir).create({})
    return made


def failure(rank, time=1.0, *, status=1, message="ValueError: x", node=0, traceback="", **more):
    return {
        "rank": rank,
        "node": node,
        "local_rank": rank,
        "host": "h",
        "pid": 7,
        "time": time,
        "exit_status": status,
        "message": message,
        "traceback": traceback,
        **more,
    }


def log_of(job, rank, text, node=0):
    path = RunDirectory(job.run_dir).log_path(node, rank)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_it_names_rank_node_host_status_and_the_last_lines(job):
    log = log_of(job, 1, "".join(f"line {number}\n" for number in range(100)))
    text = account_of(job, [failure(1)], shown=(0,)).text
    assert text.splitlines()[:2] == ["Training failed: rank 1 on node 0 (h), exit status 1", "  ValueError: x"]
    assert text.count("line ") == 20
    assert text.endswith("line 99")
    assert str(log) in text


def test_a_log_that_is_on_the_terminal_already_is_only_named(job):
    log = log_of(job, 0, "seen\n")
    text = account_of(job, [failure(0, traceback="Traceback: seen too")], shown=(0,)).text
    assert "seen" not in text
    assert f"Its log: {log}" in text


def test_the_traceback_is_shown_once_and_the_log_without_it(job):
    trace = "Traceback (most recent call last):\n  File x, line 1\nValueError: x\n"
    log_of(job, 1, f"step 5\n{trace}")
    text = account_of(job, [failure(1, traceback=trace)], shown=()).text
    assert text.count("Traceback (most recent call last)") == 1
    assert text.endswith("rank1.log:\n  step 5")


def test_a_long_traceback_loses_its_middle(job):
    trace = "\n".join(f"frame {number}" for number in range(100))
    text = account_of(job, [failure(1, traceback=trace)], shown=()).text
    assert "… 60 lines …" in text
    assert "frame 0\n" in text
    assert "frame 99" in text


def test_a_worker_that_never_opened_its_log_is_explained_by_its_agents_log(job):
    RunDirectory(job.run_dir).agent_log(0).write_text("/bin/python: No module named x\n")
    account = account_of(job, [failure(1, message="left with exit status 1")], shown=())
    assert "No module named x" in account.text
    assert account.diagnosis.name == "package-missing"


def test_cause_evidence_and_remedy_stand_below_the_message(job):
    log_of(job, 1, "RuntimeError: No HIP GPUs are available\n")
    account = account_of(job, [failure(1, status=1, message="left with exit status 1")], shown=())
    assert account.text.splitlines()[2:5] == [
        "Cause: no GPU can be used",
        "  RuntimeError: No HIP GPUs are available",
        f"Remedy: {account.diagnosis.remedy}",
    ]
    assert account.cause == "rank 1 on node 0: left with exit status 1 - no GPU can be used"


def test_evidence_that_is_the_message_is_not_said_twice(job):
    message = "OSError: [Errno 28] No space left on device"
    assert account_of(job, [failure(1, message=message)], shown=()).text.count("Errno 28") == 1


def test_a_failure_of_an_unknown_cause_has_none(job):
    account = account_of(job, [failure(1)], shown=())
    assert account.diagnosis is None
    assert "Cause:" not in account.text


def test_what_the_kernel_says_explains_a_kill(job):
    asked = []

    def kernel(pid):
        asked.append(pid)
        return ["oom_kill rose from 0 to 1 in /sys/fs/cgroup/memory.events"]

    account = account_of(job, [failure(1, status=137, message="died of SIGKILL")], shown=(), kernel=kernel)
    assert account.diagnosis.name == "host-out-of-memory"
    assert asked == [7]


def test_what_the_kernel_of_another_node_said_is_in_the_note(tmp_path):
    job = make_job(tmp_path, nnodes=2, nproc_per_node=1)
    note = failure(1, node=1, status=137, message="died of SIGKILL", kernel=["oom_kill rose from 2 to 3 in x"])
    account = account_of(job, [note], shown=(), kernel=lambda pid: pytest.fail("it was not here"))
    assert account.diagnosis.name == "host-out-of-memory"


def test_the_gpu_is_named(tmp_path):
    job = make_job(tmp_path, accelerator="amd", nnodes=2)
    here = account_of(job, [failure(3)], shown=(), gpu=lambda local: f"GPU {local}, 0000:0c:00.0").text
    there = account_of(job, [failure(3, node=1)], shown=(), gpu=lambda local: pytest.fail("not here")).text
    assert "(h, GPU 3, 0000:0c:00.0)" in here
    assert "(h, GPU 3)" in there


def test_the_same_failure_of_many_ranks_is_told_once(job):
    failures = [failure(rank, float(rank), message=f"ValueError: x on rank {rank}") for rank in range(4)]
    text = account_of(job, failures, shown=(0,)).text
    assert text.count("ValueError: x") == 1
    assert "  The same on ranks 1-3 (3 workers)." in text


def test_failures_that_followed_are_folded_with_their_ranks(job):
    followers = [failure(rank, 2.0, message="RuntimeError: broken") for rank in (0, 2, 3)]
    text = account_of(job, [failure(1), *followers], shown=()).text
    assert "  After it ranks 0, 2-3 (3 workers): RuntimeError: broken" in text


def test_how_far_the_others_were_is_said(job):
    for rank, step in ((0, 41), (2, 41), (3, 40)):
        beat = {"rank": rank, "pid": 1, "step": step, "phase": "training", "time": 1.0}
        RunDirectory(job.run_dir).heartbeat_path(0, rank).write_text(json.dumps(beat))
    text = account_of(job, [failure(1)], shown=()).text
    assert "  Ranks 0, 2 (2 workers) had not failed (training, last step 41)." in text
    assert "  Rank 3 had not failed (training, last step 40)." in text


def test_the_ranks_that_a_collective_waited_for_are_named(job):
    said = "[Rank {0}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=808, OpType=ALLREDUCE, Numel=1)\n"
    for rank in (0, 1, 3):
        log_of(job, rank, said.format(rank))
    log_of(job, 2, "step 5\n")
    text = account_of(job, [failure(0, status=134, message="died of SIGABRT")], shown=()).text
    assert "Missing in work 808 (ALLREDUCE), as far as the logs tell: rank 2" in text


def test_a_file_that_only_another_node_misses_is_said(tmp_path):
    job = make_job(tmp_path, nnodes=2, nproc_per_node=1)
    (tmp_path / "data.bin").touch()
    message = f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path / 'data.bin'}'"
    there = account_of(job, [failure(1, node=1, message=message)], shown=()).text
    here = account_of(job, [failure(0, node=0, message=message)], shown=()).text
    assert "It is there on node 0: the nodes do not see the same disk." in there
    assert "It is there" not in here


def test_a_cause_that_must_be_on_a_node_with_a_disk_of_its_own_is_sent_there(tmp_path):
    job = make_job(tmp_path, nnodes=3, nproc_per_node=1)
    gone = "RuntimeError: [/gloo/transport/tcp/pair.cc:598] Connection closed by peer [18.25.6.30]:28048"
    text = account_of(job, [failure(0, message=gone)], shown=()).text
    assert f"The cause may be on nodes 1-2, whose disk is another: see {job.run_dir} there." in text
    for message in ("OSError: [Errno 28] No space left on device", "ValueError: x"):
        assert "whose disk is another" not in account_of(job, [failure(0, message=message)], shown=()).text


def test_a_log_on_the_disk_of_another_node_is_named_with_its_host(tmp_path):
    job = make_job(tmp_path, nnodes=2, nproc_per_node=1)
    log = RunDirectory(job.run_dir).log_path(1, 1)
    assert f"Its log, on h: {log}" in account_of(job, [failure(1, node=1)], shown=()).text


def test_a_secret_in_a_failure_is_not_shown(job):
    secret = "hf_" + "aB3" * 10
    log_of(job, 1, f"login with {secret}\n")
    account = account_of(
        job, [failure(1, message=f"HTTPError: bad {secret}", traceback=f"Traceback: {secret}")], shown=()
    )
    assert secret not in account.text + account.cause


def test_without_notes_the_agents_log_and_those_of_the_ranks_tell(job):
    RunDirectory(job.run_dir).agent_log(0).write_text("the agent was here\n")
    log_of(job, 2, "OSError: [Errno 28] No space left on device\n")
    account = account_without_notes(job, 1)
    assert account.cause == "the agent of the workers left with exit status 1 - no space is left on the disk"
    assert account.text.endswith("the agent was here")


@pytest.mark.parametrize(("ranks", "text"), [([], ""), ([3], "3"), ([1, 2], "1-2"), ([9, 1, 2, 3, 7], "1-3, 7, 9")])
def test_ranks_are_written_as_ranges(ranks, text):
    assert as_ranges(ranks) == text
