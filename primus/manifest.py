"""What manifest.json says about a run: how it was started, with which code, packages, machine and environment, so that
it can be understood and repeated later. Launchers write it while the workers start; again.py reads it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from primus import __version__
from primus.job import Job
from primus.machine import machine_facts
from primus.redact import redact_argv, redact_environment
from primus.revision import Revision, revision_of
from primus.run import RunDirectory, explained, write_text

FORMAT = 1
"""Goes up when a reader of older manifests would misunderstand a new one."""

CHECKOUT_VARIABLES = ("MEGATRON_PATH", "TORCHTITAN_PATH")
"""Folders whose code is used instead of an installed package."""


def write_manifest(
    job: Job,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    started: str,
    accelerators: Mapping[str, Any],
    more: Mapping[str, Any],
) -> None:
    """Write what there is to know of one launch into the run directory: on every node its machine, on node 0 the rest.
    `command` is the user's, `environment` the workers', `more` is added as it is."""
    run_dir, node = RunDirectory(job.run_dir), job.resources.node_rank
    machine = machine_facts() | {"accelerators": dict(accelerators)}
    run_dir.write_json(run_dir.node_facts(node), machine)
    if node:
        return
    checkouts = find_checkouts(environment)
    for name, checkout in checkouts.items():
        if checkout.diff:
            path = run_dir.diff_path(name)
            with explained(f"can't write {path}"):
                write_text(path, checkout.readable_diff())
    facts = manifest(job, command=command, environment=environment, started=started, checkouts=checkouts)
    run_dir.write_json(run_dir.manifest, {**facts, "machine": machine, **more})


def manifest(
    job: Job,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    started: str,
    checkouts: Mapping[str, Revision],
) -> dict[str, Any]:
    """Everything about one launch of `job` but its machine and its results."""
    return {
        "format": FORMAT,
        "run": job.run_dir.name,
        "attempt": job.attempt,
        "started": started,
        "command": redact_argv(command),
        "working_directory": str(Path.cwd()),
        "name": job.name,
        "backend": job.backend,
        "worker": redact_argv(["python", "-m", job.module, *job.worker_args]),
        "resources": asdict(job.resources) | {"world_size": job.resources.world_size},
        "total_steps": job.total_steps,
        **software(),
        "git": {name: checkout.facts() for name, checkout in checkouts.items()},
        "environment": redact_environment(environment),
        **job.facts,
    }


def software() -> dict[str, Any]:
    """Versions of Primus, of Python and of every installed package, as they are outside of a container."""
    return {
        "primus": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Every installed distribution with its version; imports none."""
    found = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name and name not in found:  # the first on the path is the one that is imported
            found[name] = distribution.version
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def find_checkouts(environment: Mapping[str, str]) -> dict[str, Revision]:
    """The git checkouts that a run takes code from, each once: that of the working directory, of Primus, and those that
    variables name."""
    folders = {"working_directory": Path.cwd(), "primus": Path(__file__).parent}
    folders |= {name.lower(): Path(environment[name]) for name in CHECKOUT_VARIABLES if environment.get(name)}
    found: dict[str, Revision] = {}
    for name, folder in folders.items():
        revision = revision_of(folder)
        if revision is not None and all(revision.root != other.root for other in found.values()):
            found[name] = revision
    return found
