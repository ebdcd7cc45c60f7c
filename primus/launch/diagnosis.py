"""Why a training failed: what it said, held against the table of known causes in causes.toml. Pure; account.py asks it
for the report, and whoever restarts a run asks it whether that can help."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from primus.redact import redact_text

TABLE = Path(__file__).parent / "causes.toml"

_LONGEST_EVIDENCE = 400
"""Characters of a line that are shown."""

_HARMLESS = re.compile(r"Warning: |\bNCCL INFO\b|\[W ?\S* \S+\.cpp:")
"""A line that only warns or tells; training went on after it."""

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """One row of the table."""

    name: str
    cause: str
    """One sentence. `{name}` is what a group of that name captured; a part in brackets is left out when one of its
    groups captured nothing."""

    remedy: str
    transient: bool
    """The same training may go well when it is started again, here or on other nodes, with nothing changed."""

    general: bool = False
    """Follows from something else, in this process or in another one: a cause that is not general comes first."""

    patterns: tuple[re.Pattern[str], ...] = ()
    signal: signal.Signals | None = None
    """The signal that this row explains when no pattern of the table says more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """A known cause that fits."""

    name: str
    """The row of the table, for instance `gpu-out-of-memory`."""

    cause: str
    """One sentence, with the values of this case."""

    evidence: str
    """The line that says so."""

    remedy: str
    transient: bool
    """Starting again may help, with nothing changed."""

    general: bool = False
    """It follows from something else, which is not known."""

    values: Mapping[str, str] = field(default_factory=dict)
    """What the message named: the `step` of a divergence, the `path` of a file …"""


@cache
def causes() -> tuple[Cause, ...]:
    """The table, in its order: of two rows that fit, the earlier one counts."""
    from primus.experiment.toml_parser import loads

    rows: Mapping[str, Mapping[str, Any]] = loads(TABLE.read_text(encoding="utf-8"))
    return tuple(_row(name, row) for name, row in rows.items())


def diagnose(texts: Sequence[str], exit_status: int | None = None) -> list[Diagnosis]:
    """The causes that fit, the likeliest first. `texts` are what is known about one failed worker, the most telling
    first: its message, its traceback, the end of its log; `exit_status` is as a shell has it, 128+N after signal N."""
    found: dict[str, Diagnosis] = {}
    for text in texts:
        for cause in causes():
            if cause.name not in found and (match := _search(cause.patterns, text)):
                found[cause.name] = _diagnosis(cause, match)
    certain = sorted(found.values(), key=lambda diagnosis: diagnosis.general)
    return certain or [_of_signal(cause) for cause in causes() if cause.signal and exit_status == 128 + cause.signal]


def _row(name: str, row: Mapping[str, Any]) -> Cause:
    fields = {**row, "patterns": tuple(re.compile(pattern, re.MULTILINE) for pattern in row.get("patterns", ()))}
    if "signal" in row:
        fields["signal"] = signal.Signals[row["signal"]]
    return Cause(name=name, **fields)


def _search(patterns: Iterable[re.Pattern[str]], text: str) -> re.Match[str] | None:
    """The first match in a line that is more than a warning."""
    matches = (match for pattern in patterns for match in pattern.finditer(text))
    return next((match for match in matches if not _HARMLESS.search(_line(match))), None)


def _diagnosis(cause: Cause, match: re.Match[str]) -> Diagnosis:
    values = {name: redact_text(value.strip()) for name, value in match.groupdict().items() if value}
    return Diagnosis(
        name=cause.name,
        cause=_filled(cause.cause, values),
        evidence=_shortened(redact_text(_line(match))),
        remedy=_filled(cause.remedy, values),
        transient=cause.transient,
        general=cause.general,
        values=values,
    )


def _line(match: re.Match[str]) -> str:
    """The whole line, or lines, of a match."""
    begin = match.string.rfind("\n", 0, match.start()) + 1
    end = match.string.find("\n", match.end())
    return match.string[begin : None if end < 0 else end].strip()


def _of_signal(cause: Cause) -> Diagnosis:
    assert cause.signal is not None
    return Diagnosis(
        name=cause.name,
        cause=_filled(cause.cause, {}),
        evidence=f"exit status {128 + cause.signal}",
        remedy=cause.remedy,
        transient=cause.transient,
        general=cause.general,
    )


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The template with the values in it, and without the parts for which there is none."""

    def keep(part: re.Match[str]) -> str:
        return part[1] if all(name in values for name in _PLACE.findall(part[1])) else ""

    return _PLACE.sub(lambda place: values[place[1]], _OPTIONAL.sub(keep, template))


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_EVIDENCE else f"{line[: _LONGEST_EVIDENCE - 1]}…"
