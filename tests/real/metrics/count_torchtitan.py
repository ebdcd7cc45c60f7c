"""Trains one step of tiny real torchtitan models under torch's own FLOP counter, and prints its counts beside ours; and
beside torchtitan's own formula, for every flavor. Run by test_flops.py: the CPU adapter changes the process."""

import json
import sys
from typing import Any

import torch
from torch.nn.attention import SDPBackend
from torch.utils.flop_counter import FlopCounterMode

from primus.backends.torchtitan import cpu

cpu.install()

from torchtitan.config import JobConfig  # noqa: E402
from torchtitan.models.attention import ScaledDotProductAttentionWrapper  # noqa: E402
from torchtitan.models.moe import MoEArgs  # noqa: E402
from torchtitan.protocols.train_spec import get_train_spec  # noqa: E402

from primus.backends.torchtitan.flavors import families  # noqa: E402
from primus.backends.torchtitan.shape import shape_of  # noqa: E402
from primus.metrics.flops import training_flops  # noqa: E402

# The counter sees nothing of the fused attention of CPUs.
ScaledDotProductAttentionWrapper.sdpa_backends = [SDPBackend.MATH]

SEQUENCE, BATCH, VOCABULARY = 48, 2, 256

COMMON = {"dim": 64, "n_layers": 3, "n_heads": 4, "vocab_size": VOCABULARY, "max_seq_len": SEQUENCE}
EXPERTS = {"num_experts": 8, "num_shared_experts": 2, "top_k": 3, "use_grouped_mm": False}
LLAMA = {"n_kv_heads": 2, "multiple_of": 16, "ffn_dim_multiplier": 1.3}
LATENT = {"kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 20}
QWEN = {"n_kv_heads": 2, "head_dim": 24, "hidden_dim": 160}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3": ("llama3", LLAMA),
    "llama4": ("llama4", LLAMA | {"moe_args": EXPERTS}),
    "deepseek_v3": (
        "deepseek_v3",
        LATENT | {"q_lora_rank": 40, "inter_dim": 160, "moe_inter_dim": 48, "moe_args": EXPERTS},
    ),
    "qwen3": ("qwen3", QWEN | {"enable_weight_tying": True}),
    "qwen3, experts": ("qwen3", QWEN | {"moe_enabled": True, "moe_inter_dim": 48, "moe_args": EXPERTS}),
}


def main() -> None:
    counted = {name: counts(*model) for name, model in MODELS.items()}
    formulas = {
        f"{family}/{flavor}": formula(family, flavor) for family, row in families().items() for flavor in row.flavors
    }
    print(json.dumps({"counted": counted, "formulas": formulas}))


def counts(family: str, changes: dict[str, Any]) -> dict[str, int]:
    spec = get_train_spec(family)
    given = COMMON | changes
    sizes = {**families()[family].defaults, **given}
    if "moe_args" in given:
        sizes |= {f"moe_args.{name}": value for name, value in given["moe_args"].items()}
        given = given | {"moe_args": MoEArgs(**given["moe_args"])}
    arguments = type(next(iter(spec.model_args.values())))(**given)
    arguments.update_from_config(config())
    torch.manual_seed(1)
    model = spec.model_cls(arguments)
    with torch.no_grad():
        model.init_weights(buffer_device=torch.device("cpu"))
    tokens = torch.randint(VOCABULARY, (BATCH, SEQUENCE))
    with FlopCounterMode(display=False) as counter:
        model(tokens).logsumexp(-1).sum().backward()
    shape = shape_of(family, sizes, sequence=SEQUENCE)
    return {"counted": counter.get_total_flops(), "computed": training_flops(shape) * BATCH * SEQUENCE}


def formula(family: str, flavor: str) -> dict[str, float]:
    spec = get_train_spec(family)
    arguments = spec.model_args[flavor]
    arguments.update_from_config(config())
    with torch.device("meta"):
        model = spec.model_cls(arguments)
    _, theirs = arguments.get_nparams_and_flops(model, 4096)
    shape = shape_of(family, families()[family].flavors[flavor], sequence=4096)
    return {"theirs": theirs, "computed": training_flops(shape)}


def config() -> JobConfig:
    made = JobConfig()
    made.training.seq_len = SEQUENCE
    return made


if __name__ == "__main__":
    sys.exit(main())
