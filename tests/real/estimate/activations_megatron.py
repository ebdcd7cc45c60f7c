"""Runs tiny real GPTModels forward and prints the bytes that autograd keeps beside ours. Run by test_activations.py."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "metrics")]
import count_megatron as tiny  # noqa: E402
import pair  # noqa: E402
from kept import Kept  # noqa: E402
from megatron.core import parallel_state, tensor_parallel  # noqa: E402
from megatron.core.transformer.module import Float16Module  # noqa: E402

from primus.backends.megatron import BACKEND, arguments, model  # noqa: E402
from primus.backends.megatron.memory import stage_memories  # noqa: E402
from primus.backends.megatron.parameters import complete_values  # noqa: E402

NORMS = {"qk_layernorm": True}
BF16 = {"bf16": True}
SELECTIVE = {"recompute_granularity": "selective"}
FULL = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
BLOCK = FULL | {"recompute_method": "block"}
AUXILIARY = {"moe_router_load_balancing_type": "aux_loss", "moe_aux_loss_coeff": 0.01, "moe_router_dtype": "fp32"}
GROUPS = {
    "moe_router_score_function": "sigmoid",
    "moe_router_enable_expert_bias": True,
    "moe_router_load_balancing_type": "seq_aux_loss",
    "moe_aux_loss_coeff": 0.01,
    "moe_router_num_groups": 2,
    "moe_router_group_topk": 1,
}

GPT2 = {"normalization": "LayerNorm", "add_bias_linear": True, "position_embedding_type": "learned_absolute"}
DROPOUT = {"hidden_dropout": 0.1, "attention_dropout": 0.1}

MODELS = {
    "dense": tiny.MODELS["dense"],
    "dense, LayerNorm and biases": tiny.MODELS["dense"] | GPT2,
    "dense, norms of queries and keys": tiny.MODELS["dense"] | NORMS,
    "GQA": tiny.MODELS["grouped queries, gated"],
    "GQA, norms of queries and keys": tiny.MODELS["grouped queries, gated"] | NORMS,
    "GQA, dropout": tiny.MODELS["grouped queries, gated"] | DROPOUT,
    "GQA, SwiGLU not fused": tiny.MODELS["grouped queries, gated"] | {"bias_swiglu_fusion": False},
    "MLA": tiny.MODELS["latent attention"] | NORMS,
    "MLA, plain queries": tiny.MODELS["latent attention, plain queries"],
    "MoE": tiny.MODELS["experts"],
    "MoE, shared experts, auxiliary loss": tiny.MODELS["shared experts"] | AUXILIARY,
    "MTP": tiny.MODELS["multi-token prediction"],
    "DeepSeek: MLA, MoE, MTP": tiny.MODELS["everything"] | NORMS | GROUPS,
}
MODES: dict[str, dict[str, Any]] = {
    "none": {},
    "selective": SELECTIVE,
    "full": FULL,
    "full, one layer of the block": BLOCK,
}


SEQUENCE = {"tensor_model_parallel_size": 2, "sequence_parallel": True}
DIVIDED = {
    "tensor 2": ({"tensor_model_parallel_size": 2}, ("dense", "GQA, dropout", "MLA")),
    "tensor 2, sequence": (
        SEQUENCE,
        (
            "dense",
            "dense, LayerNorm and biases",
            "dense, norms of queries and keys",
            "GQA, norms of queries and keys",
            "MLA",
            "MLA, plain queries",
            "MoE",
            "MoE, shared experts, auxiliary loss",
            "DeepSeek: MLA, MoE, MTP",
        ),
    ),
    "expert 2": (
        {"expert_model_parallel_size": 2, "moe_token_dispatcher_type": "alltoall"},
        ("MoE", "MoE, shared experts, auxiliary loss", "DeepSeek: MLA, MoE, MTP"),
    ),
}
"""Layout of two processes → its values, and models."""


def main() -> None:
    divided = [row for name in DIVIDED for row in pair.measure(partial(two_processes, name))]
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    form_groups({})
    rows = []
    for name in MODELS:
        rows += [row for mode in MODES for row in both_precisions(name, mode, {})]
    for module in ("layernorm", "mlp", "moe", "shared_experts", "mla_up_proj"):
        name = {"mla_up_proj": "MLA", "moe": "MoE", "shared_experts": "MoE, shared experts, auxiliary loss"}
        chosen = name.get(module, "GQA")
        row = compared(MODELS[chosen] | SELECTIVE | {"recompute_modules": [module]}, 1)
        rows.append({"model": chosen, "recompute": f"selective: {module}", "precision": "fp32", **row})
    print(json.dumps(rows + divided))


def two_processes(layout: str) -> list[dict[str, Any]]:
    values, models = DIVIDED[layout]
    form_groups(values)
    modes = [mode for mode in MODES if "block" not in mode]
    found = [row for name in models for mode in modes for row in both_precisions(name, mode, values, 2)]
    return [row | {"model": f"{row['model']}; {layout}"} for row in found]


def form_groups(values: dict[str, Any]) -> None:
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=values.get("tensor_model_parallel_size", 1),
        expert_model_parallel_size=values.get("expert_model_parallel_size", 1),
    )
    tensor_parallel.model_parallel_cuda_manual_seed(1)


def both_precisions(name: str, mode: str, values: dict[str, Any], processes: int = 1) -> list[dict[str, Any]]:
    given = MODELS[name] | MODES[mode] | values
    return [
        {"model": name, "recompute": mode, "precision": precision, **compared(given | width, processes)}
        for precision, width in (("fp32", {}), ("bf16", BF16))
    ]


def compared(given: dict[str, Any], processes: int) -> dict[str, int]:
    (ours,) = stage_memories(complete_values(given, BACKEND.schema()), processes, "local")
    return {"real": kept(given, processes), "ours": ours.activations}


def kept(given: dict[str, Any], processes: int) -> int:
    built = arguments.build(given, world_size=processes, gpu=False)
    gpt: Any = model._chunk(built, tiny.VOCABULARY, None)
    if given.get("bf16"):
        gpt = Float16Module(built.transformer, gpt)
    tokens = torch.randint(tiny.VOCABULARY, (tiny.BATCH, tiny.SEQUENCE), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(tiny.SEQUENCE).expand(tiny.BATCH, -1)
    mask = torch.ones(1, 1, tiny.SEQUENCE, tiny.SEQUENCE).triu(1).bool()
    with Kept(gpt) as found:
        loss = gpt(tokens, positions, mask, labels=tokens, loss_mask=torch.ones(tiny.BATCH, tiny.SEQUENCE))
    assert loss.isfinite().all()
    return found.bytes()


if __name__ == "__main__":
    main()
