"""Builds models twice in this process, directly and from the meta device, and prints in what they differ. Arguments:
the rank, the number of processes, a folder that they share, and {name: keys of the model} as JSON. Run by
test_meta_device.py."""

from __future__ import annotations

import itertools
import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from primus.backends.megatron import cpu, local_layers

cpu.install()
local_layers.install()

from megatron.core import parallel_state, tensor_parallel  # noqa: E402
from megatron.core.num_microbatches_calculator import destroy_num_microbatches_calculator  # noqa: E402
from megatron.core.utils import unwrap_model  # noqa: E402

from primus.backends.megatron import arguments, topology  # noqa: E402
from primus.backends.megatron.meta import MetaModel  # noqa: E402
from primus.backends.megatron.state import Training, assemble  # noqa: E402

META = {"init_model_with_meta_device": True}
ON_META: list[bool] = []


def main(rank: int, processes: int, folder: str, models: dict[str, dict[str, Any]]) -> None:
    meet_in(folder)
    worker: Any = SimpleNamespace(rank=rank, local_rank=rank, world_size=processes)
    note_what_is_built()
    found = {}
    for name, values in models.items():
        direct = start(values, worker)
        drawn = start(values | META, worker)
        waiting = start(values | META, worker, draw=False)
        found[name] = {
            "differences": sorted(key for key in direct | drawn if not same(direct.get(key), drawn.get(key))),
            "weights": sum(key.startswith("weight ") for key in direct),
            "on meta": all(ON_META) and len(ON_META) > 0,
            "without drawing": sorted(key for key in direct | waiting if not same(direct.get(key), waiting.get(key))),
        }
        ON_META.clear()
    json.dump(found, sys.stdout)


def meet_in(folder: str) -> None:
    """Processes that meet again and again at one port may meet those of the last time."""
    join: Any = dist.init_process_group
    number = itertools.count()

    def meet(backend: str, *, rank: int, world_size: int, timeout: Any) -> None:
        store = dist.FileStore(f"{folder}/{next(number)}", world_size)
        join(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)

    dist.init_process_group = meet


def note_what_is_built() -> None:
    kind: Any = MetaModel
    plain = kind.__init__

    def noting(self: MetaModel, *rest: Any) -> None:
        plain(self, *rest)
        ON_META.extend(weight.is_meta for weight in self.module.parameters())

    kind.__init__ = noting


def start(values: dict[str, Any], worker: Any, *, draw: bool = True) -> dict[str, Any]:
    """Everything that a training starts with, by name."""
    values = {"use_cpu_initialization": True, **values}
    built = arguments.build(values, world_size=worker.world_size, gpu=False)
    training = assemble(built, values["vocab_size"] + 1, topology.start(built, worker), draw=draw)
    found = state(training)
    destroy_num_microbatches_calculator()
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
    return found


def state(training: Training) -> dict[str, Any]:
    found: dict[str, Any] = {"generator": torch.get_rng_state()}
    found |= {f"tracker {name}": each for name, each in tensor_parallel.get_cuda_rng_tracker().get_states().items()}
    for index, chunk in enumerate(unwrap_model(training.chunks)):
        for name, weight in chunk.named_parameters():
            found[f"weight {index} {name}"] = weight.detach().clone()
            found[f"marks {index} {name}"] = {key: str(type(value)) for key, value in weight.__dict__.items()} | {
                key: value for key, value in weight.__dict__.items() if isinstance(value, bool | int)
            }
        for name, module in chunk.named_modules():
            own = {key: value for key, value in vars(module).items() if torch.is_tensor(value)} | module._buffers
            found |= {f"tensor {index} {name}.{key}": value for key, value in own.items()}
    for index, group in enumerate(training.optimizer.param_groups):
        found[f"group {index}"] = {key: value for key, value in group.items() if key != "params"}
        found |= {f"main {index} {number}": each.detach().clone() for number, each in enumerate(group["params"])}
    return found


def same(one: Any, other: Any) -> bool:
    if torch.is_tensor(one) and torch.is_tensor(other):
        return bool(one.dtype == other.dtype and one.device == other.device and torch.equal(one, other))
    return bool(one == other)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
