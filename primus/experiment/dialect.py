"""The shape of an experiment file: which sections it may have and what the names in it may be. load.py calls it."""

from __future__ import annotations

from dataclasses import dataclass

from primus.errors import Problem, did_you_mean
from primus.experiment.leaf import NAMES
from primus.experiment.model import Section, Value

MODULE = "pre_trainer"
"""The one module that can be run."""

_TOP_KEYS = (*NAMES, "modules", "platform", "bases", "extends")
_MODULE_KEYS = ("framework", "config", "model", "overrides", "effective")
_LONGEST_NAME = 255
"""Bytes that a file system allows in the name of a folder."""


@dataclass(slots=True)
class Module:
    """What an experiment's module says, before its presets are read."""

    overrides: Section
    framework: Value | None = None
    config: Value | None = None
    model: Value | None = None
    effective: bool = False
    """The presets are merged into the overrides already (a file that dump.py wrote); `config` and `model` only name
    what they were."""


@dataclass(slots=True)
class _Reader:
    problems: list[Problem]

    def report(self, node: Section | Value, message: str) -> None:
        self.problems.append(Problem(where=node.origin, key=node.path, message=message))


def wrap_bare(root: Section) -> Section:
    """A job file, which has only the framework's own sections and perhaps names, in the shape of an experiment."""
    names = {key: node for key, node in root.items() if key in NAMES}
    overrides = Section(root.origin, "", {key: node for key, node in root.items() if key not in NAMES})
    module = Section(root.origin, "", {"overrides": overrides})
    return Section(root.origin, "", {**names, "modules": Section(root.origin, "", {MODULE: module})})


def read_module(root: Section, problems: list[Problem]) -> Module:
    """The module of an experiment; whatever is wrong with the sections above and in it goes to `problems`."""
    reader = _Reader(problems)
    _check_top(root, reader)
    empty = Module(overrides=Section(root.origin, ""))
    modules = root.get("modules")
    if not isinstance(modules, Section):
        if modules is not None:
            reader.report(modules, f"expected a section with `{MODULE}:` in it")
        return empty
    for name, node in modules.items():
        if name != MODULE:
            near = did_you_mean(name, [MODULE])
            reader.report(node, f"unknown module; Primus trains `{MODULE}` only.{near}")
    module = modules.get(MODULE)
    if isinstance(module, Value):
        reader.report(module, "expected a section with framework, config, model and overrides")
    elif module is None and not modules:
        reader.report(modules, f"has no `{MODULE}:` section")
    return _read_parts(module, reader) if isinstance(module, Section) else empty


def check_names(header: Section, problems: list[Problem]) -> dict[str, str]:
    """The four names of an experiment as text. They become folders, so nothing may lead out of the workspace."""
    reader = _Reader(problems)
    texts = {}
    for key in NAMES:
        node = header[key]
        wrong = _wrong_name(key, node)
        if wrong:
            reader.report(node, wrong)
        texts[key] = node.data if isinstance(node, Value) and isinstance(node.data, str) else ""
    return texts


def _check_top(root: Section, reader: _Reader) -> None:
    for key, node in root.items():
        if key == "platform":
            reader.problems.append(
                Problem(
                    where=node.origin,
                    key=key,
                    message="has no effect here: nodes, processes and ports come from the options of the command "
                    "(--nnodes, --nproc-per-node, --master-addr …) or from SLURM. Remove it.",
                    severity="warning",
                )
            )
        elif key not in _TOP_KEYS:
            near = did_you_mean(key, _TOP_KEYS)
            belongs = "" if near else f" Keys of the framework belong under modules.{MODULE}.overrides."
            reader.report(node, f"unknown key at the top of an experiment.{near}{belongs}")
    if "modules" not in root:
        reader.problems.append(
            Problem(
                where=root.origin,
                message=f"not an experiment: it has no `modules:` section with `{MODULE}:` in it",
            )
        )


def _read_parts(module: Section, reader: _Reader) -> Module:
    result = Module(overrides=Section(module.origin, module.path))
    for key, node in module.items():
        if key not in _MODULE_KEYS:
            near = did_you_mean(key, _MODULE_KEYS)
            belongs = "" if near else " Keys of the framework belong under overrides."
            reader.report(node, f"unknown key of a module.{near}{belongs}")
        elif key == "overrides":
            if isinstance(node, Section):
                result.overrides = node
            else:
                reader.report(node, "expected a section with keys of the framework")
        elif isinstance(node, Section):
            reader.report(node, "expected a single value, not a section")
        elif key == "effective":
            result.effective = node.data is True
            if not isinstance(node.data, bool):
                reader.report(node, "expected true or false")
        elif node.data is not None:
            setattr(result, key, _named(key, node, reader))
    return result


def _named(key: str, node: Value, reader: _Reader) -> Value | None:
    if isinstance(node.data, str) and node.data.strip() and "\0" not in node.data:
        return node
    what = "the name of a backend" if key == "framework" else "the name of a preset or a file"
    reader.report(node, f"expected {what}, got {node.data!r}")
    return None


def _wrong_name(key: str, node: Section | Value) -> str | None:
    """Why this can't be one of the four names, or None."""
    name = node.data if isinstance(node, Value) else None
    if not isinstance(name, str) or not name.strip():
        return "expected a name, got nothing" if name in (None, "") else f"expected a name, got {name!r}"
    if not name.isprintable():
        return f"{name!r} has a control character in it"
    if key == "workspace":
        return f"~ is not replaced in {name!r}; write ${{HOME}}" if name.split("/")[0].startswith("~") else None
    if "/" in name or "\\" in name or name in (".", ".."):
        return f"{name!r} can't be the name of a folder: no / or \\, and neither . nor .."
    if name != name.strip():
        return f"{name!r} begins or ends with a space"
    if len(name.encode()) > _LONGEST_NAME:
        return f"{name[:20]!r}… is longer than the {_LONGEST_NAME} bytes that a folder's name may have"
    return None
