"""The folder of a tuning: its files, and what earlier tunings left there. tuner.py has one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from primus.errors import UsageError
from primus.run import explained
from primus.tuning.results import Results, read_results
from primus.tuning.tune.engine import Machine
from primus.tuning.tune.journal import stamp_of


class Folder:
    """Where each file of one tuning lives."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.folder = results.parent
        self.journal = self.folder / "journal.jsonl"
        self.report = self.folder / "report.json"
        self.logs = self.folder / "logs"
        self.workers = self.folder / "workers"
        self.engine_csv = self.folder / "te_gemm_algos.csv"
        self.tunable = self.folder / "tunableop_results.csv"

    def make(self) -> None:
        with explained(f"can't make the folder {self.folder}"):
            self.logs.mkdir(parents=True, exist_ok=True)
            self.workers.mkdir(exist_ok=True)

    def tunable_of(self, gpu: int) -> Path:
        """PyTorch puts the GPU's number before the suffix."""
        return self.tunable.with_name(f"{self.tunable.stem}{gpu}{self.tunable.suffix}")

    def set_aside(self) -> Path | None:
        """Move what earlier tunings made into a folder of its own; where to, or None when there was nothing."""
        files = [self.results, self.journal, self.report, self.logs, self.engine_csv]
        files += sorted(self.folder.glob(f"{self.tunable.stem}*{self.tunable.suffix}"))
        present = [path for path in files if path.exists()]
        if not any(path.is_file() for path in present):
            return None
        aside = self.folder / f"before-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
        with explained(f"can't move what is in {self.folder}"):
            aside.mkdir()
            for path in present:
                path.rename(aside / path.name)
        return aside

    def earlier(self, machine: Machine) -> Results | None:
        """The tuning file that is there already. UsageError when it, or the journal, is not for this machine."""
        stamp = stamp_of(self.journal)
        if stamp is not None:
            if not stamp:
                raise UsageError(f"{self.journal}: this is no journal of a tuning. {_REMEDY}")
            wanted = {name: getattr(machine, name) for name in stamp}
            if wrong := [f"{name} {stamp[name]}" for name in stamp if stamp[name] != wanted[name]]:
                here = ", ".join(f"{name} {wanted[name]}" for name in stamp if stamp[name] != wanted[name])
                raise UsageError(_OTHER.format(path=self.journal, made=", ".join(wrong), here=here))
        if not self.results.exists():
            return None
        results = read_results(self.results)
        if results.version != machine.revision:
            made = f"revision {results.version}" if results.version else "no revision in its first line"
            raise UsageError(_OTHER.format(path=self.results, made=made, here=f"revision {machine.revision}"))
        foreign = {row.architecture for row in results.rows} - {machine.architecture, ""}
        if foreign:
            made = f"architecture {', '.join(sorted(foreign))}"
            raise UsageError(_OTHER.format(path=self.results, made=made, here=f"architecture {machine.architecture}"))
        return results


_REMEDY = "Give --fresh to set what is there aside and to tune anew"
_OTHER = (
    "{path} was made with {made}, here is hipBLASLt with {here}: numbers of kernels mean something else there. "
    + _REMEDY
)
