"""A torchtitan checkout as `primus train` runs it: a copy of the installed package that says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from primus.backends.torchtitan.source import root

pytestmark = pytest.mark.real


def test_the_workers_import_the_checkout_s_torchtitan(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(root(), tmp_path / "checkout/torchtitan")
    file = tmp_path / "checkout/torchtitan/config/job_config.py"
    text = file.read_text().replace("class Training:\n", 'class Training:\n    note: str = ""\n    """Ours."""\n\n', 1)
    file.write_text(text + '\n\nprint("the configuration is the checkout\'s")\n')
    paths = {"training.dataset_path": corpus, "model.hf_assets_path": corpus / "tokenizer", "workspace": tmp_path}
    sets = [f"--set={key}={value}" for key, value in {**paths, "training.steps": 2, "training.note": "here"}.items()]
    more = ["--set=lr_scheduler.warmup_steps=1", "--set=metrics.log_freq=1", "--set=checkpoint.enable=false"]
    done = subprocess.run(
        [sys.executable, "-m", "primus", "train", "--exp", "torchtitan/tiny_llama", *sets, *more],
        env={**os.environ, "TORCHTITAN_PATH": str(tmp_path / "checkout"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = tmp_path.glob("*/*/*/runs/*")
    log = (run / "logs/node0/rank0.log").read_text()
    assert f"torchtitan is the one in {tmp_path / 'checkout'}." in log
    assert "the configuration is the checkout's" in log
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
