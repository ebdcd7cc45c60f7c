"""Trains a tiny model a few steps in this process, on the same batch again and again, and prints what it is made of and
what it keeps in memory. Each argument is the keys of one model, as JSON. Run by test_precision.py."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from primus.backends.megatron import cpu, local_layers

cpu.install()
local_layers.install()

from megatron.core import parallel_state  # noqa: E402
from megatron.core.num_microbatches_calculator import destroy_num_microbatches_calculator  # noqa: E402

from primus.backends.megatron import arguments, topology  # noqa: E402
from primus.backends.megatron.forward import forward_backward  # noqa: E402
from primus.backends.megatron.metrics import mean_loss  # noqa: E402
from primus.backends.megatron.optimizer import loss_scale, take_step  # noqa: E402
from primus.backends.megatron.state import Training, assemble  # noqa: E402

VOCABULARY = 256
WORKER: Any = SimpleNamespace(rank=0, local_rank=0, world_size=1)


def main(models: list[str]) -> None:
    os.environ["MASTER_PORT"] = "0"  # any that is free
    json.dump([facts(json.loads(each)) for each in models], sys.stdout)


def facts(values: dict[str, Any]) -> dict[str, Any]:
    steps = values.pop("steps")
    built = arguments.build({**values, "use_cpu_initialization": True}, world_size=1, gpu=False)
    training = assemble(built, VOCABULARY, topology.start(built, WORKER))
    done = [step(training) for _ in range(steps)]
    found = {**types(training), "steps": done, "kept": kept(training)}  # in this order: experts count their tokens
    destroy_num_microbatches_calculator()
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
    return found


def types(training: Training) -> dict[str, Any]:
    """Of the model's weights, their gradients, and the weights that the optimizer works on."""
    weights = list(training.chunks[0].parameters())
    groups = training.optimizer.param_groups
    return {
        "weights": sorted({str(weight.dtype) for weight in weights}),
        "gradients": sorted({str(weight.main_grad.dtype) for weight in weights}),
        "main": sorted({str(weight.dtype) for group in groups for weight in group["params"]}),
    }


def step(training: Training) -> dict[str, Any]:
    scale, before = loss_scale(training.optimizer), checksum(training)
    for chunk in training.chunks:
        chunk.zero_grad_buffer()
    training.optimizer.zero_grad()
    losses = forward_backward(training, [batches(training)])
    done = take_step(training.optimizer, refuse_nan=True)
    if done.updated:
        training.schedule.step(increment=training.arguments.global_batch_size)
    return {
        "loss": mean_loss(losses),
        "updated": done.updated,
        "moved": checksum(training) != before,
        "scale": scale,
        "grad_norm": done.grad_norm if done.updated else None,
    }


def checksum(training: Training) -> float:
    return sum(weight.double().abs().sum().item() for weight in training.chunks[0].parameters())


def kept(training: Training) -> int:
    """Bytes that the forward pass of one step keeps for the backward pass, without the weights."""
    weights = {weight.data_ptr() for weight in training.chunks[0].parameters()}
    tensors: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in weights:
            tensors[storage] = tensor
        return tensor

    batch = next(batches(training))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = training.chunks[0](batch["tokens"], batch["position_ids"], None, labels=batch["labels"])
    assert output.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())


def batches(training: Training) -> Any:
    """The same micro-batches for every step."""
    settings = training.arguments.settings
    generator = torch.Generator().manual_seed(3)
    shape = (settings.micro_batch_size, settings.seq_length + 1)
    while True:
        text = torch.randint(0, VOCABULARY, shape, generator=generator)
        yield {
            "tokens": text[:, :-1].contiguous(),
            "labels": text[:, 1:].contiguous(),
            "loss_mask": torch.ones(settings.micro_batch_size, settings.seq_length),
            "position_ids": torch.arange(settings.seq_length).expand(settings.micro_batch_size, -1),
        }


if __name__ == "__main__":
    main(sys.argv[1:])
