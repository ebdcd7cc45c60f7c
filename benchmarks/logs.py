"""What logging costs workers: 8 ranks that print 200,000 lines a second in all, once into logs that Primus follows and
shows, once to /dev/null, in turns.

Each rank works in steps as training does: the device is busy for a while (here: it waits), and meanwhile the process
prints. A step that prints too slowly is late. The ratio is steps with logs over steps without, for the same time.

    python benchmarks/logs.py [--seconds 10] [--rounds 3] [--ranks 8] [--lines 200000] [--shown last|all|0]
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from primus.backends.log import DEFAULT_LIMIT, open_log
from primus.job import Job, Resources
from primus.launch.ranks import chosen_ranks
from primus.launch.terminal import Screen
from primus.run import RunDirectory

STEP = 0.04
"""Seconds that the device is busy with one step."""

AIM = 0.99


def main() -> None:
    options = parse()
    if options.worker is not None:
        work(options)
        return
    print(f"{os.cpu_count()} cores; {options.ranks} ranks, {options.lines:,} lines/s in all, `--ranks {options.shown}`")
    print(f"{'round':<7}{'steps with logs':>17}{'steps without':>15}{'lines/s':>10}{'ratio':>8}{'us/line':>9}   aim")
    ratios = []
    for number in range(options.rounds):
        logged, cpu = run(options, logged=True)
        silent, bare = run(options, logged=False)
        ratios.append(logged / silent)
        lines = logged * options.lines / options.ranks * STEP
        print(
            f"{number + 1:<7}{logged:>17}{silent:>15}{lines / options.seconds:>10,.0f}{ratios[-1]:>8.3f}"
            f"{1e6 * (cpu - bare) / lines:>+9.2f}"
        )
    print(f"{'median':<49}{statistics.median(ratios):>8.3f}{'':>12}at least {AIM}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--lines", type=int, default=200_000, help="per second, of all ranks together")
    parser.add_argument("--shown", default="0", help="what --ranks says")
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--run-dir", default="", help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=float, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def run(options: argparse.Namespace, *, logged: bool) -> tuple[int, float]:
    """Steps of all workers together, and their CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        run_dir = RunDirectory(name)
        run_dir.create({})
        resources = Resources(nproc_per_node=options.ranks)
        ranks = chosen_ranks(options.shown, resources, {}) or ()
        job = Job(name="x", backend="x", module="x", resources=resources, run_dir=run_dir.path, console_ranks=ranks)
        begin = time.time() + 1 + 0.2 * options.ranks
        argv = [sys.executable, __file__, *sys.argv[1:], f"--begin={begin}", f"--run-dir={name if logged else ''}"]
        workers = [
            subprocess.Popen([*argv, f"--worker={rank}"], stdout=subprocess.PIPE) for rank in range(options.ranks)
        ]
        with Path(os.devnull).open("w") as nowhere:
            screen = Screen(job, 0, stream=nowhere, environ={})
            while any(worker.poll() is None for worker in workers):
                screen.update()
                time.sleep(0.05)
            screen.close()
        said = [worker.communicate()[0].split() for worker in workers]
        if any(worker.returncode for worker in workers):
            sys.exit("a worker failed")
        return sum(int(steps) for steps, _ in said), sum(float(cpu) for _, cpu in said)


def work(options: argparse.Namespace) -> None:
    """A worker: its steps and CPU seconds go to the standard output that it was given."""
    report = os.dup(1)
    if options.run_dir:
        open_log(RunDirectory(options.run_dir).log_path(0, options.worker), DEFAULT_LIMIT)
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        assert isinstance(sys.stdout, io.TextIOWrapper)
        sys.stdout.reconfigure(line_buffering=True)
    lines = round(options.lines / options.ranks * STEP)
    time.sleep(max(0.0, options.begin - time.time()))
    begin_cpu, begin = time.process_time(), time.perf_counter()
    steps, device_free = 0, begin
    while time.perf_counter() - begin < options.seconds:
        device_free = max(time.perf_counter(), device_free) + STEP
        for line in range(lines):
            print(f"step {steps} line {line} of rank {options.worker}: a line as training libraries print them")
        time.sleep(max(0.0, device_free - time.perf_counter()))
        steps += 1
    os.write(report, f"{steps} {time.process_time() - begin_cpu}\n".encode())


if __name__ == "__main__":
    main()
