"""Time to hand one job to SLURM: bare sbatch, `primus slurm submit`, and submitit and TorchX where they are installed,
on a real cluster that this script starts, in one run and in turns. Jobs are held, so that none runs meanwhile.

    python benchmarks/slurm_submit.py [--rounds 20] [--exp llama3_8B]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/real/slurm"))
from cluster import Cluster, why_not

GOLDEN = Path(__file__).parents[1] / "tests/launch/slurm/golden/job.sh"
"""The script that Primus would submit, after some lines about it."""

LIMIT = 150
"""Milliseconds that a submission may take longer than sbatch itself."""

SUBMITIT = """
import submitit
executor = submitit.SlurmExecutor(folder="submitit")
executor.update_parameters(nodes=2, time=60, additional_parameters={"hold": ""})
print(executor.submit(print, "hello").job_id)
"""


def main() -> None:
    options = parse()
    reason = why_not()
    if reason is not None:
        sys.exit(f"no SLURM cluster here: {reason}")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        desk, root = Path(folder, "desk"), Path(folder, "slurm")
        desk.mkdir()
        root.mkdir()
        cluster = Cluster(root)
        try:
            times = measure(commands(options.exp, desk), cluster, desk, options.rounds)
        finally:
            cluster.stop()
    print(f"{os.cpu_count()} cores; experiment {options.exp}; median of {options.rounds} rounds, taken in turns\n")
    sys.exit(report(times))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--exp", default="llama3_8B", help="experiment to submit")
    return parser.parse_args()


def commands(exp: str, desk: Path) -> dict[str, list[str]]:
    """What is measured; a peer that is not installed is left out."""
    script, golden = desk / "job.sh", GOLDEN.read_text()
    script.write_text(golden[golden.index("#!") :])
    asked = ["--nnodes", "2", "--gpus-per-node", "8", "--sbatch-arg=--hold"]
    found = {
        "sbatch": ["sbatch", "--parsable", "--hold", "--nodes=2", "--gpus-per-node=8", "--exclusive", str(script)],
        "primus": [sys.executable, "-m", "primus", "slurm", "submit", "--exp", exp, "--parsable", *asked],
    }
    if find_spec("submitit"):
        found["submitit"] = [sys.executable, "-c", SUBMITIT]
    torchx = shutil.which("torchx", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if torchx:
        found["torchx"] = [
            torchx,
            "run",
            "-s",
            "slurm",
            "-cfg",
            f"job_dir={desk}/torchx",
            "utils.echo",
            "--msg",
            "hello",
        ]
    return found


def measure(argvs: dict[str, list[str]], cluster: Cluster, desk: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round, without the first, which fills the caches."""
    times: dict[str, list[float]] = {name: [] for name in argvs}
    for turn in range(rounds + 1):
        for name, argv in argvs.items():
            if name == "torchx":
                shutil.rmtree(desk / "torchx", ignore_errors=True)
                (desk / "torchx").mkdir()
            begin = time.perf_counter()
            done = subprocess.run(
                argv, cwd=desk, env=os.environ | cluster.environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stdout}{done.stderr}")
            if turn:
                times[name].append(1000 * (time.perf_counter() - begin))
    return times


def report(times: dict[str, list[float]]) -> int:
    """Print a table; 1 when the limit is not kept."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{'':<12}{'median ms':>12}{'fastest':>12}{'slowest':>12}")
    for name, values in times.items():
        print(f"{name:<12}{medians[name]:>12.0f}{min(values):>12.0f}{max(values):>12.0f}")
    more = medians["primus"] - medians["sbatch"]
    print(f"\nprimus takes {more:.0f} ms more than sbatch; limit {LIMIT} ms")
    slower = [name for name in ("submitit", "torchx") if name in medians and medians[name] <= medians["primus"]]
    for name in slower:
        print(f"{name} is faster")
    return int(more > LIMIT or bool(slower))


if __name__ == "__main__":
    main()
