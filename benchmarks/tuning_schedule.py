"""How busy stage 2 keeps its GPUs, and what it costs itself: fake benches of known durations on fake GPUs.

    python benchmarks/tuning_schedule.py [--shapes 400] [--gpus 8] [--seconds 45]

The bench is a small C program that sleeps for a time that follows from the shape and writes what hipblaslt-bench would,
so that two cores suffice. Against what is measured stands the limit: all GPUs busy all the time. Own cost is the
processor time of the tuner per shape, and the time that a GPU waits between two benches.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from primus.tuning.gemm import Gemm
from primus.tuning.shapes import Shapes, Use, write_shapes
from primus.tuning.tune import RESULTS_NAME, TuneRequest, run

BENCH = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *HEADER = "transA,transB,grouped_gemm,batch_count,m,n,k,a_type,b_type,c_type,d_type,compute_type,"
                            "hipblaslt-Gflops,us,solution_index,gcnArchName,CUs";

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    long m = 128, n = 128, k = 128, index = 1, tuning = getenv("HIPBLASLT_TUNING_FILE") != NULL;
    double began = now();
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--help")) return puts("--skip_slow_solution_ratio"), 0;
        if (i + 1 == argc) break;
        if (!strcmp(argv[i], "-m")) m = atol(argv[i + 1]);
        if (!strcmp(argv[i], "-n")) n = atol(argv[i + 1]);
        if (!strcmp(argv[i], "-k")) k = atol(argv[i + 1]);
        if (!strcmp(argv[i], "--solution_index")) index = atol(argv[i + 1]);
    }
    /* A look at all solutions takes long, one of the twelve others a tenth of it. */
    double whole = atof(getenv("BENCH_SECONDS")) * m * n * k / atof(getenv("BENCH_MOST_WORK"));
    double seconds = (tuning ? 0.45 : 0.05) * (m == 128 && n == 128 ? 0 : whole);
    struct timespec nap = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&nap, NULL);
    double us = index == 2 || tuning ? 90.0 : 100.0;
    printf("hipBLASLt git version: fa9cdd18\nQuery device success: there are %s devices\n", getenv("BENCH_GPUS"));
    printf("Device ID 0 : AMD Instinct MI300X gfx942:sramecc+:xnack-\n\nIs supported 2 / Total solutions: 2\n");
    printf("[0]:transA,us\n    T,%g\n    --Solution index: %ld\n", us, index);
    if (tuning) {
        FILE *file = fopen(getenv("HIPBLASLT_TUNING_FILE"), "a");
        fprintf(file, "Git Version: fa9cdd18\n    %s\n    T,N,0,1,%ld,%ld,%ld,bf16_r,bf16_r,bf16_r,bf16_r,f32_r,1,%g,2,"
                "gfx942:sramecc+:xnack-,304\n", HEADER, m, n, k, us);
        fclose(file);
    }
    FILE *noted = fopen(getenv("BENCH_NOTED"), "a");
    fprintf(noted, "%s %.6f %.6f\n", getenv("HIP_VISIBLE_DEVICES") ? getenv("HIP_VISIBLE_DEVICES") : "-", began, now());
    fclose(noted);
    return 0;
}
"""

NEEDED_BUSY = 0.95
NEEDED_COST_MS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=400)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=45.0, help="that the largest shape takes in all")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuning-schedule-") as name:
        measured = measure(Path(name), given.shapes, given.gpus, given.seconds)
    print(json.dumps(measured, indent=2))
    if measured["busy"] < NEEDED_BUSY or measured["own_cost_ms_per_shape"] > NEEDED_COST_MS:
        sys.exit(f"needed: busy {NEEDED_BUSY}, at most {NEEDED_COST_MS} ms per shape")


def measure(folder: Path, shapes: int, gpus: int, seconds: float) -> dict[str, float]:
    build(folder / "rocm" / "bin")
    gemms = make_shapes(shapes)
    write(folder / "gemm_shapes.jsonl", gemms)
    work = max(gemm.m * gemm.n * gemm.k for gemm in gemms)
    os.environ |= {"BENCH_SECONDS": str(seconds), "BENCH_MOST_WORK": str(work), "BENCH_GPUS": str(gpus)}
    os.environ |= {"BENCH_NOTED": str(folder / "noted"), "PRIMUS_TUNE_LOCKS": str(folder)}
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    outcome = run(
        TuneRequest(
            shapes=folder / "gemm_shapes.jsonl",
            results=folder / "tuned" / RESULTS_NAME,
            engine="bench",
            rocm=folder / "rocm",
        )
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    assert outcome.kept == shapes, outcome.messages
    return summary(folder / "noted", shapes, gpus, wall, before, after)


def summary(
    noted: Path, shapes: int, gpus: int, wall: float, before: resource.struct_rusage, after: resource.struct_rusage
) -> dict[str, float]:
    runs: dict[str, list[tuple[float, float]]] = {}
    for line in noted.read_text().splitlines():
        gpu, began, ended = line.split()
        if gpu != "-":
            runs.setdefault(gpu, []).append((float(began), float(ended)))
    busy = sum(ended - began for each in runs.values() for began, ended in each)
    gaps = [later[0] - sooner[1] for each in runs.values() for sooner, later in pairwise(each)]
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "shapes": shapes,
        "gpus": gpus,
        "wall_s": round(wall, 2),
        "busy": round(busy / (wall * gpus), 4),
        "own_cost_ms_per_shape": round(own / shapes * 1e3, 2),
        "runs": sum(map(len, runs.values())),
        "gap_ms_per_run": round(sum(gaps) / len(gaps) * 1e3, 2),
    }


def build(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "bench.c").write_text(BENCH)
    subprocess.run(["cc", "-O1", "-o", folder / "hipblaslt-bench", folder / "bench.c"], check=True)


def make_shapes(count: int) -> list[Gemm]:
    """As wide a mix as models have: the largest takes hundreds of times as long as the smallest."""
    source = random.Random(7)
    sizes = (256, 512, 1024, 2048, 4096, 8192)
    found = {}
    while len(found) < count:
        m, n, k = (source.choice(sizes) + 64 * source.randrange(8) for _ in range(3))
        found[m, n, k] = Gemm.single(m=m, n=n, k=k, a_type="bf16_r", trans_a="T")
    return list(found.values())


def write(path: Path, gemms: list[Gemm]) -> None:
    shapes = Shapes()
    for gemm in gemms:
        shapes.add(gemm, Use(calls=10, ranks=1))
    write_shapes(path, shapes)


if __name__ == "__main__":
    main()
