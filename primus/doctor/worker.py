"""A worker of `primus doctor`, run by the launcher as a training's worker is: `python -m primus.doctor.worker RUN_DIR`.
It measures what plan.py lists and leaves its results in a file of its own."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from primus.backends.worker import Worker, run
from primus.doctor.plan import REQUEST, SIZES, STEP_SECONDS, Sizes, Step, steps
from primus.doctor.progress import Progress
from primus.errors import MissingError

if TYPE_CHECKING:
    from primus.doctor.measure import Bench


def examine(worker: Worker) -> None:
    """Measure everything, unless asked to stop before."""
    request = json.loads((worker.run_dir.path / REQUEST).read_text())
    limit = request.get("limit") or STEP_SECONDS[request["full"]]
    progress = Progress(worker.run_dir, node=worker.node_rank, rank=worker.rank, limit=limit)
    sizes = SIZES[request["accelerator"] != "cpu", request["full"]]
    with progress.step("import torch"):
        from primus.doctor import measure
    with progress.step("meet"):
        device = _device(worker, request["accelerator"], progress)
        _meet(worker, device, limit)
        bench = measure.Bench(
            device,
            sizes,
            rank=worker.rank,
            local_rank=worker.local_rank,
            per_node=worker.local_world_size,
        )
    nodes = worker.world_size // worker.local_world_size
    for step in steps(precisions=tuple(sizes.gemm), nnodes=nodes, per_node=worker.local_world_size):
        if worker.stop_signal is not None:
            break
        with progress.step(step.name):
            _measure(step, bench, sizes, progress)
    progress.finish()
    _leave()


def _device(worker: Worker, accelerator: str, progress: Progress) -> Any:
    """The torch device of this rank; what it is goes into the results."""
    import torch

    if accelerator == "cpu":
        progress.facts["device"] = {"kind": "cpu", "name": "CPU", "threads": torch.get_num_threads()}
        return torch.device("cpu")
    if torch.cuda.device_count() <= worker.local_rank:
        raise MissingError(
            f"torch {torch.__version__} sees {torch.cuda.device_count()} GPUs on this node, where the kernel's driver "
            "has more: install the torch build of this ROCm or CUDA, and see the visible-devices variables"
        )
    from primus.metrics.accelerators import device_of, find

    torch.cuda.set_device(worker.local_rank)
    described = device_of(torch.cuda.get_device_properties(worker.local_rank))
    known = find(described)
    progress.facts["device"] = {
        "kind": accelerator,
        "name": described.name,
        "accelerator": known.name if known else None,
        "memory_gib": round(described.memory_gib, 1),
    }
    return torch.device("cuda", worker.local_rank)


def _meet(worker: Worker, device: Any, limit: float) -> None:
    """Form the process group. Its own limit is later than ours, so that we say who is missing."""
    if worker.world_size == 1:
        return
    import torch.distributed as dist

    patience = timedelta(seconds=2 * limit + 10)
    if device.type == "cuda":
        dist.init_process_group("nccl", timeout=patience, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=patience)


def _measure(step: Step, bench: Bench, sizes: Sizes, progress: Progress) -> None:
    if step.what.startswith("gemm "):
        precision = step.what.removeprefix("gemm ")
        progress.value(step.name, *bench.gemm(precision), "TFLOP/s", precision=precision, edge=sizes.gemm[precision])
    elif step.what == "memory copy":
        progress.value(step.name, *bench.copy(), "TB/s", bytes=sizes.copy_bytes)
    elif step.scope is not None and step.what == "pairs":
        for peer, rate in bench.pairs(step.scope):
            progress.value(step.name, *rate, "GB/s", bytes=sizes.message_bytes, peer=peer)
    elif step.what == "ring":
        progress.value(step.name, *bench.ring(), "GB/s", bytes=sizes.message_bytes)
    elif step.scope is not None:
        progress.value(step.name, *bench.collective(step.what, step.scope), "GB/s", bytes=sizes.message_bytes)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    run(examine)
