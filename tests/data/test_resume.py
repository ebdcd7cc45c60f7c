from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from primus.data.corpus import CorpusError
from primus.data.prepare import Outcome
from primus.errors import MissingError, UsageError

from .conftest import as_bytes, read_indexed

Run = Callable[..., Outcome]
Jsonl = Callable[..., Path]

MANY = [f"document {number} " * (number % 7 + 1) for number in range(2000)]

pytestmark = pytest.mark.usefixtures("small_shards")

SMALL_AND_DURABLE = """
import os, signal
from primus.cli import main
from primus.data import corpus, journal, megatron, torchtitan
flush = journal.Journal.flush
def flush_and_hold(self):
    flush(self)
    if self.shards == 20:
        os.kill(os.getpid(), signal.SIGSTOP)
journal.Journal.flush = flush_and_hold
corpus.SEGMENT_BYTES = megatron.MegatronFormat.shard_bytes = torchtitan.TorchtitanFormat.shard_bytes = 200
journal.SYNC_SECONDS = 0
main()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command on a corpus, in a process that journals every shard; returns when some are done and the
    process has stopped itself."""
    processes: list[subprocess.Popen[str]] = []

    def begin(corpus: Path, format: str = "megatron") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SMALL_AND_DURABLE, "data", "prepare", str(corpus), "--tokenizer", "byte"]
        command += ["--workers", "2", "--format", format, "--output", str(tmp_path / "out")]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        while psutil.Process(processes[-1].pid).status() != psutil.STATUS_STOPPED:
            assert processes[-1].poll() is None, "ended too early"
            time.sleep(0.01)
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("format", ["megatron", "torchtitan"])
def test_after_kill_9_the_same_command_goes_on_and_makes_the_same(
    tmp_path: Path, jsonl: Jsonl, run: Run, start: Callable[..., subprocess.Popen[str]], format: str
) -> None:
    corpus = jsonl(*MANY)
    process = start(corpus, format)
    workers = psutil.Process(process.pid).children()

    process.kill()
    process.wait()

    psutil.wait_procs(workers, timeout=240)
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "out.partial"]
    log = io.StringIO()
    run(corpus, format=format, log=log)
    run(corpus, format=format, output=tmp_path / "straight" / "out")
    assert re.match(r"Going on after \d+ documents", log.getvalue())
    made = {name: data for name, data in outputs(tmp_path).items() if name != "corpus.jsonl"}
    assert made == outputs(tmp_path / "straight")


def test_ctrl_c_keeps_what_is_done_and_says_so(
    tmp_path: Path, jsonl: Jsonl, run: Run, start: Callable[..., subprocess.Popen[str]]
) -> None:
    corpus = jsonl(*MANY)
    process = start(corpus)

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=240)

    assert process.returncode == 130
    assert errors == "Interrupted. What is done is kept: the same command goes on from there.\n"
    run(corpus)
    assert read_indexed(tmp_path / "out") == as_bytes(*MANY)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "no space left for"), (errno.EROFS, "no permission for"), (errno.EIO, "Input/output error")],
)
def test_a_disk_that_refuses_is_said_plainly_and_nothing_done_is_lost(
    tmp_path: Path, jsonl: Jsonl, run: Run, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    corpus = jsonl(*MANY[:200])
    write = os.pwrite

    def refuse(handle: int, data: memoryview, place: int) -> int:
        if place > 5000:
            raise OSError(number, os.strerror(number))
        return write(handle, data, place)

    monkeypatch.setattr("primus.data.journal.SYNC_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", refuse)
        with pytest.raises(MissingError, match=message) as caught:
            run(corpus)
    assert "the same command goes on from there" in str(caught.value)
    assert not (tmp_path / "out.bin").exists()

    log = io.StringIO()
    run(corpus, log=log)
    assert log.getvalue().startswith("Going on after ")
    assert read_indexed(tmp_path / "out") == as_bytes(*MANY[:200])


def test_a_worker_that_is_killed_is_named_and_nothing_hangs(
    tmp_path: Path, jsonl: Jsonl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = jsonl(*MANY[:200])

    def text_of(record: dict[str, str], key: str) -> str:
        if record[key].startswith("document 100 "):
            os.kill(os.getpid(), signal.SIGKILL)
        return record[key]

    with monkeypatch.context() as patch:
        patch.setattr("primus.data.documents._text_of", text_of)
        with pytest.raises(MissingError, match=r"killed by SIGKILL \(out of memory\?\)"):
            run(corpus)

    run(corpus)
    assert read_indexed(tmp_path / "out") == as_bytes(*MANY[:200])


@pytest.mark.parametrize(
    ("format", "moved"), [("megatron", 0), ("megatron", 1), ("megatron", 2), ("torchtitan", 0), ("torchtitan", 1)]
)
def test_a_kill_between_the_renames_of_publishing_is_healed(
    tmp_path: Path, jsonl: Jsonl, run: Run, monkeypatch: pytest.MonkeyPatch, format: str, moved: int
) -> None:
    old, new = jsonl("old", name="old.jsonl"), jsonl(*MANY[:50])
    run(old, format=format)
    replace, left = Path.replace, [moved]

    def cut_short(path: Path, target: Path) -> Path:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_short)
        with pytest.raises(KeyboardInterrupt):
            run(new, format=format, force=True)

    assert run(new, format=format).note["documents"] == 50
    run(new, format=format, output=tmp_path / "straight" / "out")
    made = {name: data for name, data in outputs(tmp_path).items() if name not in ("old.jsonl", "corpus.jsonl")}
    assert made == outputs(tmp_path / "straight")
    assert not (tmp_path / "out.partial").exists()


def test_after_the_text_was_mended_it_starts_again_and_says_why(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    with pytest.raises(CorpusError):
        run(jsonl(*MANY[:100], b"{}"))

    log = io.StringIO()
    run(jsonl(*MANY[:100], "mended"), log=log)

    assert log.getvalue() == "Starting from the beginning: the interrupted run had other sources\n"
    assert read_indexed(tmp_path / "out") == as_bytes(*MANY[:100], "mended")


def test_a_run_that_left_documents_out_is_not_finished_as_one_that_did_not(
    tmp_path: Path, jsonl: Jsonl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = jsonl(b"{}", *MANY[:100])

    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("primus.data.prepare._complete", refuse)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, on_error="skip")

    with pytest.raises(UsageError, match="left out 1 damaged documents"):
        run(corpus)
    assert run(corpus, on_error="skip").note["skipped"] == 1


def test_two_at_once_on_one_output_are_refused(
    tmp_path: Path, jsonl: Jsonl, run: Run, start: Callable[..., subprocess.Popen[str]]
) -> None:
    corpus = jsonl(*MANY)
    process = start(corpus)
    process.send_signal(signal.SIGSTOP)

    with pytest.raises(UsageError, match="another primus data prepare is at work on this output"):
        run(corpus)


def test_a_line_of_the_journal_that_was_cut_short_is_forgotten(
    tmp_path: Path, jsonl: Jsonl, run: Run, start: Callable[..., subprocess.Popen[str]]
) -> None:
    corpus = jsonl(*MANY)
    process = start(corpus)
    process.kill()
    process.wait()
    journal = tmp_path / "out.partial" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])

    run(corpus)

    assert read_indexed(tmp_path / "out") == as_bytes(*MANY)
