"""Prediction without a model: the work is the same however it is divided. tests/real/tuning asks the real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from primus.backends.base import Backend
from primus.backends.megatron import BACKEND as MEGATRON
from primus.backends.torchtitan import BACKEND as TORCHTITAN
from primus.experiment import load
from primus.experiment.paths import configs_dir
from primus.job import Resources
from primus.metrics.flops import FORWARD_AND_BACKWARD
from primus.tuning.gemm import Gemm
from primus.tuning.predict import predict_shapes
from primus.tuning.shapes import Shapes, Use

MODEL: dict[str, Any] = {
    "num_layers": 4,
    "hidden_size": 64,
    "ffn_hidden_size": 160,
    "num_attention_heads": 8,
    "seq_length": 32,
    "micro_batch_size": 2,
    "global_batch_size": 32,
    "train_iters": 1,
    "bf16": True,
    "swiglu": True,
    "vocab_size": 256,
    "make_vocab_size_divisible_by": 1,
    "untie_embeddings_and_output_weights": True,
    "transformer_impl": "transformer_engine",
}
TOKENS = 32 * 32
LAYER = 64 * 3 * 64 + 64 * 64 + 3 * 64 * 160
"""Weights of a layer that tokens are multiplied with."""

FORWARD = 2 * TOKENS * (4 * LAYER + 64 * 256)


def megatron(folder: Path, *, processes: int = 8, accelerator: str = "amd", **changes: Any) -> tuple[Shapes, list[str]]:
    path = folder / "experiment.yaml"
    module = {"framework": "megatron", "config": "pre_trainer.yaml", "overrides": MODEL | changes}
    path.write_text(yaml.safe_dump({"modules": {"pre_trainer": {**module, "model": "tiny.yaml"}}}))
    (folder / "tiny.yaml").write_text("{}\n")
    (folder / "pre_trainer.yaml").write_text("{}\n")
    resources = Resources(nproc_per_node=processes, accelerator=accelerator)
    return predict_shapes(MEGATRON, load(path), resources)


def work(shapes: Shapes) -> int:
    return sum(gemm.flops * use.calls for gemm, use in shapes.uses.items())


@given(st.sampled_from((1, 2, 4)), st.sampled_from((1, 2)), st.booleans())
def test_the_work_is_the_same_however_it_is_divided(tmp_path_factory, tensor, pipeline, sequence):
    layout = {"tensor_model_parallel_size": tensor, "pipeline_model_parallel_size": pipeline}
    folder = tmp_path_factory.mktemp("experiment")
    shapes, notes = megatron(folder, **layout, sequence_parallel=sequence and tensor > 1)
    assert work(shapes) == FORWARD_AND_BACKWARD * FORWARD
    assert not notes


def test_full_recomputation_multiplies_the_layers_once_more(tmp_path):
    again = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
    assert work(megatron(tmp_path, **again)[0]) == FORWARD_AND_BACKWARD * FORWARD + 2 * TOKENS * 4 * LAYER


def test_calls_and_processes_of_a_pipeline(tmp_path):
    shapes, _ = megatron(tmp_path, pipeline_model_parallel_size=2)
    # 4 data parallel replicas of 4 micro-batches each; every stage has two layers, the last one the logits.
    logits = Gemm.single(m=256, n=64, k=64, trans_a="T", a_type="bf16_r")
    projection = Gemm.single(m=192, n=64, k=64, trans_a="T", a_type="bf16_r")
    assert shapes.uses[logits] == Use(calls=4 * 4, ranks=4)
    assert shapes.uses[projection] == Use(calls=4 * 4 * 4, ranks=8)


def test_attention_is_multiplied_where_no_kernel_fuses_it(tmp_path):
    fused, _ = megatron(tmp_path)
    unfused, _ = megatron(tmp_path, transformer_impl="local")
    batched = {gemm.batch for gemm in unfused.uses} - {1}
    assert batched == {2 * 8}
    assert not {gemm.batch for gemm in fused.uses} - {1}


def test_gradients_of_weights_are_summed_up_in_float32_where_that_is_fused(tmp_path):
    shapes, _ = megatron(tmp_path, gradient_accumulation_fusion=True)
    summed = [gemm for gemm in shapes.uses if gemm.beta == 1.0]
    assert {(gemm.trans_a + gemm.trans_b, gemm.c_type, gemm.a_type) for gemm in summed} == {("NT", "f32_r", "bf16_r")}


def test_experts_are_shown_with_their_mean_number_of_tokens(tmp_path):
    experts = {"num_experts": 8, "moe_router_topk": 2, "moe_ffn_hidden_size": 48, "expert_model_parallel_size": 4}
    shapes, notes = megatron(tmp_path, **experts, moe_router_dtype="fp32")
    router = Gemm.single(m=8, n=64, k=64, trans_a="T", a_type="f32_r")
    # Four processes' 64 tokens visit two experts each, spread over eight.
    one = Gemm.single(m=96, n=64, k=64, trans_a="T", a_type="bf16_r")
    assert router in shapes.uses
    # 8 processes, 2 micro-batches, 4 layers, 2 experts on each.
    assert shapes.uses[one].calls == 8 * 2 * 4 * 2
    assert any("mean" in note for note in notes)


def test_fp8_is_not_claimed(tmp_path):
    assert any("fp8 is on and not predicted" in note for note in megatron(tmp_path, fp8="hybrid")[1])


def shipped() -> list[tuple[Backend, Path]]:
    folder = configs_dir() / "experiments"
    backends: list[Backend] = [MEGATRON, TORCHTITAN]
    return [(each, path) for each in backends for path in sorted((folder / each.name).iterdir())]


@pytest.mark.parametrize(
    ("backend", "path"), [pytest.param(*each, id=f"{each[0].name}-{each[1].stem}") for each in shipped()]
)
def test_every_shipped_experiment_has_its_shapes(backend, path):
    resources = Resources(nnodes=64, nproc_per_node=8, accelerator="amd")
    shapes, _ = predict_shapes(backend, load(path, framework=backend.name), resources)
    assert len(shapes.uses) >= 9
    assert all(use.calls >= use.ranks >= 1 for use in shapes.uses.values())
