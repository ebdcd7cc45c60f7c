"""What ran, in words: the facts of a run beside its curves. Whatever can't be read is left out and said."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.launch.failure import tail_of
from primus.launch.terminal import format_duration
from primus.manifest import FORMAT
from primus.redact import redact_text
from primus.runs.compare import flat
from primus.runs.summary import RunSummary

_VERSIONS = ("torch", "megatron-core", "torchtitan", "transformer-engine", "triton", "flash-attn", "numpy")
"""Packages that the page names first; the others are in manifest.json."""

_LAYOUT = (
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
    "context_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "micro_batch_size",
    "global_batch_size",
    "seq_length",
)
"""Megatron's keys of the layout; torchtitan's are the section `parallelism` and parts of `training`."""

_LAYOUT_SECTIONS = ("parallelism.", "training.local_batch_size", "training.global_batch_size", "training.seq_len")

_TAIL = 40


def notes_of_version(run: RunSummary, status: Mapping[str, Any], manifest: Mapping[str, Any], notes: list[str]) -> None:
    """Say when files are of another time."""
    if status and run.state == "unreadable":
        notes.append("status.json is damaged, or of another version of Primus")
    found = manifest.get("format", FORMAT)
    if found != FORMAT:
        notes.append(
            f"manifest.json is of format {found}, written by Primus {manifest.get('primus', '(unknown)')}; "
            f"this Primus reads format {FORMAT}: what it knows is shown"
        )


def facts_of(
    run: RunSummary, manifest: Mapping[str, Any], model: Mapping[str, Any], module: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Name and value, for the page's first table."""
    resources, machine = _mapping(manifest, "resources"), _mapping(manifest, "machine")
    gpus = _mapping(machine, "accelerators")
    parameters = model.get("parameters")
    rows = [
        ("experiment", run.experiment),
        ("folder", str(run.path)),
        ("presets", ", ".join(str(module[name]) for name in ("config", "model") if module.get(name))),
        ("backend", manifest.get("backend") or module.get("framework")),
        ("parameters", f"{parameters:,}" if isinstance(parameters, int) else None),
        ("nodes", resources.get("nnodes")),
        ("processes", resources.get("world_size")),
        ("layout", ", ".join(f"{name} {value}" for name, value in _layout(module))),
        ("accelerators", gpus.get("model") or gpus.get("kind")),
        ("host", machine.get("host")),
        ("started", run.started),
        ("ended", run.ended),
        ("duration", None if run.seconds is None else format_duration(run.seconds)),
        ("exit status", run.exit_status),
        ("command", _command(manifest)),
    ]
    return [(name, redact_text(str(value))) for name, value in rows if value not in (None, "")]


def versions_of(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    packages, python = _mapping(manifest, "packages"), _mapping(manifest, "python")
    rows = [("Primus", manifest.get("primus")), ("Python", python.get("version"))]
    rows += [(name, packages.get(name)) for name in _VERSIONS]
    for name, checkout in _mapping(manifest, "git").items():
        if isinstance(checkout, Mapping):
            changed = " with changes" if checkout.get("dirty") else ""
            rows.append((f"git: {name}", f"{str(checkout.get('revision'))[:12]}{changed}"))
    drivers = _mapping(_mapping(manifest, "machine"), "drivers")
    rows += [*drivers.items(), ("kernel", _mapping(manifest, "machine").get("kernel"))]
    return [(name, str(value)) for name, value in rows if value]


def module_of(experiment: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of experiment.yaml about training."""
    return _mapping(_mapping(experiment, "modules"), "pre_trainer")


def preset_differences(path: Path, module: Mapping[str, Any], notes: list[str]) -> list[tuple[str, str, str]]:
    """Key, value of the presets, value of the run in this folder. Without presets: all that the experiment sets."""
    from primus.errors import PrimusError
    from primus.experiment import load

    if not module:
        return []
    try:
        values = flat(load(path / "experiment.yaml").plain())
    except PrimusError as error:
        notes.append(f"experiment.yaml can't be compared with its presets: {redact_text(str(error))}")
        return []
    names = {name: module[name] for name in ("framework", "config", "model") if name in module}
    preset: dict[str, Any] = {}
    if "config" in names or "model" in names:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "preset.yaml"
            file.write_text(json.dumps({"modules": {"pre_trainer": names}}), encoding="utf-8")
            try:
                preset = flat(load(file).plain())
            except PrimusError:
                notes.append("the presets of this run are not here, so all of its values are listed")
    keys = [key for key in {**values, **preset} if values.get(key) != preset.get(key)]
    return [(key, _shown(preset.get(key)), _shown(values.get(key))) for key in keys]


def failure_of(run: RunSummary, status: Mapping[str, Any]) -> dict[str, Any] | None:
    """Why a run failed and what to do, with the end of the log that shows it; None for one that did not."""
    if run.state not in ("failed", "lost", "interrupted", "restarting"):
        return None
    diagnosis = _mapping(status, "diagnosis")
    failures = status.get("failures")
    first = failures[0] if isinstance(failures, list) and failures and isinstance(failures[0], Mapping) else {}
    log = run.path / "logs" / f"node{first.get('node', 0)}" / f"rank{first.get('rank', 0)}.log"
    if not log.exists():
        log = log.with_name("agent.log")
    cause = run.cause or ("the launcher is gone and left no word" if run.state == "lost" else "no cause is noted")
    return {
        "cause": redact_text(cause),
        "known": redact_text(str(diagnosis.get("cause") or "")),
        "evidence": redact_text(str(diagnosis.get("evidence") or "")),
        "remedy": redact_text(str(diagnosis.get("remedy") or "")),
        "log": str(log.relative_to(run.path)),
        "tail": [redact_text(line) for line in tail_of(log, _TAIL)],
    }


def _layout(module: Mapping[str, Any]) -> list[tuple[str, Any]]:
    values = flat(_mapping(module, "overrides"))
    return [
        (name, value)
        for name, value in values.items()
        if (name in _LAYOUT or name.startswith(_LAYOUT_SECTIONS)) and value not in (None, "")
    ]


def _command(manifest: Mapping[str, Any]) -> str:
    command = manifest.get("command")
    return shlex.join(map(str, command)) if isinstance(command, list) else ""


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _shown(value: Any) -> str:
    return "" if value is None else redact_text(value if isinstance(value, str) else json.dumps(value))
