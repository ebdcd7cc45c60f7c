"""How long `primus estimate` takes for every shipped experiment beyond the start of the interpreter and of the command
line (limit 150 ms, without torch), and how long a search takes for 2,000 layouts (limit 2 s).

Run: python benchmarks/estimate.py [--repeat N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from primus.backends.prepare import prepare
from primus.estimate.rates import accelerator_of, assumed
from primus.estimate.search import USABLE, search
from primus.experiment.paths import frameworks, shipped
from primus.job import Resources

LIMIT = 0.150
SEARCH_LIMIT = 2.0
LAYOUTS = 2000
SEARCHED = (("megatron/llama3_70B", 8), ("torchtitan/llama3_70b", 8), ("megatron/mixtral_8x22B", 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    names = [f"{each}/{name}" for each in frameworks("experiments") for name in shipped("experiments", each)]
    start = best(repeat, ["--version"])
    times = {name: best(repeat, ["estimate", "--exp", name, "--nnodes", "16", "--json"]) - start for name in names}
    slowest = max(times, key=times.__getitem__)
    median = statistics.median(times.values())
    print(f"primus --version: {start * 1000:.0f} ms, the best of {repeat}")
    print(
        f"primus estimate beyond that: median {median * 1000:.0f} ms, most {times[slowest] * 1000:.0f} ms ({slowest})"
    )
    print("within the limit" if times[slowest] < LIMIT else f"above the limit of {LIMIT * 1000:.0f} ms")
    for name, nodes in SEARCHED:
        seconds, tried = search_time(name, nodes)
        print(f"search, {name} on {nodes} nodes: {tried:,} layouts in {seconds:.2f} s", end="; ")
        each = seconds / tried * LAYOUTS
        print(
            f"{LAYOUTS:,} in {each:.2f} s, " + ("within the limit" if each < SEARCH_LIMIT else "above the limit of 2 s")
        )


def best(repeat: int, words: list[str]) -> float:
    """Seconds of a command that may end with the status of a wrong experiment."""
    found = []
    for _ in range(repeat):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "primus", *words], capture_output=True, check=False)
        found.append(time.perf_counter() - begin)
    return min(found)


def search_time(name: str, nodes: int) -> tuple[float, int]:
    chip = accelerator_of("MI300X")
    prepared = prepare(name, environ={})
    resources = Resources(nnodes=nodes, nproc_per_node=8, accelerator="amd")
    begin = time.perf_counter()
    found = search(
        prepared.backend,
        prepared.experiment,
        resources,
        limit=USABLE * chip.memory_gib * 2**30,
        rates=assumed(chip, "bf16"),
        shown=10,
    )
    return time.perf_counter() - begin, found.tried


if __name__ == "__main__":
    main()
