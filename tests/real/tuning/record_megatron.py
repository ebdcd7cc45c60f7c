"""Trains one step of tiny real GPTModels and prints the multiplications that torch executed beside those predicted.

    python record_megatron.py RANK WORLD STORE

Run by test_predict.py, one process per rank: megatron.core's groups and the CPU adapter change the process.
"""

import json
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from recorder import Recorder, of_all, predicted

from primus.backends.megatron import cpu, local_layers

cpu.install()
local_layers.install()

from megatron.core import parallel_state, tensor_parallel  # noqa: E402

from primus.backends.megatron import BACKEND, arguments, model  # noqa: E402
from primus.backends.megatron.matmuls import tally  # noqa: E402
from primus.backends.megatron.parameters import complete_values  # noqa: E402

SEQUENCE, BATCH, VOCABULARY = 48, 2, 256

DENSE: dict[str, Any] = {
    "num_layers": 2,
    "hidden_size": 64,
    "ffn_hidden_size": 160,
    "num_attention_heads": 4,
    "seq_length": SEQUENCE,
    "max_position_embeddings": SEQUENCE,
    "micro_batch_size": BATCH,
    "train_iters": 1,
    "position_embedding_type": "rope",
    "normalization": "RMSNorm",
    "add_bias_linear": False,
    "vocab_size": VOCABULARY,
    "make_vocab_size_divisible_by": 1,
    "untie_embeddings_and_output_weights": True,
    "use_cpu_initialization": True,
    "masked_softmax_fusion": False,
    "bias_dropout_fusion": False,
    "gradient_accumulation_fusion": False,
    "no_persist_layer_norm": True,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
}
GATED = {"swiglu": True, "group_query_attention": True, "num_query_groups": 2, "kv_channels": 24}
LATENT = {
    "multi_latent_attention": True,
    "q_lora_rank": 40,
    "kv_lora_rank": 32,
    "qk_head_dim": 16,
    "qk_pos_emb_head_dim": 8,
    "v_head_dim": 20,
    "rope_type": "rope",
}
EXPERTS = {
    "swiglu": True,
    "num_experts": 8,
    "moe_router_topk": 2,
    "moe_ffn_hidden_size": 56,
    "moe_layer_freq": "([0]+[1])",
    "moe_token_dispatcher_type": "alltoall",
    "moe_router_load_balancing_type": "none",
    "moe_permute_fusion": False,
}
SHARED = {"moe_shared_expert_intermediate_size": 144}
FULL = {"recompute_granularity": "full", "recompute_method": "block", "recompute_num_layers": 1}

ALONE = {
    "dense": DENSE,
    "biases": DENSE | {"add_bias_linear": True},
    "tied": DENSE | {"untie_embeddings_and_output_weights": False},
    "grouped queries, gated": DENSE | GATED,
    "latent attention": DENSE | LATENT,
    "latent attention, plain queries": DENSE | LATENT | {"q_lora_rank": None},
    "experts": DENSE | EXPERTS,
    "shared experts": DENSE | EXPERTS | SHARED,
    "multi-token prediction": DENSE | {"swiglu": True, "mtp_num_layers": 2},
    "everything": DENSE | LATENT | EXPERTS | SHARED | {"mtp_num_layers": 1},
    "one layer recomputed": DENSE | GATED | FULL,
    "attention recomputed": DENSE | GATED | {"recompute_granularity": "selective", "recompute_modules": ["core_attn"]},
    "parts recomputed": DENSE | GATED | {"recompute_granularity": "selective", "recompute_modules": ["mlp"]},
}
TENSOR = {"tensor_model_parallel_size": 2}
SEQUENCE_PARALLEL = TENSOR | {"sequence_parallel": True}
DIVIDED = {
    "dense": DENSE | TENSOR,
    "grouped queries, gated": DENSE | GATED | TENSOR,
    "latent attention": DENSE | LATENT | TENSOR,
    "sequence parallel": DENSE | GATED | SEQUENCE_PARALLEL,
    "experts": DENSE | EXPERTS | SHARED | SEQUENCE_PARALLEL,
    "expert parallel": DENSE
    | EXPERTS
    | SEQUENCE_PARALLEL
    | {"expert_model_parallel_size": 2, "expert_tensor_parallel_size": 1},
    "multi-token prediction": DENSE | {"mtp_num_layers": 1} | SEQUENCE_PARALLEL,
}


def main() -> None:
    rank, world, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    found = {}
    for name, given in (ALONE if world == 1 else DIVIDED).items():
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=given.get("tensor_model_parallel_size", 1),
            expert_model_parallel_size=given.get("expert_model_parallel_size", 1),
            expert_tensor_parallel_size=given.get("expert_tensor_parallel_size"),
        )
        tensor_parallel.model_parallel_cuda_manual_seed(1)
        values = complete_values(given, BACKEND.schema())
        found[name] = {
            "executed": executed(given, world),
            **predicted(tally(values, world, gpu=False)),
        }
        parallel_state.destroy_model_parallel()
    if rank == 0:
        print(json.dumps(found))


def executed(given: dict[str, Any], world: int) -> dict[str, int]:
    """By all processes together."""
    built = arguments.build(given, world_size=world, gpu=False)
    gpt = model._chunk(built, VOCABULARY, None)
    torch.manual_seed(1)
    tokens = torch.randint(VOCABULARY, (BATCH, SEQUENCE))
    positions = torch.arange(SEQUENCE).expand(BATCH, -1)
    mask = torch.ones(1, 1, SEQUENCE, SEQUENCE).triu(1).bool()
    with Recorder() as recorder:
        loss = gpt(tokens, positions, mask, labels=tokens, loss_mask=torch.ones(BATCH, SEQUENCE))
        loss.mean().backward()
    return of_all(recorder.found, world)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart
