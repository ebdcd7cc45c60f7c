"""Both backends on one device: a Llama of about 1 billion parameters in bf16 on a GPU, a tiny one in float32 without.

    python benchmarks/gpu.py [--output FOLDER]

Megatron by megatron_loop.py, our loop and the floor; torchtitan by `primus train`. Writes <device>-<date>.md into
benchmarks/results/. Needs torch, megatron-core, torchtitan and what `primus data prepare` needs.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("torch", "megatron-core", "torchtitan", "transformer_engine", "triton", "primus")

JOB = """
[model]
name = "llama3"
flavor = "custom"
hf_assets_path = "{corpus}/tokenizer"
[model.custom]
{sizes}
[training]
dataset = "text"
dataset_path = "{corpus}"
steps = {steps}
{training}
[optimizer]
lr = 1e-4
[lr_scheduler]
warmup_steps = 2
[activation_checkpoint]
mode = "none"
[metrics]
log_freq = 1
"""

WARM_UP = 5
SIZES: dict[bool, dict[str, str]] = {
    True: {
        "sizes": "dim = 2048\nn_layers = 16\nn_heads = 32\nn_kv_heads = 8\nffn_dim_multiplier = 1.5\n"
        "multiple_of = 1024\nrope_theta = 500000\nvocab_size = 128256",
        "training": "local_batch_size = 2\nglobal_batch_size = 8\nseq_len = 4096\n[compile]\nenable = true",
        "steps": "40",
    },
    False: {
        "sizes": "dim = 128\nn_layers = 4\nn_heads = 4\nn_kv_heads = 2\nmultiple_of = 32\nvocab_size = 257",
        "training": 'local_batch_size = 4\nseq_len = 256\nmixed_precision_param = "float32"',
        "steps": "25",
    },
}
"""By whether there is a GPU; as SIZES in megatron_loop.py."""


def main() -> None:
    options = parse()
    loop = json.loads(run([sys.executable, str(HERE / "megatron_loop.py"), "--json"]).splitlines()[-1])
    with tempfile.TemporaryDirectory() as name:
        titan = torchtitan(Path(name), gpu=loop["size"] != "tiny")
    date = datetime.now(timezone.utc).date()
    device = re.sub(r"[^a-z0-9]+", "-", loop["device"].lower()).strip("-")
    text = report(loop, titan, f"{date}")
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / f"{device}-{date}.md"
    file.write_text(text, encoding="utf-8")
    print(f"{text}\n{file}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder for the table")
    return parser.parse_args()


def torchtitan(folder: Path, *, gpu: bool) -> dict[str, float | None]:
    """Speed of torchtitan through Primus, on Python's own source code as bytes; medians after the warm-up."""
    corpus = folder / "corpus"
    text = [str(Path(sysconfig.get_paths()["stdlib"]) / name) for name in ("json", "email", "http", "asyncio")]
    settings = ["--glob", "*.py", "--tokenizer", "byte", "--format", "torchtitan", "--output", str(corpus)]
    run([sys.executable, "-m", "primus", "data", "prepare", *text, *settings])
    job = folder / "job.toml"
    job.write_text(JOB.format(corpus=corpus, **SIZES[gpu]), encoding="utf-8")
    target = ["--exp", str(job), "--set", f"workspace={folder / 'out'}", "--nproc-per-node", "1"]
    run([sys.executable, "-m", "primus", "train", *target])
    (file,) = (folder / "out").glob("*/*/*/runs/*/metrics.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {name: middle(lines, name) for name in ("tokens_per_second", "step_time", "mfu")}


def middle(lines: list[dict[str, Any]], name: str) -> float | None:
    """Median of a metric, None when it is not reported."""
    values = [line[name] for line in lines if name in line and line["step"] > WARM_UP]
    return statistics.median(values) if values else None


def report(loop: dict[str, Any], titan: dict[str, Any], date: str) -> str:
    """The table, and all that it depends on."""
    titan_row = {"tokens_per_second": titan["tokens_per_second"], "ms": titan["step_time"] * 1000, "mfu": titan["mfu"]}
    rows = [
        ("megatron.core alone", loop["floor"]),
        ("Megatron through Primus", loop["ours"]),
        ("torchtitan through Primus", titan_row),
    ]
    what = "tiny Llama, float32" if loop["size"] == "tiny" else "Llama of about 1 B parameters, bf16"
    wall = "megatron: times of one core's work; torchtitan: wall times. " if loop["size"] == "tiny" else ""
    wall += "torchtitan's Llama has an output layer of its own, megatron's uses the embedding. " if not wall else ""
    lines = [f"# {loop['device']}, {date}", "", f"{what}, one device. {wall}`python benchmarks/gpu.py`", ""]
    lines += ["| | tokens/s | ms per step | MFU |", "|---|---|---|---|"]
    for name, row in rows:
        mfu = "–" if row["mfu"] is None else f"{row['mfu']:.1%}"
        lines.append(f"| {name} | {row['tokens_per_second']:,.0f} | {row['ms']:.1f} | {mfu} |")
    lines += ["", f"Our Megatron loop against megatron.core alone: {loop['ratio']:.3f} of its tokens/s; "]
    lines[-1] += f"our own work in a step: {loop['own_ms']:.2f} ms."
    return "\n".join([*lines, "", f"{platform.platform()}; {versions()}", ""])


def versions() -> str:
    found = {name: version for name in PACKAGES if (version := _version(name))}
    return ", ".join(f"{name} {version}" for name, version in {"python": platform.python_version(), **found}.items())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
