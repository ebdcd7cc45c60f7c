"""Trains one step of tiny real GPTModels under torch's own FLOP counter, and prints its counts beside ours.

Run by test_flops.py in a process of its own: megatron.core's groups and the CPU adapter change the process.
"""

import json
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode

from primus.backends.megatron import cpu, local_layers

cpu.install()
local_layers.install()

from megatron.core import parallel_state, tensor_parallel  # noqa: E402

from primus.backends.megatron import BACKEND, arguments, model  # noqa: E402
from primus.backends.megatron.parameters import complete_values  # noqa: E402
from primus.backends.megatron.shape import shape_of  # noqa: E402
from primus.metrics.flops import training_flops  # noqa: E402

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
    "moe_ffn_hidden_size": 48,
    "moe_layer_freq": "([0]+[1])",
    "moe_token_dispatcher_type": "alltoall",
    "moe_router_load_balancing_type": "none",
    "moe_permute_fusion": False,
}
SHARED = {"moe_shared_expert_intermediate_size": 96}
PREDICTION = {"swiglu": True, "mtp_num_layers": 2}

MODELS = {
    "dense": DENSE,
    "tied": DENSE | {"untie_embeddings_and_output_weights": False},
    "grouped queries, gated": DENSE | GATED,
    "latent attention": DENSE | LATENT,
    "latent attention, plain queries": DENSE | LATENT | {"q_lora_rank": None},
    "experts": DENSE | EXPERTS,
    "shared experts": DENSE | EXPERTS | SHARED,
    "multi-token prediction": DENSE | PREDICTION,
    "everything": DENSE | LATENT | EXPERTS | SHARED | {"mtp_num_layers": 1},
}


def main() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    print(json.dumps({name: counts(values) for name, values in MODELS.items()}))


def counts(given: dict[str, Any]) -> dict[str, int]:
    built = arguments.build(given, world_size=1, gpu=False)
    gpt = model._chunk(built, VOCABULARY, None)
    tokens = torch.randint(VOCABULARY, (BATCH, SEQUENCE))
    positions = torch.arange(SEQUENCE).expand(BATCH, -1)
    mask = torch.ones(1, 1, SEQUENCE, SEQUENCE).triu(1).bool()
    with FlopCounterMode(display=False) as counter:
        loss = gpt(tokens, positions, mask, labels=tokens, loss_mask=torch.ones(BATCH, SEQUENCE))
        loss.mean().backward()
    shape = shape_of(complete_values(given, BACKEND.schema()))
    return {"counted": counter.get_total_flops(), "computed": training_flops(shape) * BATCH * SEQUENCE}


if __name__ == "__main__":
    sys.exit(main())
