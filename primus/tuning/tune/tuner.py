"""Stage 2 from beginning to end: reads the shapes, lets the workers tune them, writes results and report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from primus.errors import MissingError, UsageError
from primus.run import explained, utc_now, write_text
from primus.tuning.gemm import Gemm
from primus.tuning.results import Results, write_results
from primus.tuning.shapes import read_shapes
from primus.tuning.tune.also import write_also
from primus.tuning.tune.engine import Engine, Machine
from primus.tuning.tune.engines import pick
from primus.tuning.tune.folder import Folder
from primus.tuning.tune.gpus import Gpu
from primus.tuning.tune.journal import Journal
from primus.tuning.tune.keep import Decided, decide, winner_of
from primus.tuning.tune.locks import held_folder, held_gpus
from primus.tuning.tune.processes import Processes, StoppedError
from primus.tuning.tune.progress import Progress
from primus.tuning.tune.report import Facts, as_text, make_report
from primus.tuning.tune.request import Outcome, TuneRequest
from primus.tuning.tune.stopping import Asked, asked_to_stop
from primus.tuning.tune.summary import outcome_of
from primus.tuning.tune.work_queue import Queue, cost, expected_us
from primus.tuning.tune.workers import Work, Workers

SAVE_SECONDS = 30.0
"""The tuning file is brought up to date so often; the journal is, with every shape."""

GROUPED = "its groups can't be told from hipBLASLt's tuning file, so that the library would not find the row"

_TICK = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What is to be done, once the machine is known."""

    machine: Machine
    engine: Engine
    calls: Mapping[Gemm, int]
    skipped: Mapping[Gemm, str]
    """Problems that are not even tried, with the reason."""

    todo: Sequence[Gemm]
    gpus: Sequence[Gpu]
    earlier: Results | None
    """The tuning file of before."""


