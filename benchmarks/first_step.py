"""Time from command to the end of the first training step: `primus train` against the same worker under plain
torchrun, with one process and with two, in turns. Needs torch and megatron-core.

    python benchmarks/first_step.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from primus.backends.prepare import prepare
from primus.job import Job, Resources
from primus.launch.render import environment
from primus.run import RunDirectory

EXPERIMENT = """\
exp_name: first_step
modules:
  pre_trainer:
    framework: megatron
    config: pre_trainer.yaml
    model: tiny_llama.yaml
    overrides: {train_iters: 1, log_interval: 1, seq_length: 64, micro_batch_size: 2, global_batch_size: 4, lr: 1e-3,
                bf16: false, use_distributed_optimizer: false, mock_data: true, tokenizer_type: NullTokenizer,
                vocab_size: 256, num_workers: 0, save_interval: null}
"""

AIMS = {1: "at least 1.5 s earlier", 2: "at most 0.1 s later"}


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "first_step.yaml").write_text(EXPERIMENT)
        print(f"{os.cpu_count()} cores; seconds to the end of the first step, {options.rounds} rounds in turns\n")
        print(f"{'processes':<11}{'primus train':>16}{'torchrun':>16}{'difference':>16}   aim")
        with_primus(folder, 1)  # fills the caches
        for processes in (1, 2):
            print_row(processes, *rounds(folder, processes, options.rounds))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def rounds(folder: Path, processes: int, count: int) -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    for turn in range(count):
        ours.append(with_primus(folder, processes))
        theirs.append(with_torchrun(folder, processes, f"{processes}-{turn}"))
    return ours, theirs


def print_row(processes: int, ours: list[float], theirs: list[float]) -> None:
    difference = statistics.median(one - other for one, other in zip(ours, theirs, strict=True))
    columns = [f"{statistics.median(each):.2f} ({min(each):.2f})" for each in (ours, theirs)]
    print(f"{processes:<11}{columns[0]:>16}{columns[1]:>16}{difference:>+16.2f}   {AIMS[processes]}")


def with_primus(folder: Path, processes: int) -> float:
    """Seconds of `primus train`, which makes a new run directory."""
    exp = str(folder / "first_step.yaml")
    argv = [sys.executable, "-m", "primus", "train", "--exp", exp, "--no-resume", "--nproc-per-node", str(processes)]
    before = set(folder.glob("output/*/*/*/runs/*"))
    begin = time.time()
    run(argv, folder, os.environ)
    [run_dir] = set(folder.glob("output/*/*/*/runs/*")) - before
    return first_step(RunDirectory(run_dir)) - begin


def with_torchrun(folder: Path, processes: int, name: str) -> float:
    """Seconds of torchrun with the same worker and environment, in a run directory that is there already."""
    job = plan(folder, processes, name)
    RunDirectory(job.run_dir).create(job.files)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    variables = environment(job, os.environ)
    begin = time.time()
    run([*torchrun, "-m", job.module, *job.worker_args], folder, variables)
    return first_step(RunDirectory(job.run_dir)) - begin


def plan(folder: Path, processes: int, name: str) -> Job:
    resources = Resources(nproc_per_node=processes)
    prepared = prepare(str(folder / "first_step.yaml"), resources=resources, environ=os.environ)
    run_dir = RunDirectory.named(folder / "torchrun", name).path
    return prepared.backend.plan(prepared.usable(), resources, run_dir=run_dir, resume="never")


def run(argv: list[str], folder: Path, variables: Mapping[str, str]) -> None:
    done = subprocess.run(argv, cwd=folder, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")


def first_step(run_dir: RunDirectory) -> float:
    """When the first step had ended, in seconds since 1970."""
    return float(json.loads(run_dir.metrics.read_text().splitlines()[0])["time"])


if __name__ == "__main__":
    main()
