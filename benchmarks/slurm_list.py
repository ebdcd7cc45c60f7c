"""Time of `primus slurm list` and `status` with 10,000 jobs in the queue: a stand-in for squeue prints recorded lines.

python benchmarks/slurm_list.py [--jobs 10000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 1.0
"""Seconds for each command."""

STATES = (
    "RUNNING|main|8|None|2026-11-22T22:03:42",
    "PENDING|main|8|Priority|N/A",
    "COMPLETED|main|1|None|2026-11-22T21:00:00",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = stand_in(Path(folder), options.jobs)
        slow = [
            words
            for words in ("list", "list --json", f"status {options.jobs // 2}")
            if measure(words, folder, environment, options.rounds) > LIMIT
        ]
    print(f"\n{options.jobs} jobs, {os.cpu_count()} cores; median of {options.rounds} rounds; limit {LIMIT:.0f} s each")
    sys.exit(f"over the limit: {', '.join(slow)}" if slow else 0)


def stand_in(folder: Path, count: int) -> dict[str, str]:
    """A squeue that prints so many jobs, or the one that it is asked for; the environment that finds it."""
    lines = [
        f"{job}|{STATES[job % len(STATES)]}|1-00:00:00|1:02:03|n[1-8]|{folder}/output/us/me/toy/runs/{job}/slurm/job.sh"
        for job in range(1, count + 1)
    ]
    (folder / "queue").write_text("\n".join(lines) + "\n")
    script = f'#!/bin/sh\nfor word; do [ "$before" = -j ] && exec grep "^$word|" {folder}/queue; before=$word; done\n'
    (folder / "squeue").write_text(f"{script}exec cat {folder}/queue\n")
    (folder / "squeue").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def measure(words: str, folder: str, environment: dict[str, str], rounds: int) -> float:
    """Median seconds of one command, after a first call that fills the caches."""
    command = [sys.executable, "-m", "primus", "slurm", *words.split()]
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begin)
    median = statistics.median(times[1:])
    print(f"primus slurm {words:<16}{median:8.2f} s   (fastest {min(times[1:]):.2f}, slowest {max(times[1:]):.2f})")
    return median


if __name__ == "__main__":
    main()
