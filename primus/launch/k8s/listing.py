"""Which workloads a list shows, and in which order: alike for every server, whatever its own filters can do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from primus.errors import UsageError
from primus.launch.k8s.rows import WorkloadRow

Field = Literal["created", "ended", "id", "name", "phase", "user", "workspace", "replicas", "gpus"]

PHASES = ("Pending", "Running", "Succeeded", "Failed", "Stopped", "Updating", "NotReady", "Stopping")


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """What is shown; None lets everything through."""

    user: str | None = None
    """A part of the name."""

    phase: str | None = None
    """One or several, with commas between them."""

    since: datetime | None = None
    until: datetime | None = None
    sort_by: Field = "created"
    order: Literal["asc", "desc"] | None = None
    """None is the newest first, and everything else upward."""

    def __post_init__(self) -> None:
        unknown = sorted(set((self.phase or PHASES[0]).split(",")) - set(PHASES))
        if unknown:
            raise UsageError(f"--phase {', '.join(unknown)}: expected some of {', '.join(PHASES)}")
        assert self.sort_by in get_args(Field)


def parse_time(text: str, option: str) -> datetime:
    """`2026-01-31`, with or without `T12:00:00` and a zone. Servers tell times without one, in UTC; so it is here."""
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected a time such as 2026-01-31T12:00:00, with or without Z") from None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def select(items: Iterable[Any], row_of: Callable[[Any], WorkloadRow], filters: Filters) -> list[Any]:
    """The items that the filters let through, sorted."""
    rows = [(row_of(item), item) for item in items]
    found = [(row, item) for row, item in rows if _passes(row, filters)]
    descending = filters.order == "desc" or (filters.order is None and filters.sort_by == "created")
    found.sort(key=lambda pair: getattr(pair[0], filters.sort_by), reverse=descending)
    return [item for _, item in found]


def _passes(row: WorkloadRow, filters: Filters) -> bool:
    if filters.user is not None and filters.user.casefold() not in row.user.casefold():
        return False
    if filters.phase is not None and row.phase not in filters.phase.split(","):
        return False
    if filters.since is None and filters.until is None:
        return True
    try:
        created = parse_time(row.created, "")
    except UsageError:  # the server does not say when
        return False
    return (filters.since is None or created >= filters.since) and (filters.until is None or created <= filters.until)
