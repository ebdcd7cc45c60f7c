"""The torchtitan backend, seen from outside the training processes: its keys, checks and plan. Imports no torch.

The registry finds BACKEND through the entry point; worker.py is what runs inside each process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from primus.backends.base import ModelFacts, Resume
from primus.backends.torchtitan import checkpoint_folder, checks
from primus.backends.torchtitan.layout import layout_of
from primus.backends.torchtitan.settings import Settings
from primus.errors import Problem
from primus.experiment import Experiment, Schema, dump, read_schema
from primus.job import Job, Resources, Variable

if TYPE_CHECKING:
    from primus.backends.account import Account, Arrangement, Changes
    from primus.metrics.matmul import Tally


class TorchtitanBackend:
    """Training with torchtitan's Trainer."""

    name = "torchtitan"
    packages: tuple[str, ...] = ("torch", "torchtitan", "tokenizers")

    def variant(self, environ: Mapping[str, str]) -> TorchtitanBackend:
        """The one that runs the torchtitan checkout in $TORCHTITAN_PATH, when that is set."""
        path = environ.get("TORCHTITAN_PATH")
        if not path:
            return self
        from primus.backends.torchtitan.checkout import CheckoutBackend

        return CheckoutBackend(Path(path))

    @staticmethod
    @cache
    def schema() -> Schema:
        """The keys of the torchtitan release that schema.json was generated from."""
        return read_schema(Path(__file__).with_name("schema.json"))

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        """What is missing, contradicts itself, or can't run on these resources."""
        return checks.check(Settings(experiment, self.schema()), resources)

    def newest_checkpoint(self, experiment: Experiment) -> Path | None:
        """The checkpoint that was saved last and completely, and that training can go on from."""
        return checkpoint_folder.newest(checkpoint_folder.folder_of(experiment))

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        """One worker per process; the terminal shows the rank that has the loss."""
        from primus.backends.torchtitan.flavors import has_experts, sizes_of

        settings = Settings(experiment, self.schema())
        return Job(
            name=experiment.exp_name,
            backend=self.name,
            module="primus.backends.torchtitan.worker",
            args=("--resume", resume),
            total_steps=settings["training.steps"],
            environment=_ENVIRONMENT[resources.accelerator],
            experts=has_experts(sizes_of(settings) or {}),
            resources=resources,
            run_dir=run_dir,
            files={"experiment.yaml": dump(experiment)},
            console_ranks=(layout_of(settings, resources.world_size).reporting_rank,),
        )

    def facts(self, experiment: Experiment) -> ModelFacts:
        """Counted from the sizes of the flavor, as tests/real/configs finds it in the real model."""
        from primus.backends.torchtitan.flavors import sizes_of
        from primus.backends.torchtitan.parameters import count_parameters

        settings = Settings(experiment, self.schema())
        sizes = sizes_of(settings) or {}
        parameters = count_parameters(settings["model.name"], sizes)
        return ModelFacts(
            parameters=parameters.total,
            active=parameters.active,
            layers=sizes["n_layers"],
            context=sizes["max_seq_len"],
        )

    def memory(self, experiment: Experiment, world_size: int) -> int:
        """Of a rank that holds its even part of the model: memory.py."""
        from primus.backends.torchtitan.memory import estimate_memory

        return estimate_memory(Settings(experiment, self.schema()), world_size)

    def account(self, experiment: Experiment, world_size: int) -> Account:
        """Of the settings: account.py."""
        from primus.backends.torchtitan.account import account

        return account(Settings(experiment, self.schema()), world_size)

    def arrange(self, experiment: Experiment, arrangement: Arrangement) -> Changes:
        """Degrees, batch and recomputation as torchtitan names them."""
        from primus.backends.torchtitan.account import arrange

        return arrange(Settings(experiment, self.schema()), arrangement)

    def matmuls(self, experiment: Experiment, resources: Resources) -> Tally:
        """Of all processes together: matmuls.py."""
        from primus.backends.torchtitan.matmuls import tally

        return tally(Settings(experiment, self.schema()), resources.world_size)

    def short_run(self, steps: int) -> tuple[str, ...]:
        """Also without profiles: a profiler slows each launch down."""
        schedule = (f"training.steps={steps}", "lr_scheduler.warmup_steps=0")
        return (*schedule, "metrics.log_freq=1", *_NOTHING_BEHIND)


_NOTHING_BEHIND = (
    *("checkpoint.enable=false", "validation.enable=false", "profiling.enable_profiling=false"),
    *("metrics.enable_wandb=false", "metrics.enable_tensorboard=false"),
)

_NVIDIA = (
    Variable(
        name="PYTORCH_ALLOC_CONF",
        value="expandable_segments:True",
        reason="FSDP allocates blocks of many sizes; segments that can grow keep the memory from fragmenting",
    ),
)
_ENVIRONMENT: dict[str, tuple[Variable, ...]] = {"cpu": (), "amd": (), "nvidia": _NVIDIA}

BACKEND = TorchtitanBackend()
