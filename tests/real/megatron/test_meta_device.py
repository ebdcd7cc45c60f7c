"""A model that starts on the meta device gets the buffers and, bit by bit, the weights of one that does not; what a
checkpoint brings is not drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import EXPERTS, LATENT, LLAMA, MegatronRun, Start
from rank_scripts import run_ranks
from tiny import presets, shrink

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parent / "meta_start.py"

SHARDED = {"use_distributed_optimizer": True}
HALF = SHARDED | {"bf16": True, "masked_softmax_fusion": False}
ON_DEVICE = {"use_cpu_initialization": False}
TIED = {"untie_embeddings_and_output_weights": False}
DEEP = EXPERTS | LATENT | {"mtp_num_layers": 1, "moe_router_enable_expert_bias": True}
DEEP |= {"moe_router_score_function": "sigmoid", "moe_shared_expert_intermediate_size": 64}
TENSOR = {"tensor_model_parallel_size": 2}
PIPELINE = {"pipeline_model_parallel_size": 2}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama3.2_1B": HALF,
    "llama3.1_8B": ON_DEVICE,
    "qwen2.5_7B": HALF | ON_DEVICE,
    "qwen3_0.6B": {},
    "mixtral_8x7B": {"bf16": True, "masked_softmax_fusion": False},
    "deepseek_v2_lite": HALF | ON_DEVICE,
    "deepseek_v3": SHARDED,
}

ALONE = {
    name: shrink(presets()[name])
    | {key: LLAMA[key] for key in ("seq_length", "micro_batch_size", "train_iters", "lr", "tokenizer_type")}
    | {"moe_grouped_gemm": False, "transformer_impl": "local"}
    | values
    for name, values in FAMILIES.items()
}

IN_PAIRS: dict[str, dict[str, Any]] = {
    "data 2, sharded": SHARDED,
    "data 2, bf16, not sharded": HALF | {"use_distributed_optimizer": False},
    "tensor 2": TENSOR,
    "tensor 2, drawn on the device": TENSOR | ON_DEVICE | {"sequence_parallel": True},
    "tensor 2, experts": TENSOR | ON_DEVICE | EXPERTS | {"sequence_parallel": True},
    "pipeline 2, shared embedding": PIPELINE | TIED | ON_DEVICE,
    "pipeline 2, virtual 2": PIPELINE | TIED | SHARDED | {"num_virtual_stages_per_pipeline_rank": 2},
    "pipeline 2, prediction": PIPELINE | DEEP | HALF,
    "expert 2": EXPERTS | {"expert_model_parallel_size": 2},
    "expert 2, prediction, drawn on the device": DEEP | ON_DEVICE | HALF | {"expert_model_parallel_size": 2},
}


def build(models: dict[str, dict[str, Any]], folder: Path, *, processes: int) -> list[dict[str, Any]]:
    """What meta_start.py finds, on each process."""
    return [json.loads(line) for line in run_ranks(SCRIPT, processes, str(folder), json.dumps(models))]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """For each model what was found, by process."""
    alone = build(ALONE, tmp_path_factory.mktemp("alone"), processes=1)
    pairs = build(cases_in_pairs(), tmp_path_factory.mktemp("pairs"), processes=2)
    return {name: [each[name] for each in ranks] for ranks in (alone, pairs) for name in ranks[0]}


def cases_in_pairs() -> dict[str, dict[str, Any]]:
    full = {name: LLAMA | values for name, values in IN_PAIRS.items()}
    return {name: {key: value for key, value in values.items() if value is not None} for name, values in full.items()}


cases = pytest.mark.parametrize("name", [*ALONE, *IN_PAIRS])


@cases
def test_the_training_starts_as_without_the_meta_device(name: str, found: dict[str, list[dict[str, Any]]]) -> None:
    for rank in found[name]:
        assert rank["on meta"]
        assert rank["weights"] > 5
        assert rank["differences"] == []


@cases
def test_only_weights_and_generators_differ_when_nothing_is_drawn(
    name: str, found: dict[str, list[dict[str, Any]]]
) -> None:
    for rank in found[name]:
        assert rank["without drawing"]
        assert {key.split()[0] for key in rank["without drawing"]} <= {"weight", "main", "generator", "tracker"}


def test_weights_come_from_the_checkpoint(train: Start, straight: MegatronRun) -> None:
    run = train("meta-resumed", after=straight, at=10, disable_last_saving=True, init_model_with_meta_device=True)
    assert run.metric("loss") == {step: straight.metric("loss")[step] for step in range(11, 21)}


def test_a_run_from_zero_trains_as_without_the_meta_device(train: Start, straight: MegatronRun) -> None:
    run = train("meta-straight", exit_interval=3, disable_last_saving=True, init_model_with_meta_device=True)
    assert run.metric("loss") == {step: straight.metric("loss")[step] for step in range(1, 4)}
