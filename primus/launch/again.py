"""An earlier run, to be started again: what its directory says of it, and what is different now. For `primus train
--from-run`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.errors import MissingError
from primus.launch.devices import Accelerators
from primus.machine import machine_facts
from primus.manifest import FORMAT, find_checkouts, software
from primus.run import RunDirectory

_MOST_PACKAGES = 12
"""Packages of another version that are named; those that training uses come first."""

_TRAINING_PACKAGES = (
    *(
        "torch",
        "megatron-core",
        "torchtitan",
        "transformer-engine",
        "flash-attn",
        "aiter",
        "triton",
        "pytorch-triton-rocm",
    ),
    *("primus-turbo", "apex", "numpy", "transformers", "tokenizers", "datasets", "torchao"),
)
_WATCHED = ("NCCL_", "RCCL_", "GLOO_", "HSA_", "HIP_", "HIPBLASLT_", "TORCH_", "NVTE_", "TE_", "CUDA_", "OMP_")
"""Variables that change how training runs begin so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """A run that is to be repeated."""

    path: Path
    experiment: Path
    manifest: Mapping[str, Any]

    @property
    def nnodes(self) -> int:
        return int(self.manifest["resources"]["nnodes"])

    @property
    def nproc_per_node(self) -> int:
        return int(self.manifest["resources"]["nproc_per_node"])

    @property
    def container(self) -> Mapping[str, Any]:
        """What it ran in; empty when it ran on the machine itself."""
        return self.manifest.get("container") or {}


def read_run(path: Path) -> Earlier:
    """The run in a directory; MissingError for one that holds none, or not all of it."""
    run_dir = RunDirectory(path.absolute())
    if not run_dir.path.is_dir():
        raise MissingError(f"--from-run {path}: there is no such directory")
    if not run_dir.manifest.exists() or not run_dir.experiment.exists():
        raise MissingError(f"--from-run {path}: {_what_is_missing(run_dir)}")
    try:
        manifest = json.loads(run_dir.manifest.read_text(encoding="utf-8"))
        found = manifest.get("format") if isinstance(manifest, dict) else None
    except ValueError as error:
        raise MissingError(f"--from-run {path}: {run_dir.manifest.name} can't be read: {error}") from error
    if found != FORMAT:
        other = "no format, so that it is of an older Primus" if found is None else f"format {found}"
        raise MissingError(f"--from-run {path}: its manifest has {other}; this Primus reads format {FORMAT}")
    absent = [key for key in ("resources", "backend", "working_directory", "packages", "git") if key not in manifest]
    if absent:
        raise MissingError(f"--from-run {path}: its manifest lacks {', '.join(absent)}")
    return Earlier(path=run_dir.path, experiment=run_dir.experiment, manifest=manifest)


def differences(earlier: Earlier, accelerators: Accelerators, environ: Mapping[str, str]) -> list[str]:
    """What is not as it was then, each in one line."""
    return [line for find in _DIFFERENCES for line in find(earlier.manifest, accelerators, environ)]


def _what_is_missing(run_dir: RunDirectory) -> str:
    runs = sorted((run_dir.path / "runs").glob("*/manifest.json"))
    if runs:
        return f"this is the folder of an experiment, not of one of its runs; the last one is {runs[-1].parent}"
    if run_dir.status.exists() or run_dir.experiment.exists():
        gone = [each.name for each in (run_dir.experiment, run_dir.manifest) if not each.exists()]
        return f"this run is not complete: it has no {' and no '.join(gone)}, which are written while the workers start"
    return "this is not the directory of a run: it has neither experiment.yaml nor manifest.json"


def _place(then: Mapping[str, Any], accelerators: Accelerators, environ: Mapping[str, str]) -> Iterator[str]:
    now = str(Path.cwd())
    if then["working_directory"] != now:
        yield f"working directory: {then['working_directory']} then, {now} now; relative paths are taken from here"


def _versions(then: Mapping[str, Any], accelerators: Accelerators, environ: Mapping[str, str]) -> Iterator[str]:
    now = software()
    yield from _changed("Primus", then.get("primus"), now["primus"])
    if then.get("container"):  # the packages are those of the image
        return
    yield from _changed("Python", then.get("python", {}).get("version"), now["python"]["version"])
    before, after = then["packages"], now["packages"]
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} - {"primus"}
    order = {name: place for place, name in enumerate(_TRAINING_PACKAGES)}
    ordered = sorted(names, key=lambda name: (order.get(name.lower().replace("_", "-"), len(order)), name.lower()))
    for name in ordered[:_MOST_PACKAGES]:
        yield from _changed(name, before.get(name), after.get(name))
    if len(ordered) > _MOST_PACKAGES:
        yield f"and {len(ordered) - _MOST_PACKAGES} more packages"


def _code(then: Mapping[str, Any], accelerators: Accelerators, environ: Mapping[str, str]) -> Iterator[str]:
    before, after = then["git"], {name: found.facts() for name, found in find_checkouts(environ).items()}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name) or {}, after.get(name) or {}
        what = f"git checkout of {name.replace('_', ' ')}"
        if old.get("revision") != new.get("revision"):
            yield from _changed(what, old.get("revision"), new.get("revision"))
        elif old.get("diff_sha256") != new.get("diff_sha256"):
            yield f"{what}: the same revision with other changes"


def _machine(then: Mapping[str, Any], accelerators: Accelerators, environ: Mapping[str, str]) -> Iterator[str]:
    old, new = then.get("machine", {}), machine_facts()
    yield from _changed("kernel", old.get("kernel"), new["kernel"])
    for name in sorted(old.get("drivers", {}).keys() | new["drivers"].keys()):
        yield from _changed(f"{name} driver", old.get("drivers", {}).get(name), new["drivers"].get(name))
    gpus = old.get("accelerators", {})
    before = f"{gpus.get('count')} {gpus.get('model') or gpus.get('kind')}"
    yield from _changed("accelerators", before, f"{accelerators.count} {accelerators.model or accelerators.kind}")


def _variables(then: Mapping[str, Any], accelerators: Accelerators, environ: Mapping[str, str]) -> Iterator[str]:
    before = then.get("environment", {})
    for name in sorted(environ):
        if name.startswith(_WATCHED) and before.get(name) != environ[name]:
            yield from _changed(name, before.get(name), environ[name])


_DIFFERENCES: tuple[Callable[[Mapping[str, Any], Accelerators, Mapping[str, str]], Iterator[str]], ...] = (
    *(_place, _versions, _code, _machine, _variables),
)


def _changed(what: str, before: Any, after: Any) -> Iterator[str]:
    if before != after:
        shown = [os.fspath(each) if each else "none" for each in (before, after)]
        yield f"{what}: {shown[0]} then, {shown[1]} now"
