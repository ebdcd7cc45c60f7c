"""Speed and memory of `primus data prepare` with the byte tokenizer, against peers measured in the same run: a copy of
the same bytes, and a plain single-process loop over megatron.core's IndexedDatasetBuilder.

    python benchmarks/data_prepare.py [--megabytes 200] [--rounds 3] [--large 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COPY = """
import shutil, sys
shutil.copyfileobj(open(sys.argv[1], "rb"), open(sys.argv[2], "wb"), 1 << 20)
"""

PLAIN_LOOP = """
import json, sys, time
import numpy, torch
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

started, cpu = time.perf_counter(), time.process_time()
builder = IndexedDatasetBuilder(sys.argv[2] + ".bin", dtype=numpy.uint16)
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        text = json.loads(line)["text"].encode()
        ENCODE
        builder.add_document(tokens, [len(tokens)])
builder.finalize(sys.argv[2] + ".idx")
print(time.perf_counter() - started, time.process_time() - cpu)
"""

LISTS = "tokens = torch.IntTensor([*text, 256])"
"""As Megatron-LM's own tools do it: a list of ids per document."""

ARRAYS = "tokens = numpy.append(numpy.frombuffer(text, numpy.uint8).astype(numpy.uint16), numpy.uint16(256))"
"""The fastest that such a loop can be."""

COPYING, SLOW_LOOP, FAST_LOOP = "copy of the bytes", "plain loop with lists", "plain loop with numpy"
OURS = ("primus, 1 worker", "primus, 2 workers")


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        corpus = folder / "corpus.jsonl"
        megabytes = generate(corpus, options.megabytes)
        print(
            f"{os.cpu_count()} cores; corpus of {megabytes:.0f} MB of JSONL; the quickest of {options.rounds} rounds\n"
        )
        print_speed(measure(corpus, folder, options.rounds), megabytes)
        print_memory(folder, (megabytes, options.large))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=float, default=1000, help="MB of the corpus for the memory comparison")
    parser.add_argument("--folder", type=Path, help="where the scratch files go")
    return parser.parse_args()


def generate(path: Path, megabytes: float) -> float:
    """Documents of some KB from the standard library's sources, over and over; the MB written."""
    with path.open("w", encoding="utf-8") as file:
        for document in documents():
            if file.tell() >= megabytes * 1e6:
                break
            file.write(json.dumps({"text": document}) + "\n")
    return path.stat().st_size / 1e6


def documents() -> Iterator[str]:
    library = Path(sysconfig.get_path("stdlib"))
    texts = [path.read_text(encoding="utf-8") for path in sorted(library.glob("*.py"))]
    while True:
        for text in texts:
            yield from (text[start : start + 4000] for start in range(0, len(text), 4000))


@dataclass(frozen=True, kw_only=True, order=True)
class Cost:
    """What one run took, in seconds."""

    wall: float
    cpu: float


def measure(corpus: Path, folder: Path, rounds: int) -> dict[str, Cost]:
    """The quickest run of each, all of them once per round. The plain loops don't count their imports; we do."""
    costs: dict[str, list[Cost]] = {name: [] for name in (COPYING, SLOW_LOOP, FAST_LOOP, *OURS)}
    costs[SLOW_LOOP].append(loop(LISTS, corpus, folder))
    for _ in range(rounds):
        costs[COPYING].append(timed(python(COPY, corpus, folder / "copy")))
        costs[FAST_LOOP].append(loop(ARRAYS, corpus, folder))
        for workers, name in enumerate(OURS, start=1):
            costs[name].append(timed(prepare(corpus, folder / f"primus{workers}", workers)))
    check_same(folder / "loop", folder / "primus1", folder / "primus2")
    return {name: min(runs) for name, runs in costs.items()}


def loop(encode: str, corpus: Path, folder: Path) -> Cost:
    command = python(PLAIN_LOOP.replace("ENCODE", encode), corpus, folder / "loop")
    wall, cpu = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()
    return Cost(wall=float(wall), cpu=float(cpu))


def print_speed(costs: dict[str, Cost], megabytes: float) -> None:
    print(f"{'':26} {'seconds':>8} {'MB/s':>8} {'CPU seconds':>12} {'MB per CPU second':>18}")
    for name, cost in costs.items():
        print(f"{name:26} {cost.wall:8.2f} {megabytes / cost.wall:8.0f} {cost.cpu:12.2f} {megabytes / cost.cpu:18.0f}")
    ours = costs[OURS[1]]
    print(f"\nprimus with 2 workers: {ours.cpu / costs[COPYING].cpu:.1f} times the CPU time of the copy,")
    for name in (FAST_LOOP, SLOW_LOOP):
        print(f"{costs[name].wall / ours.wall:6.2f} × the speed of the {name} (aim 1.6)")
    print()


def print_memory(folder: Path, sizes: tuple[float, float]) -> None:
    for size in sizes:
        corpus = folder / "corpus.jsonl"
        megabytes = generate(corpus, size)
        peak = peak_memory(prepare(corpus, folder / "memory", 2))
        print(f"corpus of {megabytes:5.0f} MB: peak memory of the largest process {peak:.0f} MB")


def python(script: str, *arguments: Path) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def prepare(corpus: Path, output: Path, workers: int) -> list[str]:
    command = [sys.executable, "-m", "primus", "data", "prepare", str(corpus), "--output", str(output), "--force"]
    return [*command, "--tokenizer", "byte", "--workers", str(workers)]


def timed(command: list[str]) -> Cost:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall=time.perf_counter() - started, cpu=cpu)


def peak_memory(command: list[str]) -> float:
    """Of the largest process of the command, in MB."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    output = subprocess.run([sys.executable, "-c", script, *command], check=True, stdout=subprocess.PIPE).stdout
    return float(output) * 1024 / 1e6


def check_same(*prefixes: Path) -> None:
    for suffix in (".bin", ".idx"):
        contents = {prefix.with_name(prefix.name + suffix).read_bytes() for prefix in prefixes}
        assert len(contents) == 1, f"the {suffix} files differ"


if __name__ == "__main__":
    main()
