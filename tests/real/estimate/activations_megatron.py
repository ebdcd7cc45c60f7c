"""Runs tiny real GPTModels forward and prints the bytes that autograd keeps beside ours. Run by test_activations.py."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "metrics")]
import count_megatron as tiny  # noqa: E402
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
MODES = {"none": {}, "selective": SELECTIVE, "full": FULL, "full, one layer of the block": BLOCK}


def main() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    rows = []
    for name, values in MODELS.items():
        for mode, changes in MODES.items():
            for precision, width in (("fp32", {}), ("bf16", BF16)):
                row = compared(values | changes | width)
                rows.append({"model": name, "recompute": mode, "precision": precision, **row})
    for module in ("layernorm", "mlp", "moe", "shared_experts", "mla_up_proj"):
        name = {"mla_up_proj": "MLA", "moe": "MoE", "shared_experts": "MoE, shared experts, auxiliary loss"}
        chosen = name.get(module, "GQA")
        row = compared(MODELS[chosen] | SELECTIVE | {"recompute_modules": [module]})
        rows.append({"model": chosen, "recompute": f"selective: {module}", "precision": "fp32", **row})
    print(json.dumps(rows))


def compared(given: dict[str, Any]) -> dict[str, int]:
    (ours,) = stage_memories(complete_values(given, BACKEND.schema()), 1, "local")
    return {"real": kept(given), "ours": ours.activations}


def kept(given: dict[str, Any]) -> int:
    built = arguments.build(given, world_size=1, gpu=False)
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
