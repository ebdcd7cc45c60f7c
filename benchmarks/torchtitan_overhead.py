"""Training speed of one torchtitan job file through Primus, against torchtitan's own `main()` with the same file.

    python benchmarks/torchtitan_overhead.py [--steps 60] [--rounds 5] [--batch 4]

On a CPU the two runs of a pair go side by side, one thread each, so that other work on the machine slows both alike; on
a GPU one after the other, in turn. Tokens per second are those between the times at which step 10 and the last step
were logged. CPU time per step is that of all processes of a run, less what a run of ten steps takes.

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
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
_STEP = re.compile(r"^\[titan\] (.+?,\d+) .* step: *(\d+) ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run."""

    steps_per_second: float
    cpu_seconds: float


def main() -> None:
    options = parse()
    print(f"{os.cpu_count()} cores; torchtitan's debugmodel, {options.steps} steps of {options.batch} x 256 tokens")
    print("  tokens/s: bare, Primus, ratio      CPU s per step: bare, Primus, ratio")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = prepare(folder)
        starting = pair(write_job(folder, corpus, 10, options.batch), folder / "start", turned=False)
        job = write_job(folder, corpus, options.steps, options.batch)
        rows = []
        for number in range(options.rounds):
            found = pair(job, folder / str(number), turned=bool(number % 2))
            speeds = [each.steps_per_second * options.batch * 256 for each in found]
            work = [
                (each.cpu_seconds - start.cpu_seconds) / (options.steps - 10)
                for each, start in zip(found, starting, strict=True)
            ]
            rows.append((speeds[1] / speeds[0], work[1] / work[0]))
            print("  {:,.0f}  {:,.0f}  {:.3f}".format(*speeds, rows[-1][0]), end="      ")
            print("{:.4f}  {:.4f}  {:.3f}".format(*work, rows[-1][1]), flush=True)
    speed_ratio, work_ratio = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"median ratio of tokens/s {speed_ratio:.3f} (aim: at least 0.98), of CPU time per step {work_ratio:.3f}")


def pair(job: Path, folder: Path, *, turned: bool) -> list[Measured]:
    """A bare run and one through Primus."""
    runs = [partial(bare, job, folder / "bare"), partial(primus, job, folder / "primus")]
    order = runs[::-1] if turned else runs
    workers = 1 if torch_sees_gpu() else 2
    with ThreadPoolExecutor(workers) as pool:
        futures = {run: pool.submit(run) for run in order}
        return [futures[run].result() for run in runs]


@cache
def torch_sees_gpu() -> bool:
    code = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps of each run; the first 10 do not count")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs")
    parser.add_argument("--batch", type=int, default=4, help="sequences of 256 tokens in a step")
    return parser.parse_args()


def prepare(folder: Path) -> Path:
    """Real text: Python's own source code, as bytes."""
    source, corpus = Path(sysconfig.get_paths()["stdlib"]), folder / "text"
    inputs = [str(source / name) for name in ("json", "email", "http")]
    settings = ["--glob", "*.py", "--output", str(corpus), "--tokenizer", "byte", "--format", "torchtitan"]
    command = [sys.executable, "-m", "primus", "data", "prepare", *inputs, *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return corpus


def write_job(folder: Path, corpus: Path, steps: int, batch: int) -> Path:
    job = folder / f"job{steps}.toml"
    job.write_text(JOB.format(corpus=corpus, steps=steps, batch=batch, every=EVERY))
    return job


def bare(job: Path, folder: Path) -> Measured:
    """torchtitan's main() in a process of its own, as torchrun would start it."""
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    settings = ["--job.config_file", str(job), "--job.dump_folder", str(folder), "--metrics.disable_color_printing"]
    said, seconds = run([sys.executable, "-c", BARE, *settings], place)
    found = {
        int(step): datetime.strptime(time, "%Y-%m-%d %H:%M:%S,%f").timestamp() for time, step in _STEP.findall(said)
    }
    return Measured(steps_per_second=speed(found), cpu_seconds=seconds)


def primus(job: Path, folder: Path) -> Measured:
    settings = ["--exp", str(job), "--set", f"workspace={folder}", "--nproc-per-node", "1"]
    _, seconds = run([sys.executable, "-m", "primus", "train", *settings], {})
    (metrics,) = folder.glob("*/*/*/runs/*/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return Measured(steps_per_second=speed({line["step"]: line["time"] for line in lines}), cpu_seconds=seconds)


def run(command: list[str], environ: dict[str, str]) -> tuple[str, float]:
    """What a command prints, and the CPU time that it and its children took."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environ
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{said[-4000:]}")
    return said, used.ru_utime + used.ru_stime


def speed(times: dict[int, float]) -> float:
    """Steps per second after the tenth, from the times at which steps were logged."""
    last = max(times)
    return (last - 10) / (times[last] - times[10]) if last > 10 else 0.0


if __name__ == "__main__":
    main()
