"""`make quickstart`: text from this machine, two tiny models trained on its CPU, one resumed, and a table of what
came out. Every step is a `primus` command that works the same when typed."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = ["asyncio", "email", "http", "importlib", "json", "logging", "multiprocessing", "unittest", "urllib", "xml"]
"""Of the standard library: some 3 MB of Python, there wherever Python is."""

WORKSPACE = Path("output/quickstart")
DATA = Path("data/quickstart")
MORE_STEPS = 250
"""How far the resumed run of Megatron goes; the experiment itself says how far the first one does."""


def main() -> None:
    prepare("megatron", DATA / "megatron" / "corpus")
    prepare("torchtitan", DATA / "torchtitan")
    runs = {
        "megatron": train("megatron", "--no-resume"),
        "megatron, resumed": train("megatron", "--resume", "--set", f"train_iters={MORE_STEPS}"),
        "torchtitan": train("torchtitan", "--no-resume"),
    }
    print("\n" + table([row(name, run) for name, run in runs.items()]))


def prepare(format: str, output: Path) -> None:
    folders = [str(LIBRARY / package) for package in PACKAGES]
    options = ["--glob", "*.py", "--tokenizer", "byte", "--format", format, "--output", str(output), "--force"]
    primus("data", "prepare", *folders, *options)


def train(backend: str, *options: str) -> Path:
    """Train the shipped tiny model; the run directory."""
    before = run_directories()
    primus("train", "--backend", backend, "--exp", "tiny_llama", "--set", f"workspace={WORKSPACE}", *options)
    (made,) = run_directories() - before
    return made


def run_directories() -> set[Path]:
    return set(WORKSPACE.glob("*/*/*/runs/*"))


def primus(*arguments: str) -> None:
    print(f"\n$ primus {shlex.join(arguments)}", flush=True)
    environment = os.environ | {"DATA_PATH": "data"}  # where prepare() puts it, whatever the user's own data is
    status = subprocess.run([sys.executable, "-m", "primus", *arguments], env=environment, check=False).returncode
    if status:
        sys.exit(status)


def row(name: str, run: Path) -> list[str]:
    model = json.loads((run / "model.json").read_text())
    steps: list[dict[str, Any]] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    speed = statistics.median(step["tokens_per_second"] for step in steps)
    return [
        name,
        f"{model['parameters']:,}",
        f"{steps[0]['step']} to {steps[-1]['step']}",
        f"{steps[0]['loss']:.2f}",
        f"{steps[-1]['loss']:.2f}",
        f"{speed:,.0f}",
        str(run),
    ]


def table(rows: list[list[str]]) -> str:
    lines = [["backend", "parameters", "steps", "first loss", "last loss", "tokens/s", "run directory"], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


if __name__ == "__main__":
    main()
