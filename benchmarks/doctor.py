"""What `primus doctor` itself costs: a whole examination, from the command to its end, against its host checks and the
same measurements under bare torchrun (one process: the worker alone), in turns. Needs torch.

    python benchmarks/doctor.py [--rounds 5] [--processes 1] [--full]
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
from pathlib import Path

from primus.doctor.plan import REQUEST, STEP_SECONDS

AIM = 0.05
"""Share of checks and measurements that the rest may take."""

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, {arguments.processes} workers, {'full' if arguments.full else 'quick'}\n")
    print(f"{'whole':>10}{'host checks':>13}{'bare workers':>14}{'own':>10}{'share':>9}")
    shares = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            whole, host = examine(Path(folder), arguments.processes, full=arguments.full)
            bare = measure(Path(folder), arguments.processes, full=arguments.full)
        own = whole - host - bare
        shares.append(own / (host + bare))
        print(f"{whole:>8.2f} s{host:>11.2f} s{bare:>12.2f} s{own:>8.2f} s{shares[-1]:>9.1%}", flush=True)
    share = statistics.median(shares)
    print(f"\nmedian {share:.1%}, aim {AIM:.0%}: {'met' if share <= AIM else 'missed'}")


def examine(folder: Path, processes: int, *, full: bool) -> tuple[float, float]:
    """Seconds of a whole examination, and of its host checks."""
    options = ["--nproc-per-node", str(processes), *(["--full"] if full else [])]
    argv = [sys.executable, "-m", "primus", "doctor", "--json", *options]
    begin = time.perf_counter()
    done = subprocess.run(
        argv, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    whole = time.perf_counter() - begin
    if done.returncode not in (0, 10):
        sys.exit(f"primus doctor ended with exit status {done.returncode}")
    return whole, sum(json.loads(done.stdout)["nodes"][0]["facts"]["seconds"].values())


def measure(folder: Path, processes: int, *, full: bool) -> float:
    """Seconds of the same workers without Primus' launcher."""
    run_dir = folder / "bare"
    (run_dir / "doctor").mkdir(parents=True)
    request = {"full": full, "accelerator": accelerator(), "limit": STEP_SECONDS[full]}
    (run_dir / REQUEST).write_text(json.dumps(request))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    argv = [sys.executable, *(torchrun if processes > 1 else []), "-m", "primus.doctor.worker", str(run_dir)]
    begin = time.perf_counter()
    subprocess.run(argv, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def accelerator() -> str:
    from primus.launch.devices import find_accelerators

    return find_accelerators(os.environ).kind


if __name__ == "__main__":
    main()
