"""Time and memory of planning a launch, from the options to the workers' command and environment, for one node and
for thousands. Neither may grow with the nodes: 4,096 nodes with 8 GPUs each take less than 0.1 s.

    python benchmarks/planning.py [--rounds 20] [--exp llama3_8B]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

from primus.backends.prepare import prepare
from primus.job import Network, Resources
from primus.launch.ranks import chosen_ranks
from primus.launch.render import command, environment

NODES = (1, 64, 4096)
AIM = 0.1
"""Seconds for the most nodes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--exp", default="llama3_8B")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; experiment {options.exp}; median of {options.rounds} rounds\n")
    print(f"{'nodes':>6}{'ranks':>8}{'ms':>9}{'x one node':>12}{'peak KiB':>10}{'x one node':>12}   aim")
    first: tuple[float, float] | None = None
    for nodes in NODES:
        plan(options.exp, nodes)
        seconds = statistics.median(timed(options.exp, nodes) for _ in range(options.rounds))
        peak = memory(options.exp, nodes)
        first = first or (seconds, peak)
        aim = f"under {1000 * AIM:.0f} ms, memory x 1.1 at most" if nodes == NODES[-1] else ""
        print(
            f"{nodes:>6}{8 * nodes:>8}{1000 * seconds:>9.1f}{seconds / first[0]:>12.2f}{peak / 1024:>10.0f}"
            f"{peak / first[1]:>12.2f}   {aim}"
        )
    sys.exit(seconds > AIM)


def timed(exp: str, nodes: int) -> float:
    begin = time.perf_counter()
    plan(exp, nodes)
    return time.perf_counter() - begin


def memory(exp: str, nodes: int) -> float:
    """The most bytes that planning held at once."""
    tracemalloc.start()
    plan(exp, nodes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def plan(exp: str, nodes: int) -> None:
    """All that `primus train` decides on the last node before it starts anything."""
    resources = Resources(
        nnodes=nodes,
        nproc_per_node=8,
        node_rank=nodes - 1,
        master_addr="node0",
        master_port=29500,
        accelerator="amd",
        gpu_model="gfx942",
        network=Network(interface="eth0", link="roce", ports=("mlx5_0:1",), gid_index=3) if nodes > 1 else None,
    )
    # The batch goes with the nodes, as it does in practice.
    sets = [f"global_batch_size={8 * 2 * nodes}"]
    prepared = prepare(exp, sets=sets, resources=resources, environ={})
    backend, experiment = prepared.backend, prepared.usable()
    job = backend.plan(experiment, resources, run_dir=Path("/runs/x"), resume="auto")
    ranks = chosen_ranks("0,first,last", resources, {})
    job = replace(job, console_ranks=ranks or job.console_ranks)
    command(job)
    environment(job, {})


if __name__ == "__main__":
    main()
