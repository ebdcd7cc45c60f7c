"""Builds the real GPTModel of each preset named on the command line, on the meta device, and prints what it found.
A name may also be the keys of a model, as JSON.

Run by test_megatron_models.py in a process of its own: megatron.core's groups and the CPU adapter change the process.
"""

import json
import sys
from typing import Any

import torch
import torch.distributed as dist

from primus.backends.megatron import cpu, local_layers

# torch.device("meta") knows torch.empty and the like by what they are when it is first used; the adapter wraps them.
with torch.device("meta"):
    torch.empty(1)
cpu.install()
local_layers.install()

from megatron.core import parallel_state, tensor_parallel  # noqa: E402

from primus.backends.megatron import arguments, model  # noqa: E402
from primus.experiment.load import load_preset  # noqa: E402
from primus.experiment.paths import find_preset  # noqa: E402

SEQUENCE, BATCH = 16, 2
REQUIRED = {"train_iters": 1, "micro_batch_size": BATCH, "seq_length": SEQUENCE}
NO_WEIGHTS = {"perform_initialization": False, "use_cpu_initialization": True}
LOCAL = {"transformer_impl": "local", "moe_grouped_gemm": False}


def main(names: list[str]) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    found = {name: counts(build(json.loads(name))[0]) if name.startswith("{") else facts(name) for name in names}
    json.dump(found, sys.stdout)


def build(values: dict[str, Any]) -> tuple[Any, Any]:
    """The model, and what it was made from."""
    built = arguments.build({**values, **REQUIRED, **NO_WEIGHTS, **LOCAL}, world_size=1, gpu=False)
    with torch.device("meta"):
        # The vocabulary as it is on the card: without the rows that Megatron adds.
        return model._chunk(built, values["vocab_size"], None), built


def facts(name: str) -> dict[str, Any]:
    gpt, built = build(preset(name))
    return {
        **counts(gpt),
        **layer_kinds(gpt.decoder.layers),
        "shapes": {key: list(weight.shape) for key, weight in gpt.named_parameters() if ".layers." not in key},
        "transformer": plain_fields(built.transformer),
        "rotation": rotation(gpt),
        "attention": attention(gpt, built.transformer),
    }


def counts(gpt: Any) -> dict[str, Any]:
    weights = dict(gpt.named_parameters())
    return {
        "device": sorted({weight.device.type for weight in weights.values()}),
        "parameters": sum(weight.numel() for key, weight in weights.items() if not key.startswith("mtp.")),
        "prediction": sum(weight.numel() for key, weight in weights.items() if key.startswith("mtp.")),
        "expert_bias": [buffer.numel() for key, buffer in gpt.named_buffers() if key.endswith("expert_bias")],
    }


def preset(name: str) -> dict[str, Any]:
    return load_preset(find_preset("models", "megatron", name), "models", "megatron").plain()


def layer_kinds(layers: Any) -> dict[str, Any]:
    """The shapes of each kind of layer, and the kind of every layer by its number."""
    kinds: list[Any] = []
    numbers = []
    for layer in layers:
        shapes = layer_shapes(layer)
        if shapes not in kinds:
            kinds.append(shapes)
        numbers.append(kinds.index(shapes))
    return {"kinds": kinds, "layers": numbers}


def layer_shapes(layer: Any) -> dict[str, Any]:
    """The shape of every weight of a layer, that of equal experts once, with their number."""
    experts = getattr(getattr(layer.mlp, "experts", None), "local_experts", [])
    shapes = {key: list(weight.shape) for key, weight in layer.named_parameters() if ".local_experts." not in key}
    kinds = {tuple((key, tuple(weight.shape)) for key, weight in expert.named_parameters()) for expert in experts}
    return {"shapes": shapes, "experts": len(experts), "expert": [dict(kind) for kind in kinds]}


def plain_fields(config: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(config).items() if isinstance(value, int | float | str | list | None)}


def attention(gpt: Any, config: Any) -> dict[str, Any]:
    """What reaches the product of queries and keys in the first layer, and what comes out of the layer."""
    found: dict[str, Any] = {}

    def note(module: Any, inputs: Any, options: Any) -> None:
        found["inputs"] = [list(tensor.shape) for tensor in inputs[:3]]

    layer = gpt.decoder.layers[0].self_attention
    layer.core_attention.register_forward_pre_hook(note, with_kwargs=True)
    options = {}
    if config.multi_latent_attention:
        # Positions have values, on the CPU, and can't meet tensors of the meta device.
        angles = torch.empty(SEQUENCE, 1, 1, config.qk_pos_emb_head_dim, device="meta")
        layer.rotary_pos_emb.forward = lambda *rest, **options: (angles, 1.0)
    else:
        options = {"rotary_pos_emb": torch.empty(SEQUENCE, 1, 1, config.kv_channels, device="meta")}
    hidden = torch.empty(SEQUENCE, BATCH, config.hidden_size, device="meta")
    output, _ = layer(hidden, attention_mask=None, **options)
    return {**found, "output": list(output.shape), "scale": layer.core_attention.softmax_scale}


def rotation(gpt: Any) -> dict[str, Any]:
    """The angle that each pair of dimensions turns by from one token to the next, and the factor on sine and cosine."""
    if hasattr(gpt, "rotary_pos_emb"):
        return {"angles": gpt.rotary_pos_emb.inv_freq.tolist(), "factor": 1.0}
    rotary = gpt.decoder.layers[0].self_attention.rotary_pos_emb
    angles, factor = rotary.get_emb(2)
    return {"angles": angles[1, 0, 0, : rotary.dim // 2].tolist(), "factor": factor}


if __name__ == "__main__":
    main(sys.argv[1:])
