"""Runs tiny real torchtitan models forward and prints the bytes that autograd keeps beside ours. Run by
test_activations.py."""

import importlib
import json
import logging
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "metrics")]
import count_torchtitan as tiny  # noqa: E402
import pair  # noqa: E402
import torchtitan.distributed.activation_checkpoint as recompute  # noqa: E402
from kept import Kept  # noqa: E402
from torch.distributed.tensor.parallel import loss_parallel  # noqa: E402
from torchtitan.components.loss import cross_entropy_loss  # noqa: E402
from torchtitan.distributed import ParallelDims  # noqa: E402
from torchtitan.models.attention import ScaledDotProductAttentionWrapper  # noqa: E402
from torchtitan.models.moe import MoEArgs  # noqa: E402
from torchtitan.protocols.train_spec import get_train_spec  # noqa: E402

from primus.backends.torchtitan import activations  # noqa: E402
from primus.backends.torchtitan.exchanges import KEEP_EXCHANGED  # noqa: E402
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


PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16"}
DIVIDED = {
    "tensor 2": ("llama3", "llama4", "deepseek_v3"),
    "FSDP 2, expert 2": ("llama4", "deepseek_v3", "qwen3, experts"),
}
"""Layout of two processes → models."""


def main() -> None:
    divided = [row for name in DIVIDED for row in pair.measure(partial(two_processes, name))]
    print(json.dumps([row for name in tiny.MODELS for row in compared(name)] + divided))


def two_processes(layout: str) -> list[dict[str, Any]]:
    logging.disable(logging.WARNING)
    degrees = {"dp_shard": 1, "tp": 2, "ep": 1} if layout == "tensor 2" else {"dp_shard": 2, "tp": 1, "ep": 2}
    dims = ParallelDims(dp_replicate=1, cp=1, pp=1, etp=1, world_size=2, **degrees)
    dims.build_mesh()
    found = [row for name in DIVIDED[layout] for row in compared(name, dims)]
    return [row | {"model": f"{row['model']}; {layout}"} for row in found]


def compared(name: str, dims: ParallelDims | None = None) -> list[dict[str, Any]]:
    family, changes = tiny.MODELS[name]
    return [
        {
            "model": NAMES[name],
            "recompute": mode if mode != "selective" else f"selective: {option}",
            "precision": precision,
            "real": kept(family, changes, mode, option, dtype, dims),
            "ours": ours(family, changes, mode, option, dtype.itemsize, dims),
        }
        for mode, option in MODES
        for dtype, precision in PRECISIONS.items()
    ]


def kept(
    family: str, changes: dict[str, Any], mode: str, option: str, dtype: torch.dtype, dims: ParallelDims | None
) -> int:
    config = tiny.config()
    config.activation_checkpoint.mode = mode
    config.activation_checkpoint.selective_ac_option = option
    recompute._layer_sac_count = 0
    config.training.mixed_precision_param = str(dtype).removeprefix("torch.")
    config.parallelism.fsdp_reshard_after_forward = "always"  # what stays gathered is no activation
    torch.manual_seed(1)
    model = built(family, changes, config, dims)
    if dims is None or dims.tp_enabled:
        model = model.to(dtype)
    tokens = torch.randint(tiny.VOCABULARY, (tiny.BATCH, tiny.SEQUENCE))
    divided = loss_parallel() if dims is not None and dims.tp_enabled else nullcontext()
    with Kept(model) as found, divided:
        loss = cross_entropy_loss(model(tokens), tokens)
    assert loss.isfinite()
    return found.bytes()


def built(family: str, changes: dict[str, Any], config: Any, dims: ParallelDims | None) -> Any:
    """The model, divided among processes as torchtitan does it."""
    spec = get_train_spec(family)
    given = tiny.COMMON | changes
    if "moe_args" in given:
        given = given | {"moe_args": MoEArgs(**given["moe_args"])}
    sizes = type(next(iter(spec.model_args.values())))(**given)
    sizes.update_from_config(config)
    model = spec.model_cls(sizes)
    if dims is not None:
        model = spec.parallelize_fn(model, dims, config)
    elif config.activation_checkpoint.mode != "none":
        infra = importlib.import_module(f"torchtitan.models.{family}.infra.parallelize")
        recompute.apply_ac(model, config.activation_checkpoint, op_sac_save_list=infra._op_sac_save_list)
    with torch.no_grad():
        model.init_weights(buffer_device=torch.device("cpu"))
    return model


def ours(family: str, changes: dict[str, Any], mode: str, option: str, width: int, dims: ParallelDims | None) -> int:
    given = tiny.COMMON | changes
    sizes = {**families()[family].defaults, **given}
    sizes |= {f"moe_args.{name}": value for name, value in given.get("moe_args", {}).items()}
    shape = shape_of(family, sizes, sequence=tiny.SEQUENCE)
    copied = dims is not None and dims.fsdp_enabled and width == 2
    micro = activations.Micro(
        shape=shape,
        sizes=sizes,
        tokens=tiny.SEQUENCE * tiny.BATCH,
        tensor=dims.tp if dims is not None else 1,
        width=width,
        implementation="local",
        visits=shape.experts.active if shape.experts else 0,
        mode=mode,
        every=int(option) if option.isdigit() else 0,
        repeat_router=True,
        expert_tensor=dims.tp if dims is not None else 1,
        exchanged=dims is not None and dims.ep_enabled and family in KEEP_EXCHANGED,
        angles=activations.angle_bytes(family, shape) if copied else 0,
    )
    layers = sum(activations.kept_bytes(micro, index) for index in range(len(shape.layers)))
    return round(layers + activations.first_bytes(micro) + activations.output_bytes(micro))


if __name__ == "__main__":
    main()
