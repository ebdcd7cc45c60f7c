"""Runs a script of the tests as the ranks of a job, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_ranks(script: Path, processes: int, *words: str) -> list[str]:
    """The last line that each rank prints; it gets its rank, the number of ranks and the words."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), str(rank), str(processes), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        ends = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert not any(process.returncode for process in started), "\n".join(error[-4000:] for _, error in ends)
    return [output.rstrip().rpartition("\n")[2] for output, _ in ends]
