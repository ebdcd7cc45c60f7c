"""The table of causes, against what failed workers really said (messages/*.toml, each with where it was recorded)."""

from __future__ import annotations

import re
import signal
import string
from pathlib import Path
from typing import Any

import pytest

from primus.experiment.toml_parser import loads
from primus.launch.diagnosis import causes, diagnose

MESSAGES = Path(__file__).parent / "messages"


def recorded(path: Path) -> list[Any]:
    messages = loads(path.read_text(encoding="utf-8"))["message"]
    return [
        pytest.param(message, id=f"{path.stem}-{number}-{message.get('cause')}")
        for number, message in enumerate(messages)
    ]


KNOWN = [each for path in sorted(MESSAGES.glob("*.toml")) if path.stem != "no_cause" for each in recorded(path)]


@pytest.mark.parametrize("message", KNOWN)
def test_a_recorded_message_gives_its_cause_first(message):
    first = diagnose([message["text"]], message.get("exit_status", 1))[0]
    assert first.name == message["cause"]
    assert message.get("says", "") in first.cause
    assert message["source"]


@pytest.mark.parametrize("message", KNOWN)
def test_a_cause_and_its_remedy_have_no_gaps_and_name_their_evidence(message):
    first = diagnose([message["text"]], message.get("exit_status", 1))[0]
    assert not re.search(r"[{}\[]", first.cause + first.remedy)
    assert first.evidence
    assert first.evidence.splitlines()[0].strip("…") in message["text"] or first.evidence.startswith("exit status")


@pytest.mark.parametrize("message", recorded(MESSAGES / "no_cause.toml"))
def test_what_only_looks_like_a_cause_is_none(message):
    assert diagnose([message["text"]], 1) == []


def test_every_row_has_a_recorded_message():
    assert {cause.name for cause in causes()} == {message.values[0]["cause"] for message in KNOWN}


def test_every_pattern_of_a_row_can_fill_what_its_sentence_needs():
    for cause in causes():
        needed = {name for _, name, _, _ in string.Formatter().parse(re.sub(r"\[[^]]*\]", "", cause.cause)) if name}
        for pattern in cause.patterns:
            assert needed <= pattern.groupindex.keys(), (cause.name, pattern.pattern)


def test_every_row_has_a_sentence_a_remedy_and_something_that_it_is_known_by():
    for cause in causes():
        assert cause.cause
        assert cause.remedy
        assert cause.patterns or cause.signal, cause.name


def test_what_a_worker_says_itself_goes_before_its_log():
    said = "OSError: [Errno 28] No space left on device: '/data/x'"
    log = "RuntimeError: No HIP GPUs are available"
    assert [each.name for each in diagnose([said, log], 1)] == ["disk-full", "no-gpu"]


def test_a_general_cause_goes_last_wherever_it_stands():
    said = "ncclSystemError: System call (e.g. socket, malloc) or external library call failed"
    log = "NCCL WARN Error while creating shared memory segment nccl-shm-recv-1462445a6f01cbfc-1-2-3 (size 9637888)"
    assert [each.name for each in diagnose([said, log], 1)] == ["shared-memory-full", "nccl-system"]


def test_a_signal_is_the_cause_only_when_nothing_else_is_known():
    assert diagnose(["nothing"], 128 + signal.SIGKILL)[0].name == "killed"
    killed = diagnose(["oom_kill rose from 0 to 1 in /sys/fs/cgroup/memory.events"], 128 + signal.SIGKILL)
    assert [each.name for each in killed] == ["host-out-of-memory"]


def test_an_unknown_failure_has_no_cause():
    assert diagnose(["ValueError: x"], 1) == []
    assert diagnose([], None) == []


def test_only_what_can_pass_is_transient():
    transient = {cause.name for cause in causes() if cause.transient}
    assert {"killed", "gpu-hang", "peer-lost", "port-in-use", "nan", "hub-rate-limit"} <= transient
    assert not {"gpu-out-of-memory", "disk-full", "permission", "package-missing", "file-missing"} & transient


def test_the_step_of_a_divergence_can_be_compared():
    said = "step 12 (sequences 88 to 95): the gradient norm is inf; the weights were not changed and training stops."
    assert diagnose([said], 1)[0].values == {"step": "12"}


def test_a_secret_in_the_evidence_is_not_shown():
    secret = "hf_" + "aB3" * 10
    found = diagnose([f"429 Client Error: Too Many Requests for url: https://user:{secret}@huggingface.co/x"], 1)[0]
    assert secret not in found.cause + found.evidence + str(found.values)


def test_a_long_line_of_evidence_is_cut():
    assert len(diagnose(["HSA_STATUS_ERROR_X" + "y " * 1000], 1)[0].evidence) == 400
