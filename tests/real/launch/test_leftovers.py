"""Nothing is left behind: what a training process started itself goes with it, however the launcher died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

MARK = "LEFTOVER_OF_THIS_TEST"
EXPERIMENT = """\
exp_name: toy
modules:
  pre_trainer:
    framework: megatron
    overrides:
      {train_iters: 100000, lr_decay_iters: 20, num_layers: 1, hidden_size: 64, num_attention_heads: 4, seq_length: 32,
       max_position_embeddings: 32, micro_batch_size: 1, mock_data: true, tokenizer_type: NullTokenizer,
       vocab_size: 256, lr: 1e-3, save_interval: 1, keep_last: 1, num_workers: 1}
"""


def test_a_killed_launcher_leaves_no_process_that_saves_or_reads(tmp_path, gone):
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)
    mark = f"{MARK}={tmp_path}"
    launcher = subprocess.Popen(
        [sys.executable, "-m", "primus", "train", "--exp", "toy.yaml"],
        cwd=tmp_path,
        env=os.environ | {MARK: str(tmp_path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Saving takes a process of multiprocessing's, reading another one.
        _wait_until(lambda: list(tmp_path.glob("output/*/*/toy/checkpoints/iter_*")) and len(_marked(mark)) >= 4)
    finally:
        started = _marked(mark)
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    gone(*started, *_marked(mark))


def _marked(mark: str) -> list[int]:
    """Processes that were started with this variable in their environment, the launcher's descendants among them."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                running = (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
                if running and mark in (process / "environ").read_text(errors="replace").split("\0"):
                    found.append(int(process.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass  # it has just ended, or is none of ours
    return found


def _wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
