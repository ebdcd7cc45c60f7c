"""Files of a run that anything may have happened to: what can't be read is left out, and noted. Reports, `primus runs
show` and `compare` read them so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path, notes: list[str]) -> dict[str, Any]:
    """An object in a file of the run; empty, with a note, when it is missing or damaged."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return {}
    except (OSError, ValueError):
        data = None
    if not isinstance(data, dict):
        notes.append(f"{path.name} is damaged")
        return {}
    return data


def read_experiment(path: Path, notes: list[str]) -> dict[str, Any]:
    """experiment.yaml as it stands."""
    import yaml

    try:
        data = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        notes.append("experiment.yaml is missing")
        return {}
    except (OSError, yaml.YAMLError):
        data = None
    if not isinstance(data, dict):
        notes.append("experiment.yaml is damaged")
        return {}
    return data
