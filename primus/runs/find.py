"""Finds run directories below folders, and one run by what a user calls it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from primus.errors import MissingError, UsageError

_DEPTH = 5
"""Levels below a given folder that are looked through: workspace/work_group/user_name/exp_name/runs and one more."""

_OTHERS = frozenset({"checkpoints", "node_modules", "__pycache__"})
"""Folders that hold no runs, but many files."""


STATUS = "status.json"
"""The file that a run directory is known by, from its first launch on."""


def find_runs(places: Sequence[Path], *, marker: str = STATUS, notes: list[str] | None = None) -> list[Path]:
    """The run directories at or below these places, by time; each once. `marker` is the file that they are known by.
    Folders that can't be looked into are left out; `notes` gets a line for each."""
    missing = [str(place) for place in places if not place.is_dir()]
    if missing:
        raise MissingError("\n".join(f"{place}: there is no such folder" for place in missing))
    closed = [str(place) for place in places if not os.access(place, os.R_OK | os.X_OK)]
    if closed:
        raise MissingError("\n".join(f"{place}: no permission to look into this folder" for place in closed))
    refused: dict[str, str] = {}
    found = {path for place in places for path in _below(_with_a_name(place), _DEPTH, marker, refused)}
    if notes is not None:
        notes += [f"{folder}: can't look into this folder: {why}" for folder, why in sorted(refused.items())]
    return sorted(found, key=lambda path: (path.name, str(path)))


def find_run(name: str, places: Sequence[Path]) -> Path:
    """The run that `name` means: a path, or an id or the beginning of one, below these places."""
    if not name:
        raise UsageError("the name of a run is empty")
    path = _with_a_name(Path(name))
    if is_run(path):
        return path
    if path.is_dir():
        runs = find_runs([path])
        if len(runs) != 1:
            raise UsageError(f"{name}: expected one run, found {len(runs)} there; `primus runs list {name}` shows them")
        return runs[0]
    fitting = [run for run in find_runs([place for place in places if place.exists()]) if run.name.startswith(name)]
    exact = [run for run in fitting if run.name == name]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    where = ", ".join(map(str, places))
    if not fitting:
        raise MissingError(f"there is no run {name} below {where}; `primus runs list` shows those that are there")
    raise UsageError(f"{name} may mean {len(fitting)} runs: {', '.join(run.name for run in fitting[:5])} …")


def is_run(path: Path, *, marker: str = STATUS) -> bool:
    """Whether a folder is a run directory."""
    return path.parent.name == "runs" and (path / marker).exists()


def _with_a_name(path: Path) -> Path:
    """`.` and `..` have no name to know a folder of runs by."""
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def _below(folder: Path, depth: int, marker: str, refused: dict[str, str]) -> Iterator[Path]:
    if folder.name == "runs":
        yield from _runs_in(folder, marker, refused)
    elif is_run(folder, marker=marker):
        yield folder
    elif depth:
        for name in _folders_in(folder, refused):
            if name not in _OTHERS and not name.startswith("."):
                yield from _below(folder / name, depth - 1, marker, refused)


def _runs_in(folder: Path, marker: str, refused: dict[str, str]) -> Iterator[Path]:
    for name in _folders_in(folder, refused):
        try:
            os.stat(f"{folder}/{name}/{marker}")
        except PermissionError as error:
            refused[f"{folder}/{name}"] = str(error.strerror)
        except OSError:  # a folder without it, or one that is just being removed
            continue
        else:
            yield folder / name


def _folders_in(folder: Path, refused: dict[str, str]) -> list[str]:
    """Names of the folders in it; none where only others may look."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except PermissionError as error:
        refused[str(folder)] = str(error.strerror)
    except FileNotFoundError:  # cleared in between
        pass
    return []
