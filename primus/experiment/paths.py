"""Where experiments and presets are found, and how a path is shown. load.py, inherit.py and the commands use it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import primus
from primus.errors import MissingError, UsageError, did_you_mean
from primus.suggest import nearest

Kind = Literal["experiments", "modules", "models"]

SUFFIXES = (".yaml", ".yml", ".toml")
_ORIGINAL = re.compile(r"(?P<model>.+?)(-(BF16|FP8))?-(pretrain|sft)", re.IGNORECASE)
"""File names of the scripts that Primus replaces: `llama2_7B-pretrain.yaml`, `llama3.1_8B-BF16-pretrain.yaml`."""


def configs_dir() -> Path:
    """The shipped configs/: inside the installed package, or beside it in a checkout."""
    package = Path(primus.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def shown(path: Path) -> str:
    """The path as messages print it: from the working directory when it lies below, else absolute."""
    absolute = os.path.normpath(path.absolute())
    here = os.getcwd()
    return os.path.relpath(absolute, here) if absolute.startswith(here.rstrip(os.sep) + os.sep) else absolute


def stem(path: Path) -> str:
    """The file's name without its suffix; unlike Path.stem it keeps the dots of `llama3.1_8B`."""
    return path.name.removesuffix(path.suffix) if path.suffix in SUFFIXES else path.name


def frameworks(kind: Kind) -> list[str]:
    """The frameworks that have shipped files of this kind."""
    folder = configs_dir() / kind
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def shipped(kind: Kind, framework: str) -> dict[str, Path]:
    """The shipped files of one kind and framework, by name."""
    folder = configs_dir() / kind / framework
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {stem(path): path for path in found if path.suffix in SUFFIXES}


def find_preset(kind: Kind, framework: str, name: str) -> Path | None:
    """A shipped file by its name, with or without suffix; None when there is none."""
    folder = configs_dir() / kind / framework
    if os.sep in name or not framework or os.sep in framework:
        return None
    return _existing(folder / name)


def find_beside(name: str, folder: Path) -> Path | None:
    """A file by a path relative to `folder`, with or without suffix; None when there is none."""
    return _existing(folder / name)


def find_experiment(name: str, framework: str | None, default: str) -> Path:
    """The experiment file that `--exp NAME` means: a path, or the name of a shipped one.

    A name that several frameworks have means that of `framework`, and without one that of `default`.
    """
    path = Path(name)
    if "\0" in name or not name.strip():
        raise UsageError("the name of the experiment file is empty or has a NUL in it")
    if os.path.isdir(path):
        raise UsageError(f"{name} is a folder; name an experiment file in it")
    if os.path.exists(path):  # a file, or a pipe
        return path
    order = [framework] if framework else sorted(frameworks("experiments"), key=lambda each: (each != default, each))
    inner, _, last = name.rpartition("/")
    for each in [inner] if inner in order else order if not inner else []:
        if found := find_preset("experiments", each, last):
            return found
    raise MissingError(_not_found(name, order))


def _existing(path: Path) -> Path | None:
    names = [path] if path.suffix in SUFFIXES else [path.parent / f"{path.name}{suffix}" for suffix in SUFFIXES]
    return next((each for each in names if os.path.isfile(each)), None)


def _not_found(name: str, order: list[str]) -> str:
    names = {f"{each}/{ours}": ours for each in order for ours in shipped("experiments", each)}
    wanted = stem(Path(name))
    original = _ORIGINAL.fullmatch(wanted)
    model = original["model"] if original else wanted
    # The guide of those scripts misspells a folder: examples/torchtatin/.
    framework = next((each for each in order if any(nearest(part, [each]) for part in Path(name).parts)), None)
    same = [full for full, ours in names.items() if ours.lower() == model.lower() and full.startswith(framework or "")]
    if same:
        return f"there is no file {name}. Primus ships an experiment for it: --exp {same[0]}"
    near = did_you_mean(model, names.values())
    listed = f" Shipped: {', '.join(names)}." if names and not near else ""
    return f"there is no file {name}, and no shipped experiment of that name.{near}{listed}"
