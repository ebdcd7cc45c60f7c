"""Tiny Megatron trainings from the command line that can be watched and disturbed while they run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

EXPERIMENT = """\
exp_name: tiny
workspace: ./output
modules:
  pre_trainer:
    framework: megatron
    overrides:
      train_iters: 12
      num_layers: 2
      hidden_size: 32
      num_attention_heads: 2
      seq_length: 32
      max_position_embeddings: 32
      micro_batch_size: 2
      global_batch_size: 4
      mock_data: true
      num_workers: 0
      tokenizer_type: NullTokenizer
      vocab_size: 255
      lr: 1.0e-3
      bf16: false
      use_distributed_optimizer: false
      log_interval: 1
      save_interval: 4
"""


class Training:
    """One `primus train`, whose output is collected."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.text = ""
        self._changed = threading.Condition()
        folder.mkdir(exist_ok=True)
        (folder / "tiny.yaml").write_text(EXPERIMENT)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "primus", "train", "--exp", "tiny.yaml", *options],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str) -> None:
        """Return when the output has this text; fail when it ends without."""
        with self._changed:
            self._changed.wait_for(lambda: text in self.text or self.process.poll() is not None, timeout=240)
        assert text in self.text, self.text

    def finish(self) -> int:
        status = self.process.wait(240)
        self._reader.join()
        return status

    def signal(self, rank: int, number: signal.Signals, *, node: int = 0) -> None:
        """Send a worker a signal."""
        beat = json.loads((self.run_dir / "heartbeats" / f"node{node}-rank{rank}").read_text())
        os.kill(beat["pid"], number)

    @property
    def run_dir(self) -> Path:
        (run_dir,) = self.folder.glob("output/*/*/tiny/runs/*")
        return run_dir

    @property
    def status(self) -> dict[str, Any]:
        return json.loads((self.run_dir / "status.json").read_text())

    def reports(self, *names: str) -> list[tuple[Any, ...]]:
        """These metrics of each report."""
        lines = (self.run_dir / "metrics.jsonl").read_text().splitlines()
        return [tuple(json.loads(line)[name] for name in names) for line in lines]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.text += line
                self._changed.notify_all()
        self.process.wait()
        with self._changed:
            self._changed.notify_all()
