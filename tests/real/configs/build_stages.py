"""Builds what one GPU of each pipeline stage of a shipped experiment holds, on the meta device, and prints its size.

Run by test_megatron_memory.py as `build_stages.py PROCESSES EXPERIMENT...`: all experiments for that many processes,
which exist only as torch's fake process group.
"""

import json
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from primus.backends.megatron import cpu, local_layers

with torch.device("meta"):
    torch.empty(1)
cpu.install()
local_layers.install()

from megatron.core import parallel_state, tensor_parallel  # noqa: E402

from primus.backends.megatron import arguments, model  # noqa: E402
from primus.backends.prepare import prepare  # noqa: E402

LOCAL = {
    "perform_initialization": False,
    "use_cpu_initialization": True,
    "transformer_impl": "local",
    "moe_grouped_gemm": False,
}


def main(processes: int, names: list[str]) -> None:
    json.dump({name: stages(name, processes) for name in names}, sys.stdout)


def stages(name: str, processes: int) -> list[int]:
    """Parameters on the first GPU of each pipeline stage."""
    values = prepare(f"megatron/{name}", environ={}).usable().plain()
    built = arguments.build({**values, **LOCAL}, world_size=processes, gpu=False)
    step = processes // built.layout.pipeline
    return [parameters(built, values["vocab_size"], stage * step) for stage in range(built.layout.pipeline)]


def parameters(built: Any, vocabulary: int, rank: int) -> int:
    layout = built.layout
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=layout.world_size)
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=layout.virtual,
        expert_model_parallel_size=layout.expert,
        expert_tensor_parallel_size=layout.expert_tensor,
        create_gloo_process_groups=False,
    )
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    padded = model.padded_vocabulary(vocabulary, built)
    with torch.device("meta"):
        chunk = model._chunk(built, padded, None)
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
    return sum(weight.numel() for weight in chunk.parameters())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(int(sys.argv[1]), sys.argv[2:])
