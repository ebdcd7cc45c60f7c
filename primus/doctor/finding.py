"""What `primus doctor` has to say about something, and the exit status that follows. The rules make these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""

EXIT_STATUS: dict[Severity | None, int] = {None: 0, "note": 0, "warning": 10, "error": 20}
"""By the worst finding. Those below 10 say that the examination itself could not be made, as of every command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing."""

    severity: Severity
    name: str
    """Of the rule."""

    where: str
    """`node 1 (gpu-17)`, or ranks and devices."""

    evidence: str
    remedy: str


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The gravest severity of some findings; None when there are none."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in found), None)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, otherwise in the order in which they were found."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
