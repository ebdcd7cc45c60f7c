"""Builds the real torchtitan model of each flavor named on the command line (`FAMILY/FLAVOR`), on the meta device, and
prints what it found. Run by test_torchtitan_models.py in a process of its own: the CPU adapter changes the process."""

import json
import sys
from typing import Any

import torch

from primus.backends.torchtitan import cpu

cpu.install()

from torchtitan.config import JobConfig  # noqa: E402
from torchtitan.protocols.train_spec import get_train_spec  # noqa: E402


def main(names: list[str]) -> None:
    print(json.dumps({name: facts(*name.split("/")) for name in names}))


def facts(family: str, flavor: str) -> dict[str, Any]:
    spec = get_train_spec(family)
    arguments = spec.model_args[flavor]
    # As the Trainer does; some arguments come from nowhere else.
    arguments.update_from_config(JobConfig())
    with torch.device("meta"):
        model = spec.model_cls(arguments)
    return {
        "device": sorted({weight.device.type for weight in model.parameters()}),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "layers": [sum(weight.numel() for weight in layer.parameters()) for layer in model.layers.values()],
        "expert_bias": sum(buffer.numel() for key, buffer in model.named_buffers() if key.endswith("expert_bias")),
        "shapes": {key: list(weight.shape) for key, weight in model.named_parameters()},
    }


if __name__ == "__main__":
    main(sys.argv[1:])
