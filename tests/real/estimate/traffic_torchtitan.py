"""Trains tiny models with torchtitan in several processes over gloo, and prints the bytes that a step moves in each
process group beside ours. Run by test_traffic.py with a folder to write in, and `few` or `all` of them to train."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from primus.backends.torchtitan import cpu

cpu.install()

sys.path[:0] = [str(Path(__file__).parents[1] / "torchtitan"), str(Path(__file__).parent)]
import ranks  # noqa: E402
import test_layouts as layouts  # noqa: E402
from conftest import TINY  # noqa: E402

from primus.backends.torchtitan import BACKEND, data, trainer, worker  # noqa: E402, F401
from primus.experiment import load, resolve  # noqa: E402
from primus.job import Resources  # noqa: E402
from primus.run import RunDirectory  # noqa: E402

SHORT = ("training.steps=2", "lr_scheduler.warmup_steps=0", "checkpoint.enable=false", "training.seq_len=64")

BFLOAT16 = ("training.mixed_precision_param=bfloat16",)
ACCUMULATED = ("training.global_batch_size=16", "training.local_batch_size=4")
CASES: dict[str, tuple[str, ...]] = {
    "llama3: FSDP 2": (),
    "llama3: FSDP 2, bf16": BFLOAT16,
    "llama3: FSDP 2, two batches a step": ACCUMULATED,
    "llama3: FSDP 2, weights stay gathered": ("parallelism.fsdp_reshard_after_forward=never",),
    "llama3: DDP 2": (),
    "llama3: HSDP 2 × 2": (),
    "llama3: tensor 2": (),
    "llama3: tensor 2, recomputed": ("activation_checkpoint.mode=full",),
    "llama3: tensor 2, every second layer recomputed": ("activation_checkpoint.mode=selective",),
    "llama3: tensor 2, recomputed by operation": (
        "activation_checkpoint.mode=selective",
        "activation_checkpoint.selective_ac_option=op",
    ),
    "llama3: pipeline 2": (),
    "llama3: pipeline 2, 2 stages each": (),
    "llama3: pipeline 2, 2 stages each, in a V": (),
    "llama3: FSDP 2 × tensor 2": (),
    "deepseek_v3: tensor 2": (),
    "deepseek_v3: FSDP 2, expert 2": (),
    "deepseek_v3: FSDP 2, expert 2, recomputed": ("activation_checkpoint.mode=full",),
    "deepseek_v3: FSDP 2 × tensor 2, expert 2 × expert tensor 2": (),
    "deepseek_v3: FSDP 2 × pipeline 2, expert 2": (),
    "llama4: FSDP 2, expert 2": (),
    "qwen3: FSDP 2": (),
}
"""A layout of tests/real/torchtitan/test_layouts.py, maybe with something more → settings of that."""

FEW = (
    "llama3: FSDP 2, two batches a step",
    "llama3: HSDP 2 × 2",
    "llama3: tensor 2, recomputed by operation",
    "llama3: pipeline 2, 2 stages each, in a V",
    "deepseek_v3: FSDP 2 × tensor 2, expert 2 × expert tensor 2",
    "deepseek_v3: tensor 2",
)
"""What is trained each time: each kind of group. The page shows all."""

GROUPS = {
    "mesh_tp": "tensor",
    "mesh_pp": "pipeline",
    "mesh_fsdp": "data",
    "mesh_dp_replicate": "data",
    "mesh_ep": "expert",
    "mesh_etp": "expert tensor",
}

ALONE = {
    "send": "pipeline",
    "all_to_all_single": "expert",
    "_allgather_base_": "data",
    "_reduce_scatter_base_": "data",
    "allreduce_": "data",
    "all_gather_into_tensor": "tensor",
    "reduce_scatter_tensor": "tensor",
    "all_reduce": "tensor",
}
"""Operation → group, where one kind of parallelism has all ranks."""


def main(folder: Path, extent: str) -> None:
    source, corpus = str(Path(json.__file__).parent), folder / "corpus"
    options = ["--glob", "*.py", "--output", str(corpus), "--tokenizer", "byte", "--format", "torchtitan"]
    subprocess.run([sys.executable, "-m", "primus", "data", "prepare", source, *options], check=True)
    rows = []
    for name, sets in CASES.items():
        rows += rows_of(name, sets, corpus, runs=extent == "all" or name in FEW)
    print(json.dumps(rows))


def rows_of(name: str, sets: tuple[str, ...], corpus: Path, *, runs: bool) -> list[dict[str, Any]]:
    case = layout(name)
    folder = corpus.with_name(name)
    folder.mkdir()
    file = folder / "tiny.toml"
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in layouts.MODELS[case.model].items())
    file.write_text(TINY.format(corpus=corpus, family=case.model, sizes=lines))
    given = [*SHORT, f"workspace={folder}", f"training.local_batch_size={layouts.BATCH // case.replicas}", *sets]
    given += [f"parallelism.{key}={json.dumps(value)}" for key, value in case.values.items()]
    experiment = resolve(load(file, sets=given, environ={}), BACKEND.schema())[0]
    rows = ranks.estimated(name, BACKEND.account(experiment, case.processes), case.processes)
    if not runs:
        return rows
    directory = RunDirectory(folder / "run")
    job = BACKEND.plan(experiment, Resources(nproc_per_node=case.processes), run_dir=directory.path, resume="never")
    directory.create(job.files)
    found = ranks.train(directory.path, case.processes, worker.train, trainer.Trainer, "train_step")
    return ranks.measured(rows, found, group_of)


def layout(name: str) -> Any:
    """The one of the longest name that this one begins with."""
    fitting = [each for each in layouts.CASES if name.startswith(f"{each.model}: {each.name}")]
    return max(fitting, key=lambda each: len(each.name))


def group_of(description: str, operation: str) -> str | None:
    return ALONE.get(operation) if description == "default_pg" else GROUPS.get(description)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
