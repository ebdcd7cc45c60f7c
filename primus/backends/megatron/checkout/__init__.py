"""The megatron backend with a Megatron-LM checkout ($MEGATRON_PATH) in place of Primus' own loop: its keys, checks and
plan. Imports nothing of the checkout.

MegatronBackend.variant() makes one; worker.py is what runs inside each process.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from primus.backends.base import Resume
from primus.backends.megatron import MegatronBackend, checks
from primus.backends.megatron.checkout.arguments import Unspellable, argument_list, effective_values, spell
from primus.backends.megatron.checkout.folder import newest_of
from primus.backends.megatron.checkout.names import ARGUMENTS, SCRIPT, VARIABLE
from primus.backends.megatron.checkout.option import Options
from primus.backends.megatron.checkout.options import read_options
from primus.backends.megatron.checkout.schema import PRIMUS_KEYS, checkout_schema, options_of
from primus.backends.megatron.checkout.sources import Sources, Unreadable
from primus.backends.megatron.checks.rule import Facts
from primus.backends.megatron.checks.unused import SWITCHES
from primus.errors import MissingError, Origin, Problem
from primus.experiment import Experiment, Schema
from primus.job import Job, Resources, Variable


class CheckoutBackend(MegatronBackend):
    """Training with the pretrain_gpt.py of a Megatron-LM checkout."""

    def __init__(self, path: Path) -> None:
        """`path` is the checkout; MissingError when it is none."""
        self.path = path.absolute()
        if not (self.path / SCRIPT).is_file():
            raise MissingError(f"${VARIABLE}: {self.path} is no Megatron-LM checkout: there is no {SCRIPT}.")
        installed = _installed_core()
        self.packages = ("torch", "numpy", "psutil", *(("megatron.core",) if installed else ()))
        self._sources = Sources(self.path, [installed] if installed else [])

    @cached_property
    def options(self) -> Options:
        """Every option of the checkout's parser."""
        try:
            return read_options(self._sources)
        except MissingError as error:
            raise MissingError(f"${VARIABLE}: {self.path} is no Megatron-LM checkout: {error}.") from error

    @cached_property
    def version(self) -> str:
        """As in messages."""
        found = _version(Sources(self.path))
        return f"the Megatron-LM {found} in {self.path}" if found else f"the Megatron-LM in {self.path}"

    @cached_property
    def _schema(self) -> Schema:
        return checkout_schema(super().schema(), self.options, self.version)

    def schema(self) -> Schema:  # type: ignore[override]  # the other one belongs to the class
        """The keys that the checkout's parser knows, and those that Primus acts on itself."""
        return self._schema

    def check(self, experiment: Experiment, resources: Resources | None = None) -> list[Problem]:
        """The contradictions that Megatron-LM would find, values that its options can't say, and what is doubtful."""
        own = super().schema()
        known = replace(own, keys={**own.keys, **self._schema.keys})
        return [*checks.check(experiment, known, resources), *self._unspellable(experiment), *self._doubts()]

    def newest_checkpoint(self, experiment: Experiment) -> Path | None:
        """The one that Megatron-LM would load."""
        return newest_of(experiment.folder / "checkpoints")

    def plan(self, experiment: Experiment, resources: Resources, *, run_dir: Path, resume: Resume) -> Job:
        """One worker per process, each with the same arguments."""
        job = super().plan(experiment, resources, run_dir=run_dir, resume=resume)
        own = super().schema()
        idle = _idle(Facts(experiment, own))
        values = {name: value for name, value in experiment.plain().items() if name not in idle}
        words = argument_list(values, own, self.options, accelerator=resources.accelerator, leave_out=idle)
        text = in_lines(words)
        return replace(
            job,
            module="primus.backends.megatron.checkout.worker",
            environment=(*job.environment, *self._environment(resources.accelerator)),
            files={**job.files, ARGUMENTS: text},
            shown={f"Arguments of {self.path / SCRIPT}": text},
        )

    def _environment(self, accelerator: str) -> list[Variable]:
        """What the workers need besides: on GPUs, the backend asks for all but the path anyway."""
        reason = f"its {SCRIPT} trains, not Primus' own loop"
        found = [Variable(name=VARIABLE, value=str(self.path), reason=reason)]
        if accelerator == "cpu":
            reason = "Megatron-LM asserts it for tensor parallelism, without a GPU too"
            found.append(Variable(name="CUDA_DEVICE_MAX_CONNECTIONS", value="1", reason=reason))
        return found

    def _unspellable(self, experiment: Experiment) -> list[Problem]:
        """A problem for every value that no option can say; the schema's check has said what is no key at all."""
        values = effective_values(experiment.plain(), "cpu")
        problems = []
        for name, value in experiment.leaves():
            if name not in self._schema.keys or name in PRIMUS_KEYS or value.data is None:
                continue
            try:
                spell(name, values[name], options_of(name, self.options))
            except Unspellable as error:
                problems.append(Problem(where=value.origin, key=value.path, message=f"{error}."))
        return problems

    def _doubts(self) -> list[Problem]:
        """What the user should know of this checkout."""
        where = Origin(kind="environment", name=VARIABLE)
        found = []
        core, theirs = _installed_version(), _version(Sources(self.path))
        if core and theirs and core.split(".")[:2] != theirs.split(".")[:2]:
            found.append(
                f"the checkout is of version {theirs}, the installed megatron-core {core} is used with it: install "
                "the same version, or none to use the checkout's own"
            )
        if self.options.unread:
            listed = "\n  ".join(self.options.unread)
            found.append(f"these options of the checkout can't be read, and count as unknown keys:\n  {listed}")
        return [Problem(where=where, message=message, severity="warning") for message in found]


def _idle(facts: Facts) -> frozenset[str]:
    """Keys without effect, since the switch that they belong to is off; Megatron-LM asserts on some of them."""
    return frozenset(key for switch in SWITCHES if switch.off(facts) for key in switch.keys)


def in_lines(words: list[str]) -> str:
    """Words of a command line, quoted for a shell, each option on a line of its own."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append([])
        lines[-1].append(word)
    return "".join(f"{shlex.join(line)}\n" for line in lines)


def _installed_core() -> Path | None:
    """The folder with the installed megatron/core."""
    try:
        return Path(str(distribution("megatron-core").locate_file("")))
    except PackageNotFoundError:
        return None


def _installed_version() -> str | None:
    try:
        return distribution("megatron-core").version
    except PackageNotFoundError:
        return None


def _version(sources: Sources) -> str | None:
    """The version of the core in a checkout, from its package_info.py."""
    module = sources.module("megatron.core.package_info")
    parts = [module.own(name) for name in ("MAJOR", "MINOR", "PATCH")] if module else []
    try:
        numbers = [sources.value(part.module, part.node) for part in parts if part]
    except Unreadable:
        return None
    return ".".join(map(str, numbers)) or None
