"""Speed and memory of `primus data prepare` with the byte tokenizer, against peers measured in the same run: a copy of
the same bytes, and a plain single-process loop over megatron.core's IndexedDatasetBuilder.

    python benchmarks/data_prepare.py [--megabytes 200] [--rounds 3] [--large 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

COPY = """
import shutil, sys
shutil.copyfileobj(open(sys.argv[1], "rb"), open(sys.argv[2], "wb"), 1 << 20)
"""

PLAIN_LOOP = """
import json, sys, time
import numpy, torch
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

started = time.perf_counter()
builder = IndexedDatasetBuilder(sys.argv[2] + ".bin", dtype=numpy.uint16)
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        text = json.loads(line)["text"].encode()
        {encode}
        builder.add_document(tokens, [len(tokens)])
builder.finalize(sys.argv[2] + ".idx")
print(time.perf_counter() - started)
"""

LISTS = "tokens = torch.IntTensor([*text, 256])"
"""As Megatron-LM's own tools do it: a list of ids per document."""

ARRAYS = "tokens = numpy.append(numpy.frombuffer(text, numpy.uint8).astype(numpy.uint16), numpy.uint16(256))"
"""The fastest that such a loop can be."""


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        corpus = folder / "corpus.jsonl"
        megabytes = generate(corpus, options.megabytes)
        print(f"{os.cpu_count()} cores; corpus of {megabytes:.0f} MB of JSONL; best of {options.rounds} rounds\n")
        times = measure(corpus, folder, options.rounds)
        print_speed(times, megabytes)
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


def measure(corpus: Path, folder: Path, rounds: int) -> dict[str, float]:
    """Best wall time of each, all of them once per round. The plain loops don't count their imports; we do."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        times.setdefault("read and copy the bytes", []).append(timed(python(COPY, corpus, folder / "copy")))
        for name, encode in (("plain loop, lists of ids", LISTS), ("plain loop, numpy", ARRAYS)):
            loop = subprocess.run(
                python(PLAIN_LOOP.format(encode=encode), corpus, folder / "loop"), check=True, stdout=subprocess.PIPE
            )
            times.setdefault(name, []).append(float(loop.stdout))
        for workers in (1, 2):
            command = prepare(corpus, folder / f"primus{workers}", workers)
            times.setdefault(f"primus, {workers} worker{'s' * (workers > 1)}", []).append(timed(command))
    check_same(folder / "loop", folder / "primus1", folder / "primus2")
    return {name: min(values) for name, values in times.items()}


def print_speed(times: dict[str, float], megabytes: float) -> None:
    loop, copy, ours = times["plain loop, numpy"], times["read and copy the bytes"], times["primus, 2 workers"]
    print(f"{'':26} {'seconds':>8} {'MB/s':>8} {'× plain loop, numpy':>20}")
    for name, seconds in times.items():
        print(f"{name:26} {seconds:8.2f} {megabytes / seconds:8.0f} {loop / seconds:20.2f}")
    print(
        f"\nprimus with 2 workers: {megabytes / ours / 2:.0f} MB/s per core, {copy / ours / 2:.2f} of the copy's speed;"
    )
    lists = times["plain loop, lists of ids"]
    print(f"{loop / ours:.2f} × the plain loop with numpy, {lists / ours:.2f} × the one with lists (aim 1.6)\n")


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


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


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
