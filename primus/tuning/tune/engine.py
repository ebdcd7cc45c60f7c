"""What an engine of stage 2 is: something that finds the fastest kernel of a problem on one GPU and measures its gain.

bench.py and library.py are the two; workers.py calls them from one thread per GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from primus.tuning.child import DISTURBING
from primus.tuning.columns import Row, make_row
from primus.tuning.gemm import Gemm, Generation
from primus.tuning.measure_process import Failure
from primus.tuning.measure_times import Comparison, Times
from primus.tuning.tune.gpus import Gpu
from primus.tuning.tune.processes import Processes


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What tuned kernels are valid for, and the file that is read here."""

    revision: str
    """Git revision of the library."""

    architecture: str
    """`gfx942:sramecc+:xnack-`."""

    compute_units: int
    generation: Generation
    """Of the tuning files that the library reads."""

    gpus: tuple[Gpu, ...]
    warnings: tuple[str, ...] = ()
    """What a user should know before hours are spent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One problem for one GPU."""

    gemm: Gemm
    gpu: Gpu
    time_limit: float
    max_workspace: int
    folder: Path
    """Of this GPU's worker, for files of its own."""

    log: Path
    """Gets what the engine's processes say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The fastest kernel of a problem against the library's own choice."""

    default_index: int
    tuned_index: int
    comparison: Comparison
    solutions: int
    """That the library offers within the workspace limit."""

    rejected: Mapping[str, str]
    """Solutions that failed or computed something else, with the reason."""

    error: float | None = None
    """Difference of the two results as a share of the largest element; None from an engine that does not compare."""

    row: Row | None = None
    """The bench's own row of the tuning file."""

    @property
    def is_faster(self) -> bool:
        return self.tuned_index != self.default_index and self.comparison.is_faster

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("default_index", "tuned_index", "solutions", "error")}
        plain["rejected"] = dict(self.rejected)
        plain["default"] = list(self.comparison.default.samples)
        plain["tuned"] = list(self.comparison.tuned.samples)
        plain["row"] = self.row and {"names": list(self.row.names), "values": list(self.row.values)}
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Found:
        """What to_json described. Raises KeyError, TypeError or ValueError when it is something else."""
        row = value["row"] and make_row(tuple(value["row"]["names"]), tuple(value["row"]["values"]))
        comparison = Comparison(
            default=Times(samples=tuple(map(float, value["default"]))),
            tuned=Times(samples=tuple(map(float, value["tuned"]))),
        )
        names = ("default_index", "tuned_index", "solutions", "rejected", "error")
        return cls(**{name: value[name] for name in names}, comparison=comparison, row=row)


class Engine(Protocol):
    """Thread-safe: every GPU's worker uses the same one. A method that waits ends with StoppedError when asked to."""

    @property
    def name(self) -> str: ...

    def machine(self, processes: Processes) -> Machine:
        """Raises MissingError when it can't work here."""

    def refuses(self, gemm: Gemm) -> str | None:
        """Why it can't take this problem; None when it can."""

    def tune(self, task: Task, processes: Processes) -> Found | Failure: ...

    def is_alive(self, gpu: Gpu, processes: Processes) -> bool:
        """Whether this GPU still runs anything."""


class Kind(NamedTuple):
    """What a failure means for what comes next."""

    again: bool
    """It may pass: tried once more, after all others."""

    on_resume: bool
    """And once more when the tuning is started again."""

    device: bool = False
    """The GPU may be lost: it is asked before it gets anything else."""


KINDS: dict[str, Kind] = {
    "no-solution": Kind(again=False, on_resume=False),
    "unsupported": Kind(again=False, on_resume=False),
    "meaningless": Kind(again=False, on_resume=False),
    "bad-request": Kind(again=False, on_resume=False),
    "timeout": Kind(again=False, on_resume=False, device=True),
    "missing": Kind(again=False, on_resume=True),
    "library": Kind(again=True, on_resume=False),
    "no-row": Kind(again=True, on_resume=False),
    "crashed": Kind(again=True, on_resume=False, device=True),
    "out-of-memory": Kind(again=True, on_resume=True),
    "hip": Kind(again=True, on_resume=True, device=True),
    "no-device": Kind(again=True, on_resume=True, device=True),
    "device-fault": Kind(again=True, on_resume=True, device=True),
}
"""Every kind of Failure."""


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would change or slow down what is measured."""
    return {name: value for name, value in environ.items() if not name.startswith(DISTURBING)}
