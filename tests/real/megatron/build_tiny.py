"""Builds the model of each preset twice: tiny, with weights, and with all its sizes but the numbers of layers and of
experts on the meta device; prints whether both are made of the same, and what the tiny one does with some tokens. Run
by test_models.py in a process of its own."""

import json
import re
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
from megatron.core.transformer.moe.router import TopKRouter  # noqa: E402
from tiny import presets, shrink  # noqa: E402

from primus.backends.megatron import arguments, model  # noqa: E402

HERE = {
    "train_iters": 1,
    "micro_batch_size": 2,
    "seq_length": 64,
    "transformer_impl": "local",
    "use_cpu_initialization": True,
    "moe_grouped_gemm": False,
}


NUMBERS = ("num_layers", "moe_layer_freq", "num_experts")


def main() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    seen: dict[str, Any] = {}
    found = {}
    for name, preset in presets().items():
        tiny = shrink(preset)
        key = json.dumps(tiny)
        if key not in seen:
            seen[key] = facts(tiny)
        wide = {**preset, **{key: tiny[key] for key in NUMBERS if key in tiny}}
        with torch.device("meta"):
            parts = structure(build({**wide, "perform_initialization": False}))
        found[name] = {**seen[key], "same": seen[key]["structure"] == parts}
    json.dump(found, sys.stdout)


def build(values: dict[str, Any]) -> Any:
    built = arguments.build({**values, **HERE}, world_size=1, gpu=False)
    return model._chunk(built, values["vocab_size"] + 1, None)


def facts(tiny: dict[str, Any]) -> dict[str, Any]:
    gpt = build(tiny)
    return {"structure": structure(gpt), "groups": groups_of_tokens(gpt, tiny)}


def structure(gpt: Any) -> list[str]:
    """Every module with its type and every weight with its dimensions; equal experts once."""
    modules = {f"{without_number(name)}: {type(module).__name__}" for name, module in gpt.named_modules()}
    weights = {f"{without_number(name)}: {weight.dim()}" for name, weight in gpt.named_parameters()}
    return sorted(modules | weights)


def without_number(name: str) -> str:
    return re.sub(r"local_experts\.\d+", "local_experts", name)


def groups_of_tokens(gpt: Any, tiny: dict[str, Any]) -> list[int]:
    """For each router the most groups of experts that one token was sent to."""
    found: list[int] = []
    groups = tiny.get("moe_router_num_groups", 1)

    def count(router: Any, inputs: Any, output: Any) -> None:
        chosen = output[1].view(-1, groups, tiny["num_experts"] // groups).any(dim=-1)
        found.append(int(chosen.sum(dim=-1).max()))

    for module in gpt.modules():
        if isinstance(module, TopKRouter):
            module.register_forward_hook(count)
    tokens = torch.randint(0, tiny["vocab_size"], (2, HERE["seq_length"]))
    positions = torch.arange(HERE["seq_length"]).expand(2, -1)
    with torch.no_grad():
        gpt(tokens, positions, None, labels=tokens)
    return found


if __name__ == "__main__":
    main()
