"""Runs tiny real torchtitan models forward and prints the bytes that autograd keeps beside ours. Run by
test_activations.py."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "metrics")]
import count_torchtitan as tiny  # noqa: E402
import torchtitan.distributed.activation_checkpoint as recompute  # noqa: E402
from kept import Kept  # noqa: E402
from torchtitan.components.loss import cross_entropy_loss  # noqa: E402
from torchtitan.models.attention import ScaledDotProductAttentionWrapper  # noqa: E402
from torchtitan.models.moe import MoEArgs  # noqa: E402
from torchtitan.protocols.train_spec import get_train_spec  # noqa: E402

from primus.backends.torchtitan import activations  # noqa: E402
from primus.backends.torchtitan.flavors import families  # noqa: E402
from primus.backends.torchtitan.shape import shape_of  # noqa: E402

ScaledDotProductAttentionWrapper.sdpa_backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]

NAMES = {
    "llama3": "llama3 (GQA)",
    "llama4": "llama4 (GQA, MoE)",
    "deepseek_v3": "deepseek_v3 (MLA, MoE)",
    "qwen3": "qwen3 (GQA, norms of queries and keys)",
    "qwen3, experts": "qwen3 (GQA, MoE)",
}
MODES = (("none", "op"), ("selective", "op"), ("selective", "2"), ("full", "op"))


def main() -> None:
    rows = []
    for name, (family, changes) in tiny.MODELS.items():
        for mode, option in MODES:
            for dtype in (torch.float32, torch.bfloat16):
                rows.append(
                    {
                        "model": NAMES[name],
                        "recompute": mode if mode != "selective" else f"selective: {option}",
                        "precision": {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype],
                        "real": kept(family, changes, mode, option, dtype),
                        "ours": ours(family, changes, mode, option, dtype.itemsize),
                    }
                )
    print(json.dumps(rows))


def kept(family: str, changes: dict[str, Any], mode: str, option: str, dtype: torch.dtype) -> int:
    spec = get_train_spec(family)
    given = tiny.COMMON | changes
    if "moe_args" in given:
        given = given | {"moe_args": MoEArgs(**given["moe_args"])}
    sizes = type(next(iter(spec.model_args.values())))(**given)
    config = tiny.config()
    sizes.update_from_config(config)
    torch.manual_seed(1)
    model = spec.model_cls(sizes)
    with torch.no_grad():
        model.init_weights(buffer_device=torch.device("cpu"))
    model = model.to(dtype)
    if mode != "none":
        recompute._layer_sac_count = 0
        config.activation_checkpoint.mode = mode
        config.activation_checkpoint.selective_ac_option = option
        infra = importlib.import_module(f"torchtitan.models.{family}.infra.parallelize")
        recompute.apply_ac(model, config.activation_checkpoint, op_sac_save_list=infra._op_sac_save_list)
    tokens = torch.randint(tiny.VOCABULARY, (tiny.BATCH, tiny.SEQUENCE))
    with Kept(model) as found:
        loss = cross_entropy_loss(model(tokens), tokens)
    assert loss.isfinite()
    return found.bytes()


def ours(family: str, changes: dict[str, Any], mode: str, option: str, width: int) -> int:
    given = tiny.COMMON | changes
    sizes = {**families()[family].defaults, **given}
    sizes |= {f"moe_args.{name}": value for name, value in given.get("moe_args", {}).items()}
    shape = shape_of(family, sizes, sequence=tiny.SEQUENCE)
    micro = activations.Micro(
        shape=shape,
        sizes=sizes,
        tokens=tiny.SEQUENCE * tiny.BATCH,
        tensor=1,
        width=width,
        implementation="local",
        visits=shape.experts.active if shape.experts else 0,
        mode=mode,
        every=int(option) if option.isdigit() else 0,
        repeat_router=True,
        expert_tensor=1,
        exchanged=False,
    )
    layers = sum(activations.kept_bytes(micro, index) for index in range(len(shape.layers)))
    return round(layers + activations.first_bytes(micro) + activations.output_bytes(micro))


if __name__ == "__main__":
    main()
