"""Speed and memory of merging GEMM dumps, against peers measured in the same run: a plain Python loop that counts lines
in a dictionary, one that only reads them, and `sort -u`.

    python benchmarks/tuning_parse.py [--ranks 64] [--lines 100000] [--rounds 3] [--folder DIR]

Two kinds of dumps are made: of training, where each step repeats the one before but for a few lines, and shuffled ones,
where nothing repeats itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MEASURED = """
import json, resource, sys, time
from pathlib import Path

IMPORT

def main():
    paths = sorted(Path(sys.argv[1]).iterdir())
    started, before = time.perf_counter(), time.process_time()
    BODY
    seconds, busy = time.perf_counter() - started, time.process_time() - before
    own, child = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    busy += child.ru_utime + child.ru_stime
    megabytes = (own.ru_maxrss + PROCESSES * child.ru_maxrss) / 1024
    print(json.dumps({"seconds": seconds, "busy": busy, "found": found, "megabytes": megabytes}))

if __name__ == "__main__":
    main()
"""

READING = """found = 0
    for path in paths:
        with path.open("rb") as lines:
            for line in lines:
                found += 1"""

COUNTING = """counts = {}
    for path in paths:
        with path.open("rb") as lines:
            for line in lines:
                counts[line] = counts.get(line, 0) + 1
    found = len(counts)"""

OURS = """found = len(read_dumps(paths, processes=PROCESSES).uses)"""

LOOP = "plain loop, counting"
PEERS = {"loop, reading only": (READING, 0), LOOP: (COUNTING, 0)}
PRIMUS = {f"primus, {count} process{'es' * (count > 1)}": (OURS, count if count > 1 else 0) for count in (1, 2)}
IMPORT = "from primus.tuning.shapes import read_dumps"
SHAPES_OF_A_LAYER = 8


@dataclasses.dataclass(frozen=True)
class Result:
    seconds: float
    busy: float
    """Seconds of all cores together."""

    megabytes: float | None
    found: int


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for kind in ("training", "shuffled"):
            folder = Path(name) / kind
            size = generate(folder, kind, options.ranks, options.lines) / 1e6
            print(f"\n{kind}: {options.ranks} dumps of {options.lines:,} lines, {size:,.0f} MB; {os.cpu_count()} cores")
            show(measure(folder, options.rounds), size)
            shutil.rmtree(folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--lines", type=int, default=100_000, help="of one rank")
    parser.add_argument("--rounds", type=int, default=3, help="the quickest counts")
    parser.add_argument("--folder", type=Path, help="where the scratch files go")
    return parser.parse_args()


def generate(folder: Path, kind: str, ranks: int, count: int) -> int:
    """One dump per rank; the bytes written."""
    folder.mkdir()
    for rank in range(ranks):
        chosen = random.Random(rank)
        lines = training(chosen, count) if kind == "training" else shuffled(chosen, count)
        with (folder / f"dump_{rank}.txt").open("w") as file:
            file.writelines(lines)
    return sum(path.stat().st_size for path in folder.iterdir())


def training(chosen: random.Random, count: int) -> Iterator[str]:
    """Micro-batches of 32 layers, forward and backward, the optimizer's step; now and then an expert's odd shape."""
    forward = [line(1024 + 128 * shape, 4096, 2048, "T", "N") for shape in range(SHAPES_OF_A_LAYER)]
    backward = [line(2048, 4096, 1024 + 128 * shape, "N", "N") for shape in range(SHAPES_OF_A_LAYER)]
    backward += [line(2048, 1024 + 128 * shape, 4096, "N", "T") for shape in range(SHAPES_OF_A_LAYER)]
    logits = [line(32000, 4096, 2048, "T", "N"), line(2048, 4096, 32000, "N", "N"), line(2048, 32000, 4096, "N", "T")]
    step = [*forward * 32, *logits, *backward * 32] * 2
    written = 0
    while written < count:
        odd = [line(1024, chosen.randrange(1, 4096), 2048, "T", "N")] if chosen.random() < 0.3 else []
        part = [*step, *odd][: count - written]
        written += len(part)
        yield from part


def shuffled(chosen: random.Random, count: int) -> Iterator[str]:
    lines = [line(1024 + 128 * shape, 4096, 2048, "T", "N") for shape in range(200)]
    return (chosen.choice(lines) for _ in range(count))


def line(m: int, n: int, k: int, trans_a: str, trans_b: str) -> str:
    lda, ldb = (m if trans_a == "N" else k), (k if trans_b == "N" else n)
    return (
        f"hipblaslt-bench --api_method c -m {m} -n {n} -k {k} --lda {lda} --ldb {ldb} --ldc {m} --ldd {m}  "
        "--stride_a 0 --stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 0.000000 "
        f"--transA {trans_a} --transB {trans_b} --batch_count 1 --scaleA 0 --scaleB 0  --a_type bf16_r "
        "--b_type bf16_r --c_type bf16_r --d_type bf16_r --scale_type f32_r --bias_type f32_r   "
        f"--compute_type f32_r --algo_method index --solution_index {m + n + k} --activation_type none \n"
    )


def measure(folder: Path, rounds: int) -> dict[str, Result]:
    """All of them in turn, so that a busy moment of the machine meets each."""
    best: dict[str, Result] = {}
    for _ in range(rounds):
        for name, (body, processes) in {**PEERS, **PRIMUS}.items():
            keep(best, name, python(folder, body, processes))
    keep(best, "sort -u", sort(folder))
    return best


def keep(best: dict[str, Result], name: str, result: Result) -> None:
    """The quickest and the least busy of all rounds."""
    before = best.get(name, result)
    quickest = min(before.seconds, result.seconds)
    best[name] = dataclasses.replace(result, seconds=quickest, busy=min(before.busy, result.busy))


def python(folder: Path, body: str, processes: int) -> Result:
    script = (
        MEASURED.replace("IMPORT", IMPORT if body is OURS else "")
        .replace("BODY", body)
        .replace("processes=PROCESSES", f"processes={processes or 1}")
    )
    path = folder.parent / "measured.py"
    path.write_text(script.replace("PROCESSES", str(processes)))
    done = subprocess.run([sys.executable, str(path), str(folder)], capture_output=True, text=True, check=True)
    return Result(**json.loads(done.stdout))


def sort(folder: Path) -> Result:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = ["sort", "-u", "-T", str(folder.parent), *map(str, folder.iterdir())]
    done = subprocess.run(command, env=os.environ | {"LC_ALL": "C"}, stdout=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - started
    return Result(seconds=seconds, busy=busy, megabytes=None, found=done.stdout.count(b"\n"))


def show(results: dict[str, Result], size: float) -> None:
    """`per core` divides by the seconds that the cores were busy, so that a shared machine does not matter."""
    loop = results[LOOP]
    print(f"{'':24}{'MB/s':>8}{'x loop':>9}{'per core':>10}{'x loop':>9}{'peak MB':>9}{'found':>8}")
    for name, result in results.items():
        memory = "" if result.megabytes is None else f"{result.megabytes:.0f}"
        quick = f"{size / result.seconds:8.0f}{loop.seconds / result.seconds:9.2f}"
        busy = f"{size / result.busy:10.0f}{loop.busy / result.busy:9.2f}"
        print(f"{name:24}{quick}{busy}{memory:>9}{result.found:8}")


if __name__ == "__main__":
    main()
