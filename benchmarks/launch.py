"""Time from command to the first moment of the last worker: `primus train` against starting the worker's module
(one process) and against bare torchrun (two), in turns. A worker leaves as soon as its interpreter is up, so that only
launching is measured. Needs torch and megatron-core.

    python benchmarks/launch.py [--rounds 10]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from primus.backends.prepare import prepare
from primus.job import Job, Resources
from primus.launch.render import environment
from primus.run import RunDirectory

EXPERIMENT = """\
exp_name: launch
modules:
  pre_trainer:
    framework: megatron
    config: pre_trainer.yaml
    model: tiny_llama.yaml
    overrides: {train_iters: 1, seq_length: 64, micro_batch_size: 2, global_batch_size: 4, lr: 1e-3, bf16: false,
                use_distributed_optimizer: false, mock_data: true, tokenizer_type: NullTokenizer, vocab_size: 256}
"""

WORKER = """\
import os, time
if "RANK" in os.environ:
    now = time.time()
    with open(os.path.join(os.environ["BENCHMARK_FOLDER"], "worker" + os.environ["RANK"]), "w") as file:
        file.write(str(now))
    os._exit(0)
"""
"""Python imports it when it starts, as `sitecustomize`."""

LEAST = """\
import os, subprocess, sys, typer, typer.main, yaml
sys.exit(subprocess.call([sys.executable, *sys.argv[1:]], env=os.environ | {"RANK": "0"}))
"""
"""A launcher that does nothing but import what the command line and the experiment file are read with."""

Command = tuple[list[str], Mapping[str, str]]
"""A command line and its environment."""

AIM = 60.0
"""Milliseconds that Primus may need more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where Primus is installed: the first round compiles
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "launch.yaml").write_text(EXPERIMENT)
        (folder / "sitecustomize.py").write_text(WORKER)
        print(f"{os.cpu_count()} cores; milliseconds to the last worker, median (least) of {rounds} rounds in turns\n")
        print(f"{'processes':<11}{'primus train':>16}{'peer':>16}{'difference':>12}   {'peer is':<22}aim")
        ours, module, least = compare(folder, 1, [train(folder, 1), peer(folder, 1), least_launcher(folder)], rounds)
        print_row("1", "the worker's module", ours, module)
        print_row("  imports", "the worker's module", least, module)
        print_row("2", "torchrun", *compare(folder, 2, [train(folder, 2), peer(folder, 2)], rounds))
        print("\nimports: a launcher that only imports typer and PyYAML before it starts that module")


def compare(folder: Path, processes: int, commands: Sequence[Command], rounds: int) -> list[list[float]]:
    """Milliseconds of each command in each round."""
    times: list[list[float]] = [[] for _ in commands]
    for turn in range(rounds + 1):
        for kept, (argv, variables) in zip(times, commands, strict=True):
            seconds = measure(folder, argv, variables, processes)
            if turn:  # the first one fills the caches
                kept.append(1000 * seconds)
    return times


def train(folder: Path, processes: int) -> Command:
    argv = ["-m", "primus", "train", "--exp", str(folder / "launch.yaml"), "--nproc-per-node", str(processes)]
    return [sys.executable, *argv], os.environ


def least_launcher(folder: Path) -> Command:
    """What can't be done without, whatever Primus does."""
    argv, _ = peer(folder, 1)
    return [sys.executable, "-c", LEAST, *argv[1:]], os.environ


def peer(folder: Path, processes: int) -> Command:
    """The command that starts the same workers without Primus, and its environment."""
    job = plan(folder, processes)
    RunDirectory(job.run_dir).create(job.files)
    torchrun = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone"]
    torchrun += [f"--nproc-per-node={processes}"] * bool(torchrun)
    return [sys.executable, *torchrun, "-m", job.module, *job.worker_args], environment(job, os.environ)


def plan(folder: Path, processes: int) -> Job:
    resources = Resources(nproc_per_node=processes)
    prepared = prepare(str(folder / "launch.yaml"), resources=resources, environ=os.environ)
    run_dir = RunDirectory.named(folder / "peer", str(processes)).path
    return prepared.backend.plan(prepared.usable(), resources, run_dir=run_dir, resume="never")


def measure(folder: Path, argv: list[str], variables: Mapping[str, str], processes: int) -> float:
    """Seconds from the command to the last worker's first moment."""
    extra = {"PYTHONPATH": str(folder), "BENCHMARK_FOLDER": str(folder)}
    begin = time.time()
    done = subprocess.run(argv, cwd=folder, env={**variables, **extra}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
    workers = [folder / f"worker{rank}" for rank in range(processes)]
    last = max(float(worker.read_text()) for worker in workers)
    for worker in workers:
        worker.unlink()
    return last - begin


def print_row(processes: str, name: str, ours: list[float], theirs: list[float]) -> None:
    difference = statistics.median(one - other for one, other in zip(ours, theirs, strict=True))
    columns = [f"{statistics.median(each):.0f} ({min(each):.0f})" for each in (ours, theirs)]
    print(f"{processes:<11}{columns[0]:>16}{columns[1]:>16}{difference:>+12.0f}   {name:<22}at most +{AIM:.0f}")


if __name__ == "__main__":
    main()
