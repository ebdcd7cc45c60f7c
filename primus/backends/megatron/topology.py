"""Process groups, seeds and small agreements among the processes of one Megatron run; the loop calls start() first."""

from __future__ import annotations

import os
import random
from datetime import timedelta

import numpy
import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel
from megatron.core.num_microbatches_calculator import init_num_microbatches_calculator

from primus.backends.megatron.arguments import Arguments
from primus.backends.worker import Worker


def start(arguments: Arguments, worker: Worker) -> torch.device:
    """Join all processes, form megatron's groups, seed every generator; the device of this process."""
    settings, layout, config = arguments.settings, arguments.layout, arguments.transformer
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", worker.local_rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        rank=worker.rank,
        world_size=worker.world_size,
        timeout=timedelta(minutes=settings.distributed_timeout_minutes),
    )
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=config.virtual_pipeline_model_parallel_size,
        context_parallel_size=layout.context,
        hierarchical_context_parallel_sizes=config.hierarchical_context_parallel_sizes,
        expert_model_parallel_size=layout.expert,
        expert_tensor_parallel_size=layout.expert_tensor,
        num_distributed_optimizer_instances=arguments.ddp.num_distributed_optimizer_instances,
        distributed_timeout_minutes=settings.distributed_timeout_minutes,
        order="tp-cp-ep-pp-dp" if layout.pipeline_before_data else "tp-cp-ep-dp-pp",
    )
    _seed(settings.seed + 100 * parallel_state.get_pipeline_model_parallel_rank(), arguments)
    init_num_microbatches_calculator(
        worker.rank, None, arguments.global_batch_size, settings.micro_batch_size, layout.data
    )
    return device


def _seed(seed: int, arguments: Arguments) -> None:
    """Pipeline stages draw different weights; tensor, expert and data parallelism are megatron's business."""
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed, te_rng_tracker=arguments.transformer.use_te_rng_tracker)


def highest(value: int, device: torch.device) -> int:
    """The largest `value` of all processes: how they agree on a signal or a limit that only some have seen."""
    if dist.get_world_size() == 1:
        return value
    tensor = torch.tensor([value], dtype=torch.int64, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor.item())


def broadcast_text(text: str | None) -> str | None:
    """What rank 0 says, on every rank."""
    if dist.get_world_size() == 1:
        return text
    box = [text]
    dist.broadcast_object_list(box, src=0)
    return box[0]
