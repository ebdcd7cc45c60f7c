"""One training that is decided on, from its plan to its end. `primus train` and primus.launch() make a Training of
their options, and run it here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from primus import __version__
from primus.backends import registry
from primus.backends.base import Backend, Resume
from primus.backends.prepare import warn
from primus.errors import MissingError
from primus.experiment import Experiment, dump
from primus.job import Job, Resources, Variable
from primus.launch.care import Care
from primus.launch.devices import Accelerators
from primus.launch.stage import Stage
from primus.run import RunDirectory

if TYPE_CHECKING:
    from primus.launch.attempts import Ended, Steps
    from primus.launch.container.prepare import Preparation
    from primus.launch.container.render import Container
    from primus.launch.link import Link


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What is trained, with what, and how the launcher looks after it."""

    backend: Backend
    experiment: Experiment
    """Checked, and with its secrets withheld."""

    resources: Resources
    accelerators: Accelerators
    resume: Resume = "auto"
    inside: Preparation | None = None
    """The container it runs in."""

    care: Care = field(default_factory=Care)
    ranks: tuple[int, ...] | None = None
    """Whose output is shown; None for the rank that knows the loss."""

    stage: Stage = field(default_factory=Stage)
    """What is done besides."""

    def beginning(self) -> str:
        """Where it will begin, in words; MissingError when the checkpoint that is insisted on is not there."""
        newest = self.backend.newest_checkpoint(self.experiment)
        if newest is None and self.resume == "require":
            raise MissingError(
                f"--resume: {self.experiment.folder} has no checkpoint to resume from. Another exp_name, work_group, "
                "user_name or workspace makes it another folder; without --resume training starts from zero."
            )
        if newest is None:
            return "no checkpoint there; starts from zero"
        return f"from {newest}" if self.resume != "never" else f"from zero; {newest.parent} is set aside"

    def resources_with_network(self, address: str | None) -> Resources:
        """With what this node's network looks like, when there are several nodes; doubts are printed."""
        if self.resources.nnodes == 1:
            return self.resources
        from primus.launch.network import find_network

        network = find_network(address=address, accelerators=self.accelerators)
        warn(network.warnings)
        return replace(self.resources, network=network)

    def job(self, run_dir: RunDirectory, resume: Resume | None = None) -> Job:
        """The backend's job, whose workers are also told the secrets that the experiment refers to."""
        resume = resume or self.resume
        job = self.backend.plan(self.experiment, self.resources, run_dir=run_dir.path, resume=resume)
        told = [
            Variable(name=name, value=value, reason="the experiment refers to it")
            for name, value in self.experiment.secrets.items()
        ]
        return self.stage.plan(replace(job, environment=(*job.environment, *told)))

    def container(self, job: Job) -> Container | None:
        """What its job runs in, when an image was named."""
        return self.inside.plan(job, self.experiment.plain(), self.backend.packages) if self.inside else None


def run_training(training: Training, *, argv: Sequence[str]) -> Ended:
    """Train to the end, with all attempts. `argv` is the user's command line, for the manifest."""
    from primus.launch.attempt import choose_run_id
    from primus.launch.attempts import run_attempts
    from primus.launch.sole import sole_run

    resources = training.resources
    os.environ.update(training.experiment.secrets)  # so that they are known as such wherever they turn up
    with ExitStack() as held:
        with refusal_told(resources):
            if training.inside is None:
                registry.require_packages(training.backend)
            else:
                training.inside.require()
            training = replace(training, resources=training.resources_with_network(_address(resources)))
            if resources.nnodes > 1:
                from primus.launch.network import check_choices

                check_choices(os.environ, training.accelerators)
            training.stage.require(dry_run=False)
            run_id = choose_run_id(os.environ)
            if resources.node_rank == 0:
                held.enter_context(sole_run(training.experiment.folder, run_id))
        ended = run_attempts(_steps(training, run_id), training.care, argv=argv, environ=os.environ)
        return replace(ended, exit_status=training.stage.finish(ended.exit_status))


def refusal_told(resources: Resources) -> AbstractContextManager[None]:
    """In here, the other nodes are told what keeps this one from beginning."""
    if resources.nnodes == 1:
        return nullcontext()
    from primus.launch import rendezvous

    return rendezvous.refusal_told(resources)


def _address(resources: Resources) -> str | None:
    """The numeric address of node 0, checked, where one was given."""
    if resources.master_addr is None and resources.master_port is None:
        return None
    from primus.launch.address import check_address

    return check_address(resources)


def _steps(training: Training, run_id: str) -> Steps:
    """How each launch in the run directory of node 0's run id is prepared."""
    from primus.launch.attempt import Agreed, has_begun, next_attempt, set_aside
    from primus.launch.attempts import Steps

    resources, folder = training.resources, training.experiment.folder

    def decide() -> Agreed:
        run_dir = RunDirectory.named(folder, run_id)
        attempt = next_attempt(run_dir)
        set_aside(run_dir, attempt)
        return Agreed(run_id=run_id, attempt=attempt)

    def meet() -> tuple[Agreed, Link | None]:
        if resources.nnodes == 1:
            return decide(), None
        from primus.launch.rendezvous import agree

        timeout = training.care.rendezvous_timeout
        return agree(resources, digest=_digest(training.experiment), decide=decide, timeout=timeout)

    def plan(agreed: Agreed) -> tuple[Job, Container | None]:
        run_dir = RunDirectory.named(folder, agreed.run_id)
        begun = training.resume == "never" and has_begun(run_dir)
        job = training.job(run_dir, "auto" if begun else training.resume)
        ranks = job.console_ranks if training.ranks is None else training.ranks
        job = replace(job, attempt=agreed.attempt, console_ranks=ranks)
        training.stage.begin(job)
        return job, training.container(job)

    newest = training.backend.newest_checkpoint
    return Steps(meet=meet, plan=plan, newest_checkpoint=lambda: newest(training.experiment))


def _digest(experiment: Experiment) -> str:
    """The same on two nodes when they would train the same."""
    import hashlib

    return hashlib.sha256(f"{__version__}\n{dump(experiment)}".encode()).hexdigest()
