"""Builds each rank of every layout of tests/real/megatron/test_layouts.py with megatron.core, takes one step, and
prints the bytes of its weights, gradient buffers and optimizer state beside ours. Collectives are torch's fake ones,
which move nothing: sizes do not depend on them. Run by test_objects.py.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from primus.backends.megatron import cpu, local_layers

cpu.install()
local_layers.install()

from megatron.core import parallel_state, tensor_parallel  # noqa: E402

from primus.backends.megatron import BACKEND, arguments, memory, model, optimizer  # noqa: E402
from primus.backends.megatron.layout import layout_of  # noqa: E402
from primus.backends.megatron.parameters import complete_values  # noqa: E402
from primus.backends.megatron.weights import stage_chunks  # noqa: E402

FOLDER = Path(__file__).parents[1] / "megatron"
sys.path.insert(0, str(FOLDER))


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


tiny = module("conftest")
layouts = module("test_layouts")
new_group = dist.new_group


def fake_group(*arguments: Any, **options: Any) -> Any:
    return new_group(*arguments, **options | {"backend": "fake"})


def main() -> None:
    dist.new_group = torch.distributed.new_group = fake_group
    rows = [row for half in (False, True) for case in layouts.CASES for row in ranks(case, half=half)]
    print(json.dumps(rows))


def ranks(case: Any, *, half: bool) -> list[dict[str, Any]]:
    given = tiny.LLAMA | layouts.MODELS[case.model] | dict(case.values) | ({"bf16": True} if half else {})
    values = complete_values(given, BACKEND.schema())
    layout = layout_of(values, case.processes)
    chunks = stage_chunks(values, layout)
    kept = [memory.stage_elements(values, layout, stage, own, "local") for stage, own in enumerate(chunks)]
    shown = memory.stage_memories(values, case.processes, "local")
    rows = []
    for rank in range(case.processes):
        stage, replica, real = build(given, case.processes, rank)
        own = kept[stage]
        each = memory.optimizer_bytes(values)
        ours = {
            "weights": memory.weight_bytes(values) * own.buffered,
            "gradients": memory.gradient_bytes(values) * own.buffered,
            "optimizer": each * own.owned[replica % len(own.owned)],
        }
        most = {name: getattr(shown[stage], name) for name in ours}
        name = f"{case.model}: {case.name}{', bf16' if half else ''}"
        rows.append({"case": name, "rank": rank, "real": real, "ours": ours, "shown": most})
    return rows


def build(given: dict[str, Any], processes: int, rank: int) -> tuple[int, int, dict[str, int]]:
    """Pipeline stage, place among the replicas, and bytes by kind."""
    built = arguments.build({**given, "use_cpu_initialization": True}, world_size=processes, gpu=False)
    layout = built.layout
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=processes)
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=layout.virtual,
        expert_model_parallel_size=layout.expert,
        expert_tensor_parallel_size=layout.expert_tensor,
        num_distributed_optimizer_instances=given.get("num_distributed_optimizer_instances", 1),
        order="tp-cp-ep-pp-dp" if layout.pipeline_before_data else "tp-cp-ep-dp-pp",
    )
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    chunks = model.build_model(built, given["vocab_size"], torch.device("cpu"))
    stepped = optimizer.build_optimizer(built, chunks)
    parts = [part for part in stepped.chained_optimizers if not getattr(part, "is_stub_optimizer", False)]
    for part in parts:
        part.prepare_grads()
        part.step_with_ready_grads()
    weights = {storage(each): nbytes(each) for chunk in chunks for each in chunk.parameters()}
    buffers = [each for chunk in chunks for each in chunk.buffers + chunk.expert_parallel_buffers]
    real = {
        "weights": sum(weights.values()),
        "gradients": sum(nbytes(each.grad_data) for each in buffers),
        "optimizer": sum(state_bytes(part.optimizer, weights) for part in parts),
    }
    stage = parallel_state.get_pipeline_model_parallel_rank()
    replica = parallel_state.get_data_parallel_rank(with_context_parallel=True, partial_data_parallel=True)
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
    return stage, replica, real


def state_bytes(inner: Any, weights: dict[int, int]) -> int:
    """Moments, and copies of weights in float32; not the count of steps."""
    moments = sum(
        value.numel() * value.element_size()
        for state in inner.state.values()
        for name, value in state.items()
        if name != "step"
    )
    mains = [each for group in inner.param_groups for each in group["params"] if storage(each) not in weights]
    return moments + sum(each.numel() * each.element_size() for each in mains)


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def nbytes(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


if __name__ == "__main__":
    main()
