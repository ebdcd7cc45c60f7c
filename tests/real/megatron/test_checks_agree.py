"""What the checks let through, megatron.core's own configuration classes accept: nothing fails in the workers first."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.errors import ExperimentError, Origin
from primus.experiment import Experiment, Value, resolve
from primus.experiment.schema import Key
from primus.job import Resources

pytestmark = pytest.mark.real

SCHEMA = BACKEND.schema()
NAMES = sorted(set(SCHEMA.keys) - {"config_logger_dir"})  # writes files
TINY: dict[str, Any] = {
    "num_layers": 4,
    "hidden_size": 64,
    "ffn_hidden_size": 128,
    "num_attention_heads": 4,
    "seq_length": 64,
    "micro_batch_size": 2,
    "global_batch_size": 8,
    "train_iters": 20,
    "lr": 1.0e-3,
    "mock_data": True,
    "tokenizer_type": "ByteTokenizer",
}
KINDS: list[dict[str, Any]] = [
    {},
    {"num_experts": 8, "moe_router_topk": 2, "add_bias_linear": False},
    {"multi_latent_attention": True},
    {"recompute_granularity": "selective"},
    {"recompute_granularity": "full", "recompute_method": "block", "recompute_num_layers": 1},
    {"pipeline_model_parallel_size": 2},
    {"pipeline_model_parallel_size": 2, "num_virtual_stages_per_pipeline_rank": 2},
    {"tensor_model_parallel_size": 2, "sequence_parallel": True},
]
ENOUGH = 150
"""Experiments that pass the checks, of some ten times as many that are tried."""

SAMPLES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int": [1, 2, 3, 4, 8],
    "float": [0.1, 0.5, 1.0, 2.5],
    "str": ["[0]*2+[1]*2", "Ett|ttL", "1"],
    "list[int]": [[1], [1, 2]],
    "list[float]": [[0.1]],
    "list[str]": [["a"]],
}


def some(key: Key, dice: random.Random) -> Any:
    """A value of the key's type, mostly of its domain."""
    if key.choices:
        lists = any(kind.startswith("list") for kind in key.types)
        return dice.choice([*key.choices, *([[choice] for choice in key.choices] if lists else ())])
    return dice.choice([value for kind in key.types for value in SAMPLES.get(kind, ())])


def experiment(values: dict[str, Any]) -> Experiment:
    origin = Origin(kind="file", name="exp.yaml", line=1)
    return Experiment(
        path=Path("exp.yaml"),
        framework="megatron",
        work_group="a",
        user_name="b",
        exp_name="c",
        workspace="d",
        header={},
        values={key: Value(data=data, origin=origin, path=key) for key, data in values.items()},
    )


def test_what_passes_the_checks_can_be_built() -> None:
    from primus.backends.megatron import arguments

    dice = random.Random(2026)
    refused: list[tuple[dict[str, Any], str]] = []
    accepted = 0
    while accepted < ENOUGH:
        random_values = {name: some(SCHEMA.keys[name], dice) for name in dice.sample(NAMES, dice.randint(1, 12))}
        values = {**TINY, **dice.choice(KINDS), **random_values}
        processes = dice.choice([1, 2, 4, 8])
        resolved, problems = resolve(experiment(values), SCHEMA)
        problems += BACKEND.check(resolved, Resources(nproc_per_node=processes))
        if any(problem.severity == "error" for problem in problems):
            continue
        accepted += 1
        try:
            arguments.build(resolved.plain(), world_size=processes, gpu=False)
        except ExperimentError as error:
            refused.append(({key: data for key, data in values.items() if TINY.get(key) != data}, str(error)))
    assert refused == []
