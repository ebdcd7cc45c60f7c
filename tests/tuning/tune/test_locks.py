"""What a tuner holds against others: GPUs of the machine by their own numbers, whatever hides or reorders them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from primus.errors import MissingError, UsageError
from primus.tuning.tune import locks
from primus.tuning.tune.gpus import visible_gpus
from primus.tuning.tune.locks import PLACE, held_folder, held_gpus, topology

HOLD = """
import sys
from pathlib import Path
from primus.tuning.tune.gpus import visible_gpus
from primus.tuning.tune.locks import held_gpus
environ = dict(word.split("=", 1) for word in sys.argv[2:])
with held_gpus(visible_gpus(1, environ), environ, folder=Path("/their/results")):
    print("held", flush=True)
    sys.stdin.read()
"""


def held(folder: Path, **environ: str):
    """One GPU, of those visible with this environment, in this process."""
    return held_gpus(visible_gpus(1, environ), environ | {PLACE: str(folder)}, folder=folder)


@pytest.fixture
def other(tmp_path: Path):
    """Starts another process that holds the first visible GPU."""
    started = []

    def start(**environ: str) -> subprocess.Popen[str]:
        words = [f"{name}={value}" for name, value in {**environ, PLACE: str(tmp_path)}.items()]
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, "x", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_gpu_that_another_tuner_measures_on_is_refused_with_who_that_is(other, tmp_path: Path):
    theirs = other(HIP_VISIBLE_DEVICES="3")
    expected = f"GPU 0 .3 of this machine. is being tuned on by process {theirs.pid}, which writes /their/results"
    with pytest.raises(UsageError, match=expected), held(tmp_path, ROCR_VISIBLE_DEVICES="5,3", HIP_VISIBLE_DEVICES="1"):
        pass
    with held(tmp_path, HIP_VISIBLE_DEVICES="1"):
        """Another GPU is free."""


def test_a_killed_tuner_holds_nothing(other, tmp_path: Path):
    theirs = other()
    theirs.send_signal(signal.SIGKILL)
    theirs.wait()
    with held(tmp_path):
        [note] = [path.read_text() for path in tmp_path.glob("*.lock")]
        assert note == f"process {os.getpid()}, which writes {tmp_path}\n"


def test_a_gpu_by_its_uuid_is_the_one_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "topology", lambda: {"gpu-00000000000000ab": "0"})
    with (
        held(tmp_path, ROCR_VISIBLE_DEVICES="GPU-00000000000000AB"),
        pytest.raises(UsageError, match="is being tuned on"),
        held(tmp_path),
    ):
        pass


def test_the_driver_tells_uuids_of_gpus_in_their_order(tmp_path: Path):
    for number, text in enumerate(("simd_count 0\n", "simd_count 4\nunique_id 255\n", "simd_count 4\nunique_id 0\n")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "properties").write_text(text)
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "properties").write_text("cpu_cores_count 0\nsimd_count 4\nunique_id 16\n")
    assert topology(tmp_path) == {"gpu-00000000000000ff": "0", "gpu-0000000000000010": "2"}


def test_all_users_may_lock_the_file_whatever_the_umask(tmp_path: Path):
    before = os.umask(0o077)
    try:
        with held(tmp_path):
            [path] = tmp_path.glob("*.lock")
            assert path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "primus-tune-gpu-0.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match="is a link"), held(tmp_path):
        pass
    (tmp_path / "primus-tune-gpu-0.lock").unlink()
    os.link(tmp_path / "victim", tmp_path / "primus-tune-gpu-0.lock")
    with pytest.raises(UsageError, match="is not a file of a tuner"), held(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_place_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match=r"PRIMUS_TUNE_LOCKS=.*/none: no such folder"), held(tmp_path / "none"):
        pass
    monkeypatch.setattr(locks, "_PLACES", (tmp_path,))  # for its owner only
    with pytest.raises(MissingError, match="everybody may write to"), held_gpus([], {}, folder=tmp_path):
        pass


def test_a_folder_is_held_by_one_tuner(tmp_path: Path):
    with (
        held_folder(tmp_path),
        pytest.raises(UsageError, match=rf"another tuner is at work there \(process {os.getpid()}\)"),
        held_folder(tmp_path),
    ):
        pass
