"""Finds backends by name: Primus's own beside this file, others among the installed entry points of the group
`primus.backends`. Commands call it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from primus.backends.base import Backend
from primus.errors import ExperimentError, MissingError, Origin, Problem, UsageError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "primus.backends"


def names() -> list[str]:
    """The backends that are installed, by name."""
    return sorted(_entry_points())


def get(name: str, origin: Origin | None = None) -> Backend:
    """The backend called `name`. `origin` says who asked for it, for the error when there is none of that name."""
    if _is_own(name):
        own: Backend = import_module(f"{GROUP}.{name}").BACKEND
        return own
    found = _entry_points()
    if name not in found:
        choices = sorted(found)
        message = f"unknown backend {name!r}.{did_you_mean(name, choices)} Known: {', '.join(choices) or 'none'}."
        if origin is not None and origin.kind != "option":
            raise ExperimentError([Problem(where=origin, key="framework", message=message)])
        raise UsageError(f"{origin}: {message}" if origin else message)
    backend: Backend = found[name].load()
    return backend


def require_packages(backend: Backend) -> None:
    """MissingError when a package that the backend's workers import is not installed. Imports none of them."""
    message = explain_missing(backend)
    if message is not None:
        raise MissingError(message)


def explain_missing(backend: Backend) -> str | None:
    """What is not installed here of the backend's packages, and how to get it; None when all are here."""
    missing = [package for package in backend.packages if not _is_installed(package)]
    if not missing:
        return None
    lines = [f"the {backend.name} backend needs what is not installed here: {', '.join(missing)}."]
    if "torch" in missing:
        lines.append("Install PyTorch for this machine's accelerator first: https://pytorch.org/get-started/locally/")
    if missing != ["torch"]:
        lines.append(f"Install {'the rest ' if 'torch' in missing else ''}with: pip install 'primus[{backend.name}]'")
    return "\n".join(lines)


def _is_own(name: str) -> bool:
    """Whether Primus has a folder for it; saves reading the metadata of everything that is installed."""
    spec = find_spec(f"{GROUP}.{name}") if name.isidentifier() else None
    return spec is not None and spec.submodule_search_locations is not None


def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a parent of a dotted name is absent
        return False
