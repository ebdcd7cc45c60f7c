"""The Megatron backend, seen from outside the training processes: its keys, its checks and its plan. Imports no torch.

The registry finds BACKEND through the entry point; worker.py is what runs inside each process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from primus.backends.base import ModelFacts, Resume
from primus.backends.megatron.layout import layout_of
from primus.errors import Problem
from primus.experiment import Experiment, Schema, dump, read_schema
from primus.job import Job, Resources, Variable

if TYPE_CHECKING:
    from primus.backends.account import Account, Arrangement, Changes
    from primus.metrics.matmul import Tally


class MegatronBackend:
    """Training with megatron.core."""

    name = "megatron"
    packages: tuple[str, ...] = ("torch", "numpy", "psutil", "megatron.core")

    def variant(self, environ: Mapping[str, str]) -> MegatronBackend:
        """The one that runs the Megatron-LM checkout in $MEGATRON_PATH, when that is set."""
        path = environ.get("MEGATRON_PATH")
        if not path:
            return self
        from primus.backends.megatron.checkout import CheckoutBackend

        return CheckoutBackend(Path(path))

    @staticmethod
    @cache
    def schema() -> Schema:
        """The keys of the megatron.core release that schema.json was generated from."""
        return read_schema(Path(__file__).with_name("schema.json"))

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        """What is missing, contradicts itself, or can't run on these resources."""
        from primus.backends.megatron import checks  # not in the workers

        return checks.check(experiment, self.schema(), resources)

    def newest_checkpoint(self, experiment: Experiment) -> Path | None:
        """The checkpoint that was saved last and completely, of this experiment."""
        from primus.backends.megatron import checkpoint_folder  # slow to import, seldom needed

        return checkpoint_folder.of(experiment).newest()

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        """One worker per process; the terminal shows the rank that has the loss."""
        values = experiment.plain()
        return Job(
            name=experiment.exp_name,
            backend=self.name,
            module="primus.backends.megatron.worker",
            args=("--resume", resume),
            total_steps=values.get("train_iters"),
            environment=_ENVIRONMENT[resources.accelerator],
            experts=bool(values.get("num_experts")),
            resources=resources,
            run_dir=run_dir,
            files={"experiment.yaml": dump(experiment)},
            console_ranks=(layout_of(values, resources.world_size).reporting_rank,),
        )

    def facts(self, experiment: Experiment) -> ModelFacts:
        """Counted from the keys, as tests/real/configs finds it in the real model."""
        from primus.backends.megatron.parameters import complete_values, count_parameters

        values = complete_values(experiment.plain(), self.schema())
        parameters = count_parameters(values)
        return ModelFacts(
            parameters=parameters.total,
            active=parameters.active,
            layers=len(parameters.layers),
            context=int(values["max_position_embeddings"]),
        )

    def memory(self, experiment: Experiment, world_size: int) -> int:
        """Of the pipeline stage that needs the most: memory.py."""
        from primus.backends.megatron.memory import estimate_memory
        from primus.backends.megatron.parameters import complete_values

        return estimate_memory(complete_values(experiment.plain(), self.schema()), world_size).total

    def account(self, experiment: Experiment, world_size: int) -> Account:
        """Of the keys: account.py."""
        from primus.backends.megatron.account import account
        from primus.backends.megatron.parameters import complete_values

        return account(complete_values(experiment.plain(), self.schema()), world_size)

    def arrange(self, experiment: Experiment, arrangement: Arrangement) -> Changes:
        """Degrees, batch and recomputation as Megatron names them."""
        from primus.backends.megatron.account import arrange

        return arrange(experiment.plain(), arrangement)

    def matmuls(self, experiment: Experiment, resources: Resources) -> Tally:
        """Of all processes together: matmuls.py."""
        from primus.backends.megatron.matmuls import tally
        from primus.backends.megatron.parameters import complete_values

        values = complete_values(experiment.plain(), self.schema())
        return tally(values, resources.world_size, gpu=resources.accelerator != "cpu")

    def short_run(self, steps: int) -> tuple[str, ...]:
        """The learning rate's schedule must fit into the steps."""
        schedule = (f"lr_decay_iters={steps}", "lr_warmup_iters=0", "lr_wsd_decay_iters=null", "exit_interval=null")
        return (f"train_iters={steps}", "log_interval=1", *schedule, *_NOTHING_BEHIND)


_NOTHING_BEHIND = (
    *("save_interval=null", "disable_last_saving=true", "load=null", "eval_interval=null"),
    *("disable_wandb=true", "disable_mlflow=true", "disable_tensorboard=true"),
)

_GPU = (
    Variable(
        name="CUDA_DEVICE_MAX_CONNECTIONS",
        value="1",
        reason="Megatron overlaps tensor-parallel communication with computation in the order that it queues them",
    ),
)
_CPU = (
    Variable(
        name="TORCHDYNAMO_DISABLE",
        value="1",
        reason="compiling Megatron's small fused functions on a CPU takes longer than they save",
    ),
)
_ENVIRONMENT = {"cpu": _CPU, "amd": _GPU, "nvidia": _GPU}

BACKEND = MegatronBackend()
