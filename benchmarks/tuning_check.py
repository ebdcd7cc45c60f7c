"""What stage 3's check of a tuning file costs, before training begins.

    python benchmarks/tuning_check.py [--rows 5000] [--shapes 200]

Against it stands a plain loop over the same file that splits each row at its commas: less than that no reader can do.
Both are the best of several runs in one process. The limit is 100 ms.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from primus.tuning.gemm import Gemm
from primus.tuning.installed import Installed
from primus.tuning.results import Winner, rows_of, write_results
from primus.tuning.shapes import Shapes, Use
from primus.tuning.use import check_file

ARCHITECTURE = "gfx942:sramecc+:xnack-"
LIBRARY = Installed(
    revision="fa9cdd18", version=100201, architecture=ARCHITECTURE, compute_units=304, source="this benchmark"
)
ROUNDS = 7


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--shapes", type=int, default=200)
    given = parser.parse_args()
    gemms = [
        Gemm.single(m=16 * (number + 1), n=128, k=64, trans_a="T", a_type="bf16_r") for number in range(given.rows)
    ]
    shapes = Shapes(uses={gemm: Use(calls=100, ranks=8) for gemm in gemms[: given.shapes]})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.txt"
        write_results(path, LIBRARY.revision, rows_of(map(_winner, gemms), "G2")[0])
        checked = best(lambda: check_file(path, shapes, LIBRARY))
        split = best(lambda: [line.split(",") for line in path.read_text().splitlines()])
        found = check_file(path, shapes, LIBRARY)
    assert (found.rows, found.covered, found.refusals) == (given.rows, given.shapes, [])
    print(f"check of {given.rows:,} rows and {given.shapes} shapes: {checked * 1e3:.1f} ms (limit 100)")
    print(f"splitting the same file: {split * 1e3:.1f} ms; ratio {checked / split:.1f}")


def best(what: Callable[[], object]) -> float:
    """Processor seconds of the fastest of several runs."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        what()
        times.append(time.process_time() - begin)
    return min(times)


def _winner(gemm: Gemm) -> Winner:
    return Winner(gemm=gemm, solution_index=gemm.m, microseconds=3, architecture=ARCHITECTURE, compute_units=304)


if __name__ == "__main__":
    main()