class Tuner:
    """One run of stage 2."""

    def __init__(self, request: TuneRequest, environ: Mapping[str, str] = os.environ) -> None:
        self._request, self._environ = request, environ
        self._folder = Folder(request.results)
        self._processes = Processes()
        self._afterwards = Processes()
        """For what is asked when the workers, and all of theirs, have been ended."""

        self._started, self._began = utc_now(), time.monotonic()
        self._messages: list[str] = []

    def run(self) -> Outcome:
        calls = read_calls(self._request.shapes)
        engine = pick(self._request, self._environ)
        with held_folder(self._folder.folder), asked_to_stop(self._stop) as asked:
            try:
                machine = engine.machine(self._processes)
            except StoppedError:
                return outcome_of(self._folder, None, ["Stopped before anything was tuned."], asked, left=len(calls))
            if self._request.fresh and (aside := self._folder.set_aside()):
                self._messages.append(f"What was tuned before is in {aside}")
            earlier = self._folder.earlier(machine)
            self._folder.make()
            journal = Journal(self._folder.journal, machine)
            try:
                plan = self._plan(machine, engine, calls, journal, earlier)
                with held_gpus(plan.gpus[: len(plan.todo)], self._environ, folder=self._folder.folder):
                    left = self._work(plan, journal, asked)
                return self._finish(plan, journal, asked, left)
            finally:
                journal.close()

    def _stop(self) -> None:
        self._processes.stop()
        self._afterwards.stop()

    def _plan(
        self, machine: Machine, engine: Engine, calls: Mapping[Gemm, int], journal: Journal, earlier: Results | None
    ) -> _Plan:
        limit, seconds = self._request.max_workspace, self._request.time_limit
        entries = journal.snapshot()
        known = {gemm for gemm in calls if gemm in entries and entries[gemm].holds_for(limit, seconds)}
        reasons = {gemm: GROUPED if gemm.grouped else engine.refuses(gemm) for gemm in calls}
        skipped = {gemm: reason for gemm, reason in reasons.items() if reason is not None and gemm not in known}
        todo = [gemm for gemm in calls if gemm not in known and gemm not in skipped]
        if journal.damaged:
            self._messages.append(
                f"{self._folder.journal}: {journal.damaged} damaged lines; their shapes are tuned again"
            )
        return _Plan(
            machine=machine,
            engine=engine,
            calls=calls,
            skipped=skipped,
            todo=in_order(todo, calls),
            gpus=_chosen(machine, self._request),
            earlier=earlier,
        )

    def _work(self, plan: _Plan, journal: Journal, asked: Asked) -> list[Gemm]:
        """Tune; what is left when that ends."""
        progress = Progress(plan.todo, self._environ)
        for warning in plan.machine.warnings:
            progress.note(f"Warning: {warning}")
        progress.note(_opening(plan))
        work = Work(
            engine=plan.engine,
            request=self._request,
            folder=self._folder,
            journal=journal,
            queue=Queue(plan.todo),
            calls=plan.calls,
            told=progress.told,
            processes=self._processes,
        )
        workers = Workers(work, plan.gpus[: len(plan.todo)])
        saved = time.monotonic()
        try:
            with explained(f"can't go on in {self._folder.folder} (what is tuned is kept; start again to go on)"):
                while asked.signal is None and not workers.wait(_TICK):
                    progress.tick()
                    if time.monotonic() - saved > SAVE_SECONDS:
                        self._save(plan, journal)
                        saved = time.monotonic()
        finally:
            workers.stop()
            progress.close()
        self._messages += [lost.message for lost in workers.lost]
        return [gemm for gemm in plan.todo if gemm not in workers.recorded]

    def _save(self, plan: _Plan, journal: Journal) -> Decided:
        """Bring the tuning file up to date."""
        decided = decide(journal.snapshot().values(), plan.calls, plan.machine, plan.earlier)
        if decided.rows:
            write_results(self._folder.results, plan.machine.revision, decided.rows)
        else:  # what was faster before, with another workspace limit for instance, is so no more
            self._folder.results.unlink(missing_ok=True)
        return decided

    def _finish(self, plan: _Plan, journal: Journal, asked: Asked, left: Sequence[Gemm]) -> Outcome:
        with explained(f"can't write in {self._folder.folder} (what is tuned is kept; start again to go on)"):
            decided = self._save(plan, journal)
            facts = Facts(
                machine=plan.machine,
                engine=plan.engine.name,
                gpus=len(plan.gpus),
                max_workspace=self._request.max_workspace,
                started=self._started,
                seconds=time.monotonic() - self._began,
                ended=asked.signal.name if asked.signal else "no GPU was left" if left else "done",
            )
            report = make_report(facts, decided, skipped=plan.skipped, left=left, calls=plan.calls)
            write_text(self._folder.report, as_text(report))
            # Those who pick kernels themselves tell problems apart that share a key.
            faster = [each for each in decided.decisions if each.state in ("kept", "shared")]
            winners = [winner_of(each, plan.machine) for each in faster]
            also = write_also(winners, self._request, self._folder, plan.machine, self._afterwards, self._environ)
        return outcome_of(self._folder, report, [*self._messages, *also], asked, left=len(left))


def read_calls(path: Path) -> dict[Gemm, int]:
    """Each problem of stage 1 with its calls. Raises MissingError when there is none."""
    calls = {gemm: use.calls for gemm, use in read_shapes(path).uses.items()}
    if not calls:
        raise MissingError(f"{path}: no shapes in it. Run stage 1 again, which says why a dump is empty.")
    return calls


def in_order(gemms: Sequence[Gemm], calls: Mapping[Gemm, int]) -> list[Gemm]:
    """What takes longest to tune goes first, so that no GPU is left alone with it at the end; of those that take the
    same, what training spends most time with."""
    return sorted(gemms, key=lambda each: (-cost(each), -expected_us(each) * calls[each], repr(each)))


def _chosen(machine: Machine, request: TuneRequest) -> Sequence[Gpu]:
    if not machine.gpus:
        raise MissingError("no GPU is visible here")
    wanted = request.gpus or len(machine.gpus)
    if wanted > len(machine.gpus):
        raise UsageError(f"{wanted} GPUs were asked for, {len(machine.gpus)} are visible here")
    return machine.gpus[:wanted]


def _opening(plan: _Plan) -> str:
    machine, known = plan.machine, len(plan.calls) - len(plan.todo) - len(plan.skipped)
    parts = [f"{len(plan.todo)} of {len(plan.calls)} shapes to tune"]
    parts += [f"{known} tuned before"] if known else []
    parts += [f"{len(plan.skipped)} that can't be"] if plan.skipped else []
    where = f"{len(plan.gpus)} GPU{'s' * (len(plan.gpus) > 1)} ({machine.architecture}, hipBLASLt {machine.revision})"
    return f"{', '.join(parts)}; engine {plan.engine.name}, on {where}"
