"""Builds each rank of every layout of tests/real/torchtitan/test_layouts.py with torchtitan's own functions, takes one
step, and prints the bytes of its weights, gradients and optimizer state beside ours. Collectives are torch's fake ones,
which move nothing: sizes do not depend on them. Run by test_objects.py with a folder to write in.
"""

import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from primus.backends.torchtitan import cpu

cpu.install()

from torchtitan.components.loss import build_cross_entropy_loss  # noqa: E402
from torchtitan.distributed import ParallelDims  # noqa: E402
from torchtitan.protocols.train_spec import get_train_spec  # noqa: E402

from primus.backends.torchtitan import BACKEND, model  # noqa: E402
from primus.backends.torchtitan.flavors import sizes_of  # noqa: E402
from primus.backends.torchtitan.job_config import Folders, job_config  # noqa: E402
from primus.backends.torchtitan.layout import layout_of  # noqa: E402
from primus.backends.torchtitan.memory import held_elements, stage_memories  # noqa: E402
from primus.backends.torchtitan.settings import Settings  # noqa: E402
from primus.backends.torchtitan.shape import shape_of  # noqa: E402
from primus.backends.torchtitan.weights import stages_of  # noqa: E402
from primus.experiment import load, resolve  # noqa: E402

PARTS = {"weights": 1, "gradients": 1, "optimizer": 2}
"""Numbers of each parameter."""


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "torchtitan" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


tiny = module("conftest")
layouts = module("test_layouts")


def main(folder: Path) -> None:
    logging.disable(logging.WARNING)
    print(json.dumps([row for case in layouts.CASES for row in ranks(case, folder)]))


def ranks(case: Any, folder: Path) -> list[dict[str, Any]]:
    experiment = read(case, folder)
    settings = Settings(experiment, BACKEND.schema())
    model.register(experiment.plain(), build_metrics=lambda *arguments: None)
    layout, sizes = layout_of(settings, case.processes), sizes_of(settings)
    shape = shape_of(case.model, sizes, sequence=64)
    stages = stages_of(settings, layout, len(shape.layers))
    shown = stage_memories(settings, case.processes, "local")
    rows = []
    for rank in range(case.processes):
        real = build(experiment, settings, case.processes, rank, folder)
        stage, within = divmod(rank, case.processes // layout.pipeline)
        shard = within // layout.tensor % (layout.shard * layout.context)
        held = 4 * held_elements(shape, case.model, sizes, layout, stages[stage], shard)
        ours = {part: number * held for part, number in PARTS.items()}
        most = {part: getattr(shown[stage], part) for part in PARTS}
        name = f"{case.model}: {case.name}"
        rows.append({"case": name, "rank": rank, "real": real, "ours": ours, "shown": most})
    return rows


def read(case: Any, folder: Path) -> Any:
    file = folder / "tiny.toml"
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in layouts.MODELS[case.model].items())
    file.write_text(tiny.TINY.format(corpus=folder, family=case.model, sizes=lines))
    sets = [*layouts.SHORT, f"training.local_batch_size={layouts.BATCH // case.replicas}"]
    sets += [f"parallelism.{key}={json.dumps(value)}" for key, value in case.values.items()]
    return resolve(load(file, sets=sets, environ={}), BACKEND.schema())[0]


def build(experiment: Any, settings: Settings, processes: int, rank: int, folder: Path) -> dict[str, int]:
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=processes)
    layout = layout_of(settings, processes)
    config = job_config(experiment, Folders(run=folder / "run", checkpoints=folder / "checkpoints", assets=folder))
    dims = ParallelDims(
        dp_replicate=layout.replicate,
        dp_shard=layout.shard,
        cp=layout.context,
        tp=layout.tensor,
        pp=layout.pipeline,
        ep=layout.expert,
        etp=layout.expert_tensor,
        world_size=processes,
    )
    dims.build_mesh()
    spec = get_train_spec(config.model.name)
    sizes = spec.model_args[config.model.flavor]
    sizes.update_from_config(config)
    with torch.device("meta"):
        whole = spec.model_cls(sizes)
    if dims.pp_enabled:
        loss = build_cross_entropy_loss(config)
        device = torch.device("cpu")
        _, parts, _, _ = spec.pipelining_fn(whole, dims, config, device, sizes, spec.parallelize_fn, loss)
    else:
        parts = [spec.parallelize_fn(whole, dims, config)]
    for part in parts:
        part.to_empty(device="cpu")
    optimizers = spec.build_optimizers_fn(parts, config.optimizer, dims)
    parameters = [each for part in parts for each in part.parameters()]
    for each in parameters:
        each.grad = torch.zeros_like(each)
    optimizers.step()
    states = [state for optimizer in optimizers.optimizers for state in optimizer.state.values()]
    dist.destroy_process_group()
    return {
        "weights": sum(map(nbytes, parameters)),
        "gradients": sum(nbytes(each.grad) for each in parameters),
        "optimizer": sum(nbytes(value) for state in states for name, value in state.items() if name != "step"),
    }


def nbytes(tensor: Any) -> int:
    own = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return own.numel() * own.element_size()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
