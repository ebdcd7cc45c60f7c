"""Which rows are worth being in the tuning file, and in which order. Pure; results.py writes them.

hipBLASLt finds a row by less than a whole problem, and takes the last that fits: so of problems that share a key the
heaviest comes last, and where the heaviest does best without a row, none of them gets one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from primus.tuning.columns import Row, expressible
from primus.tuning.gemm import Gemm, OverrideKey
from primus.tuning.measure_process import Failure
from primus.tuning.results import Results, Winner, describe_shared, rows_of
from primus.tuning.tune.engine import Machine
from primus.tuning.tune.journal import Entry

State = Literal["kept", "same", "shared", "failed"]
"""`same`: nothing is faster than the library's own choice. `shared`: something is, but a heavier one has its key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What becomes of one problem."""

    entry: Entry
    calls: int
    state: State
    reason: str = ""
    """Why there is no row, or none that counts."""

    row: Row | None = None

    @property
    def gemm(self) -> Gemm:
        return self.entry.gemm

    @property
    def weight(self) -> float:
        """Microseconds that training spends with it, untuned; 0 when it failed."""
        return self.calls * self.entry.default_us

    @property
    def effective_us(self) -> float:
        """Of one launch with the tuning file. For one that shares its key: as before, since it was not measured."""
        found = self.entry.found
        if found is None or self.state != "kept":
            return self.entry.default_us
        return self.entry.default_us / (1 + found.comparison.gain)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """The whole tuning file."""

    decisions: Sequence[Decision]
    """The heaviest problem last."""

    rows: Sequence[Row]
    notes: Sequence[str]
    """On problems that share a key, and on rows that can't be written."""


def decide(
    entries: Iterable[Entry], calls: Mapping[Gemm, int], machine: Machine, earlier: Results | None = None
) -> Decided:
    """`calls` counts those of the training run; problems of other runs keep what they had. Rows of `earlier` that are
    for none of these problems stay, and come first."""
    decisions, notes = [], []
    for entry in entries:
        decision, note = _judge(entry, calls.get(entry.gemm, entry.calls), machine)
        decisions.append(decision)
        notes += note
    decisions.sort(key=lambda each: (each.weight, repr(each.gemm)))
    sharing: defaultdict[OverrideKey, list[Decision]] = defaultdict(list)
    for decision in decisions:
        sharing[decision.gemm.key(machine.generation)].append(decision)
    final = {}
    for group in sharing.values():
        after, note = _share(group)
        final.update({each.gemm: each for each in after})
        notes += note
    ordered = [final[each.gemm] for each in decisions]
    rows = [*_others(earlier, ordered), *(each.row for each in ordered if each.row is not None)]
    return Decided(decisions=ordered, rows=rows, notes=notes)


def winner_of(decision: Decision, machine: Machine) -> Winner:
    """For the files of others. The decision must have been measured."""
    found = decision.entry.found
    if found is None:
        raise ValueError(f"{decision.gemm.title} was not tuned")
    columns = found.row.columns if found.row is not None else {}
    return Winner(
        gemm=decision.gemm,
        solution_index=found.tuned_index,
        microseconds=found.comparison.tuned.median,
        architecture=machine.architecture,
        compute_units=machine.compute_units,
        weight=decision.weight,
        name=columns.get("kernel_name", columns.get("solution_name", "")),
        flushed=found.row is not None,
    )


def _judge(entry: Entry, calls: int, machine: Machine) -> tuple[Decision, list[str]]:
    """By what was measured, without a look at the others."""
    found = entry.found
    if isinstance(entry.answer, Failure):
        reason = f"{entry.answer.kind}: {entry.answer.message}"
        return Decision(entry=entry, calls=calls, state="failed", reason=reason), []
    if found is None or not found.is_faster:
        return Decision(entry=entry, calls=calls, state="same", reason=_not_faster(entry)), []
    decision = Decision(entry=entry, calls=calls, state="kept", row=found.row)
    if found.row is not None:
        return decision, []
    rows, notes = rows_of([winner_of(decision, machine)], machine.generation)
    if not rows:
        return Decision(entry=entry, calls=calls, state="same", reason=notes[0].rpartition(": ")[2]), notes
    return Decision(entry=entry, calls=calls, state="kept", row=rows[0]), []


def _not_faster(entry: Entry) -> str:
    found = entry.found
    if found is None or found.tuned_index == found.default_index:
        return "the library's own choice is the fastest"
    gain, noise = found.comparison.gain, found.comparison.noise
    return f"solution {found.tuned_index} is faster by {gain:+.1%}, within the noise of ±{noise:.1%}"


def _share(group: Sequence[Decision]) -> tuple[list[Decision], list[str]]:
    """Problems with one key, the heaviest last."""
    measured = [each for each in group if each.entry.found is not None]
    indices = {_index(each) for each in measured}
    if len(measured) < 2 or len(indices) < 2 or not any(each.state == "kept" for each in measured):
        return list(group), []
    heaviest = measured[-1]
    title = heaviest.gemm.title
    after = []
    for each in group:
        if each.state != "kept" or each is heaviest or _index(each) == _index(heaviest):
            after.append(each)
        elif heaviest.state == "kept":
            reason = f"hipBLASLt's file can't tell it from {title}, which is heavier and served first"
            after.append(_shared(each, reason, each.row))
        else:
            reason = f"hipBLASLt's file can't tell it from {title}, which is heavier and does best without a row"
            after.append(_shared(each, reason, None))
    return after, [describe_shared([each.gemm for each in measured], served=heaviest.state == "kept")]


def _index(decision: Decision) -> int:
    """The solution that is best for it."""
    found = decision.entry.found
    if found is None:
        return -1
    return found.tuned_index if decision.state == "kept" else found.default_index


def _shared(decision: Decision, reason: str, row: Row | None) -> Decision:
    return Decision(entry=decision.entry, calls=decision.calls, state="shared", reason=reason, row=row)


def _others(earlier: Results | None, decisions: Iterable[Decision]) -> list[Row]:
    """Rows of before that are for problems which nobody has tuned here."""
    if earlier is None:
        return []
    own = {expressible(each.gemm) for each in decisions}
    return [row for row in earlier.rows if _problem(row) not in own]


def _problem(row: Row) -> Gemm | None:
    """None for a row that says something which is not known here."""
    try:
        return row.gemm()
    except (KeyError, ValueError):
        return None
