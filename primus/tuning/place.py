"""Where the files of the tuning lie: `<workspace>/tune_hipblaslt/<model>/`, as in the original. Every stage uses it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from primus.errors import UsageError
from primus.experiment import Experiment
from primus.run import explained, utc_now
from primus.tuning.shapes import FILE_NAME
from primus.tuning.tune.request import RESULTS_NAME

MODEL_VARIABLE = "PRIMUS_MODEL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The folder of one model. Making the object touches nothing."""

    folder: Path
    """Absolute."""

    @property
    def dumps(self) -> Path:
        return self.folder / "gemm_shape"

    def node(self, node: int) -> Path:
        """Dumps of the processes of one node."""
        return self.dumps / f"node{node}"

    @property
    def shapes(self) -> Path:
        return self.dumps / FILE_NAME

    @property
    def results(self) -> Path:
        return self.folder / "gemm_tune" / RESULTS_NAME

    def record(self, stage: int) -> Path:
        """What the last run of a stage was asked for and what came of it."""
        return self.folder / f"stage{stage}.json"

    def set_aside(self, path: Path) -> Path | None:
        """Move a file or folder of before out of the way; where it is now, or None when there is none."""
        if not path.exists():
            return None
        stamp = utc_now().replace(":", "").replace("-", "")
        target = self.folder / "earlier" / stamp / path.relative_to(self.folder)
        with explained(f"can't set {path} aside"):
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        return target


def place_of(experiment: Experiment, environ: Mapping[str, str]) -> Place:
    """Named by PRIMUS_MODEL, else by the experiment."""
    name = environ.get(MODEL_VARIABLE) or experiment.exp_name
    if not re.fullmatch(r"[^/\0]+", name) or name in (".", ".."):
        raise UsageError(f"{MODEL_VARIABLE}={name}: it names a folder, so it must be one name without `/`")
    return Place(folder=Path(os.path.abspath(experiment.workspace)) / "tune_hipblaslt" / name)
