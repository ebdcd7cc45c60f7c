"""Trains tiny models with megatron.core in several processes over gloo, and prints the bytes that a step moves in each
process group beside ours. Run by test_traffic.py with a folder to write in, and `few` or `all` of them to train."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "megatron"), str(Path(__file__).parent)]
import ranks  # noqa: E402
import test_layouts as layouts  # noqa: E402
from conftest import LLAMA  # noqa: E402

from primus.backends.megatron import BACKEND, local_layers, loop, worker  # noqa: E402, F401
from primus.experiment import load, resolve  # noqa: E402
from primus.run import RunDirectory  # noqa: E402

SHORT = {"train_iters": 2, "lr_warmup_iters": 0, "disable_last_saving": True, "transformer_impl": "local"}
FULL = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
MLP = {"recompute_granularity": "selective", "recompute_modules": ["mlp"]}

FEW = (
    "Llama: pipeline 4",
    "Llama: data 2, optimizer sharded",
    "Llama: tensor 2, sequence, recomputed",
    "Qwen: tensor 2, sequence × pipeline 2, virtual 2",
    "Mixtral: expert 2, tokens gathered",
    "DeepSeek: tensor 2, sequence; expert 2 × expert tensor 2",
)
"""What is trained each time: each kind of group. The page shows all."""

CHOSEN = (
    "Llama: data 2",
    "Llama: data 2, optimizer sharded",
    "Llama: data 4, optimizer sharded twice",
    "Llama: tensor 2",
    "Qwen: tensor 2, sequence",
    "Llama: tensor 4, sequence",
    "Llama: pipeline 4",
    "GPT-2: pipeline 2, virtual 2",
    "Llama: tensor 2, sequence × data 2, weights gathered early",
    "Qwen: tensor 2, sequence × pipeline 2, virtual 2",
    "DeepSeek: data 2",
    "Mixtral: expert 2",
    "Mixtral: expert 2, tokens gathered",
    "Mixtral: expert 2 × data 2, weights gathered early",
    "DeepSeek: tensor 2, sequence, experts as the rest",
    "DeepSeek: tensor 2, sequence; expert 2 × expert tensor 2",
    "DeepSeek: pipeline 2 × expert 2",
)
"""Layouts of tests/real/megatron/test_layouts.py."""

OTHERS = (
    layouts.case("tensor 2, recomputed", "Llama", 2, layouts.TENSOR, FULL),
    layouts.case("tensor 2, sequence, recomputed", "Llama", 2, layouts.SEQUENCE, FULL),
    layouts.case("tensor 2, sequence, feed-forward recomputed", "Llama", 2, layouts.SEQUENCE, MLP),
    layouts.case("tensor 2, sequence, bf16", "Llama", 2, layouts.SEQUENCE, {"bf16": True}),
    layouts.case("data 2, optimizer sharded, bf16", "Llama", 2, layouts.SHARDED, {"bf16": True}),
    layouts.case("expert 2, recomputed", "Mixtral", 2, layouts.EXPERT, FULL),
    layouts.case("tensor 2, sequence, experts as the rest, recomputed", "DeepSeek", 2, layouts.SEQUENCE, FULL),
)
"""What those don't have."""

GROUPS = {
    "TENSOR_MODEL_PARALLEL_GROUP": "tensor",
    "PIPELINE_MODEL_PARALLEL_GROUP": "pipeline",
    "EMBEDDING_GROUP": "embedding",
    "EXPERT_MODEL_PARALLEL_GROUP": "expert",
    "EXPERT_TENSOR_PARALLEL_GROUP": "expert tensor",
    "EXPERT_TENSOR_AND_MODEL_PARALLEL_GROUP": "expert",
    "EXPERT_DATA_PARALLEL_GROUP": "data",
    "DATA_PARALLEL_GROUP_WITH_CP": "data",
    "INTRA_PARTIAL_DATA_PARALLEL_GROUP_WITH_CP": "data",
    "HIERARCHICAL_EXPERT_DATA_PARALLEL_GROUP_L1": "data",
}


def main(folder: Path, extent: str) -> None:
    cases = [case for case in layouts.CASES if name_of(case) in CHOSEN]
    assert len(cases) == len(CHOSEN)
    rows = []
    for case in (*cases, *OTHERS):
        rows += rows_of(case, folder / name_of(case), runs=extent == "all" or name_of(case) in FEW)
    print(json.dumps(rows))


def name_of(case: Any) -> str:
    return f"{case.model}: {case.name}"


def rows_of(case: Any, folder: Path, *, runs: bool) -> list[dict[str, Any]]:
    folder.mkdir()
    values = LLAMA | layouts.MODELS[case.model] | SHORT | dict(case.values)
    overrides = {key: value for key, value in values.items() if value is not None}
    header = {"work_group": "group", "user_name": "user", "exp_name": "moved", "workspace": str(folder)}
    file = RunDirectory(folder).experiment
    file.write_text(
        json.dumps(header | {"modules": {"pre_trainer": {"framework": "megatron", "overrides": overrides}}})
    )
    account = BACKEND.account(resolve(load(file), BACKEND.schema())[0], case.processes)
    rows = ranks.estimated(name_of(case), account, case.processes)
    if not runs:
        return rows
    return ranks.measured(rows, ranks.train(folder, case.processes, worker.train, loop.Loop, "_train_step"), group_of)


def group_of(description: str, operation: str) -> str | None:
    """Of two stages, one direction goes over the group of all processes."""
    return "pipeline" if operation == "send" else GROUPS.get(description)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
