"""Contradictions in a Megatron experiment, found before anything runs. The backend calls check(); pure, without torch.

Much of it megatron.core or Megatron-LM's validate_args would find as well, one at a time, in the workers; some of it
(marked in the tables) they train on silently with something else than was asked for.
"""

from __future__ import annotations

from primus.backends.megatron.checks.architecture import RULES as ARCHITECTURE
from primus.backends.megatron.checks.data import RULES as DATA
from primus.backends.megatron.checks.data import missing_files, other_tokenizers
from primus.backends.megatron.checks.device import CPU_RULES
from primus.backends.megatron.checks.experts import RULES as EXPERTS
from primus.backends.megatron.checks.memory import RULES as MEMORY
from primus.backends.megatron.checks.pipeline import RULES as PIPELINE
from primus.backends.megatron.checks.processes import RULES as PROCESSES
from primus.backends.megatron.checks.required import KEYS, missing
from primus.backends.megatron.checks.rule import Facts, run
from primus.backends.megatron.checks.schedule import RULES as SCHEDULE
from primus.backends.megatron.checks.services import missing_services
from primus.backends.megatron.checks.unused import idle
from primus.errors import Problem
from primus.experiment import Experiment, Schema
from primus.experiment.domain import fit
from primus.job import Resources

RULES = (*ARCHITECTURE, *EXPERTS, *PIPELINE, *MEMORY, *SCHEDULE, *DATA)
"""What holds everywhere."""


def check(experiment: Experiment, schema: Schema, resources: Resources | None = None) -> list[Problem]:
    """All contradictions; with `resources` also those between the keys and the processes or the device."""
    facts = Facts(experiment, schema, resources)
    unusable = _unusable(experiment, schema)
    problems = [*missing(facts, unusable), *run(RULES, facts, unusable), *idle(facts, unusable)]
    if resources is not None:
        problems += [*run(PROCESSES, facts, unusable), *missing_files(facts, unusable)]
        problems += [*other_tokenizers(facts, unusable), *missing_services(facts, unusable)]
        if resources.accelerator == "cpu":
            problems += run(CPU_RULES, facts, unusable)
    return problems


def _unusable(experiment: Experiment, schema: Schema) -> frozenset[str]:
    """Keys whose own type or domain is violated, which the schema's check reports, or that nobody set though there is
    no default: they can't be compared with anything."""
    found = {key for key in KEYS if (value := experiment.find(key)) is None or value.data is None}
    for name, value in experiment.leaves():
        if name in schema.keys:
            try:
                fit(schema.keys[name], value.data, from_variables=bool(value.origin.variables))
            except ValueError:
                found.add(name)
    return frozenset(found)
