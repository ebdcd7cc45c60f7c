"""How long a tuning file takes to be checked: 5,000 rows against 5,000 shapes, beside a plain loop over its lines.

python benchmarks/tuning_check.py [--rows 5000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from primus.tuning.gemm import Gemm
from primus.tuning.installed import Installed
from primus.tuning.results import Winner, rows_of, write_results
from primus.tuning.shapes import Shapes, Use
from primus.tuning.use import check_file

NEEDED_MS = 100.0
REVISION, ARCHITECTURE = "fa9cdd18", "gfx942:sramecc+:xnack-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuning-check-") as folder:
        path = Path(folder) / "results.txt"
        shapes = write(path, given.rows)
        library = Installed(
            revision=REVISION, version=100201, architecture=ARCHITECTURE, compute_units=304, source="benchmark"
        )
        found = check_file(path, shapes, library)
        assert (found.rows, found.covered, found.refusals) == (given.rows, given.rows, [])
        ours = best_ms(lambda: check_file(path, shapes, library), given.rounds)
        loop = best_ms(lambda: [line.split(",") for line in path.read_text().splitlines()], given.rounds)
    print(json.dumps({"rows": given.rows, "check_ms": round(ours, 1), "plain_loop_ms": round(loop, 1)}, indent=2))
    if ours > NEEDED_MS:
        sys.exit(f"needed: at most {NEEDED_MS} ms")


def write(path: Path, count: int) -> Shapes:
    shapes, winners = Shapes(), []
    for number in range(count):
        gemm = Gemm.single(m=64 + number, n=4096, k=1024 + number % 7, a_type="bf16_r", trans_a="T")
        shapes.add(gemm, Use(calls=1, ranks=1))
        winners.append(
            Winner(
                gemm=gemm, solution_index=number + 1, microseconds=33.0, architecture=ARCHITECTURE, compute_units=304
            )
        )
    rows, _ = rows_of(winners, "G2")
    write_results(path, REVISION, rows)
    return shapes


def best_ms(run: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3)
    return min(times)


if __name__ == "__main__":
    main()
