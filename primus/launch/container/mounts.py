"""Which folders of this machine the container sees: all that a worker would use without one, at the same paths, each
once. Reads the file system, changes nothing; prepare.py calls it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from primus.errors import UsageError
from primus.experiment.paths import configs_dir
from primus.launch.container.request import Mount

PRIMUS = "/opt/primus"
"""Where the container finds Primus. Not at its own path: beside it may lie packages of this machine's Python, which
must not get in the way of the image's."""

PATH_VARIABLES = (
    *("DATA_PATH", "MEGATRON_PATH", "TORCHTITAN_PATH"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TORCH_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"),
    *("HIPBLASLT_TUNING_OVERRIDE_FILE", "HIPBLASLT_TUNING_FILE", "HIPBLASLT_LOG_FILE"),
    *("NCCL_TOPO_FILE", "NCCL_GRAPH_FILE", "NCCL_CONF_FILE", "WANDB_DIR", "WANDB_CACHE_DIR"),
)
"""Variables whose value is a path that a worker reads or writes."""

_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "sbin", "sys", "usr")
_OF_THE_IMAGE = frozenset([Path("/"), *(Path("/") / name for name in _SYSTEM)])
"""Folders that the image has itself: mounting this machine's over them would take its programs away."""

_NO_DATA = tuple(map(Path, ("/dev", "/proc", "/sys")))

_LIBRARIES = ("yaml", "tomli")
"""What Primus needs besides the standard library in a worker; used where the image has none."""


def primus_mounts() -> list[Mount]:
    """Primus itself, read-only."""
    package = Path(__file__).parents[2]
    found = {"primus": package, "configs": configs_dir(), **{f"lib/{name}": _folder(name) for name in _LIBRARIES}}
    inside = {name: path for name, path in found.items() if path is not None and path != package / "configs"}
    return [Mount(source=str(path), target=f"{PRIMUS}/{name}", read_only=True) for name, path in inside.items()]


def plan_mounts(
    *,
    working_directory: Path,
    folders: Iterable[Path],
    variables: Mapping[str, str],
    values: Any,
    extra: Iterable[Mount],
) -> list[Mount]:
    """The mounts of one container. `folders` are the run's own, `variables` the worker's, `values` those of the
    experiment, and `extra` what the user asked for. The run's own need not be there yet."""
    if working_directory in _OF_THE_IMAGE:
        raise UsageError(f"{working_directory} can't be mounted in a container; start primus from the project's folder")
    found = [*_of_variables(variables, working_directory), *_of_values(values, working_directory)]
    paths = [working_directory, *folders, *(path for path in found if path.exists())]
    kept: list[Path] = []
    for path in _with_targets(paths):
        if not any(path.is_relative_to(other) for other in kept):
            kept = [other for other in kept if not other.is_relative_to(path)] + [path]
    own = list(extra)
    taken = {mount.target for mount in own}
    same = [Mount(source=str(path), target=str(path)) for path in sorted(kept) if str(path) not in taken]
    return [*same, *own, *primus_mounts()]


def _of_variables(variables: Mapping[str, str], here: Path) -> Iterator[Path]:
    for name in PATH_VARIABLES:
        value = variables.get(name)
        if value and "%" not in value:  # HIPBLASLT_LOG_FILE may hold %i for the process
            path = _absolute(value, here)
            yield path if path.exists() else path.parent  # a file that will be written
        elif value:
            yield _absolute(value, here).parent


def _of_values(values: Any, here: Path) -> Iterator[Path]:
    """Paths in the experiment's values: whole ones, words of a blend, and prefixes of a corpus (.bin and .idx)."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from _of_values(value, here)
    elif isinstance(values, str):
        for word in {values, *values.split()}:
            path = _absolute(word, here)
            if os.sep in word and "\0" not in word and "://" not in word and not _is_device(path):
                if _exists(path):
                    yield path
                elif _exists(Path(f"{path}.bin")):
                    yield path.parent


def _with_targets(paths: Iterable[Path]) -> Iterator[Path]:
    """Each path, and where it really lies when a link leads to it."""
    for path in paths:
        yield from (each for each in (path, path.resolve()) if each not in _OF_THE_IMAGE)


def _absolute(text: str, here: Path) -> Path:
    return Path(os.path.normpath(here / os.path.expanduser(text)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is too long for a path
        return False


def _is_device(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _NO_DATA)


def _folder(name: str) -> Path | None:
    """Where a package of this Python lies."""
    spec = find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None
