"""Time from command to prompt of `primus --help`, `primus config check` and `primus train --dry-run`, against Python
itself and against the bare import of typer, all in one run and in turns.

    python benchmarks/startup.py [--rounds 20] [--exp llama3_8B]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

PRIMUS = (sys.executable, "-m", "primus")

LIMITS = {"help": 1.5, "config check": 3.0, "train --dry-run": 3.0}
"""Wall time that we allow ourselves, as a multiple of the import of typer."""


@dataclass
class Timing:
    """What one command took in every round, in milliseconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main() -> None:
    options = parse()
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "import typer": (sys.executable, "-c", "import typer"),
        "help": (*PRIMUS, "--help"),
        "config check": (*PRIMUS, "config", "check", options.exp),
        "train --dry-run": (*PRIMUS, "train", "--exp", options.exp, "--dry-run"),
    }
    timings = {name: Timing() for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds + 1):
            for name, argv in commands.items():
                wall, cpu = measure(argv, folder)
                if turn:  # the first one fills the caches
                    timings[name].wall.append(wall)
                    timings[name].cpu.append(cpu)
    print(f"{os.cpu_count()} cores; experiment {options.exp}; median of {options.rounds} rounds, taken in turns\n")
    print_table(timings)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--exp", default="llama3_8B", help="experiment to check and to dry-run")
    return parser.parse_args()


def measure(argv: tuple[str, ...], folder: str) -> tuple[float, float]:
    """Wall and CPU milliseconds of one command."""
    begin = time.perf_counter()
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status:
        sys.exit(f"{' '.join(argv)} failed:\n{process.stderr.read().decode() if process.stderr else ''}")
    return 1000 * wall, 1000 * (usage.ru_utime + usage.ru_stime)


def print_table(timings: dict[str, Timing]) -> None:
    medians = {name: (statistics.median(each.wall), statistics.median(each.cpu)) for name, each in timings.items()}
    bare, typer = medians["python -c pass"], medians["import typer"]
    print(f"{'command':<18}{'wall ms':>9}{'CPU ms':>8}{'x pass':>8}{'x typer':>9}{'x typer, CPU':>14}{'aim':>8}")
    for name, (wall, cpu) in medians.items():
        ratios = f"{wall / bare[0]:>8.1f}{wall / typer[0]:>9.2f}{cpu / typer[1]:>14.2f}"
        aim = f"< {LIMITS[name]}" if name in LIMITS else ""
        print(f"{name:<18}{wall:>9.0f}{cpu:>8.0f}{ratios}{aim:>8}")


if __name__ == "__main__":
    main()
