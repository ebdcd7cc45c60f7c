"""Training speed of one torchtitan job file through Primus, against torchtitan's own `main()` with the same file in the
same run: interleaved pairs, so that the load of the machine meets both alike.

    python benchmarks/torchtitan_overhead.py [--steps 60] [--rounds 5] [--batch 4]

Without a GPU the bare run has Primus' CPU adapter too: torchtitan does not start there without one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

JOB = """
[model]
name = "llama3"
flavor = "debugmodel"
hf_assets_path = "{corpus}/tokenizer"
[training]
dataset = "c4_test"
dataset_path = "{corpus}/corpus"
local_batch_size = {batch}
seq_len = 256
steps = {steps}
mixed_precision_param = "float32"
[optimizer]
lr = 1e-3
[lr_scheduler]
warmup_steps = 5
[activation_checkpoint]
mode = "none"
[metrics]
log_freq = {every}
[debug]
seed = 1
"""

BARE = """
import sys
import torch
if not torch.cuda.is_available():
    from primus.backends.torchtitan import cpu
    cpu.install()
import torchtitan.train
torchtitan.train.main(torchtitan.train.Trainer)
"""

EVERY = 5
_TPS = re.compile(r"step: *(\d+) .*tps: ([\d,]+)")


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = write_job(folder, options)
        describe(options)
        pairs = []
        for number in range(options.rounds):
            order = (primus, bare) if number % 2 else (bare, primus)
            speeds = {run.__name__: run(job, folder / f"{run.__name__}{number}") for run in order}
            pairs.append(speeds)
            ratio = speeds["primus"] / speeds["bare"]
            print(f"  {speeds['bare']:>10,.0f}  {speeds['primus']:>10,.0f}  {ratio:.3f}", flush=True)
    ratio = statistics.median(each["primus"] / each["bare"] for each in pairs)
    print(f"median ratio {ratio:.3f}   (aim: at least 0.98)")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps of each run; the first 10 do not count")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs")
    parser.add_argument("--batch", type=int, default=4, help="sequences of 256 tokens in a step")
    return parser.parse_args()


def write_job(folder: Path, options: argparse.Namespace) -> Path:
    """The job file, and real text for it: Python's own source code as bytes."""
    source, corpus = Path(sysconfig.get_paths()["stdlib"]), folder / "text"
    inputs = [str(source / name) for name in ("json", "email", "http")]
    settings = ["--glob", "*.py", "--output", str(corpus), "--tokenizer", "byte", "--format", "torchtitan"]
    command = [sys.executable, "-m", "primus", "data", "prepare", *inputs, *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    job = folder / "job.toml"
    job.write_text(JOB.format(corpus=corpus, steps=options.steps, batch=options.batch, every=EVERY))
    return job


def describe(options: argparse.Namespace) -> None:
    print(f"{os.cpu_count()} cores; torchtitan's debugmodel, {options.steps} steps of {options.batch} x 256 tokens")
    print("  tokens/s: bare, through Primus, ratio")


def bare(job: Path, folder: Path) -> float:
    """torchtitan's main() in a process of its own, as torchrun would start it."""
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    settings = ["--job.config_file", str(job), "--job.dump_folder", str(folder), "--metrics.disable_color_printing"]
    said = run([sys.executable, "-c", BARE, *settings], place)
    return speed({int(step): float(tps.replace(",", "")) for step, tps in _TPS.findall(said)})


def primus(job: Path, folder: Path) -> float:
    settings = ["--exp", str(job), "--set", f"workspace={folder}", "--nproc-per-node", "1"]
    run([sys.executable, "-m", "primus", "train", *settings], {})
    (metrics,) = folder.glob("*/*/*/runs/*/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return speed({line["step"]: line["tokens_per_second"] for line in lines})


def run(command: list[str], environ: dict[str, str]) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environ
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def speed(by_step: dict[int, float]) -> float:
    """Tokens per second over the steps after the tenth: each line is an average over as many steps."""
    return statistics.harmonic_mean([value for step, value in by_step.items() if step > 10])


if __name__ == "__main__":
    main()
