"""Why a job waits: SLURM's reasons of a pending job in plain words, one table. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """What one of SLURM's reasons means. `{partition}` in its words is the job's."""

    words: str
    never: bool = False
    """Time alone does not mend it."""

    outlook: str = "it will never start"
    """What follows where time does not mend it."""

    def __str__(self) -> str:
        return f"{self.words}: {self.outlook}" if self.never else self.words


_RELEASE = "`scontrol release` lets it go"


REASONS = {
    "Resources": Reason(words="not enough nodes are free"),
    "Priority": Reason(words="other jobs go first"),
    "Dependency": Reason(words="the jobs that it depends on have not ended"),
    "BeginTime": Reason(words="may not begin yet: SLURM waits a while after a requeue, or --begin says when"),
    "Reservation": Reason(words="its reservation has not begun"),
    "ReqNodeNotAvail": Reason(words="a node that it needs is down, drained or reserved"),
    "NodeDown": Reason(words="a node that it needs is down"),
    "Licenses": Reason(words="no licence is free"),
    "Cleaning": Reason(words="its last attempt is still being cleared away"),
    "Prolog": Reason(words="its nodes are being prepared"),
    "JobArrayTaskLimit": Reason(words="enough tasks of its array run already"),
    "FrontEndDown": Reason(words="the front end of its nodes is down"),
    "SchedDefer": Reason(words="the scheduler has put it off"),
    "PartitionDown": Reason(words="partition {partition} is down", never=True),
    "PartitionInactive": Reason(words="partition {partition} is inactive", never=True),
    "PartitionNodeLimit": Reason(words="partition {partition} does not allow so many nodes, or has fewer", never=True),
    "PartitionTimeLimit": Reason(words="partition {partition} does not allow so much time", never=True),
    "DependencyNeverSatisfied": Reason(words="the job that it depends on did not end as it has to", never=True),
    "BadConstraints": Reason(words="no node has what it asks for", never=True),
    "AccountNotAllowed": Reason(words="its account may not use partition {partition}", never=True),
    "AssociationJobLimit": Reason(words="its account has as many jobs as it may have"),
    "InvalidAccount": Reason(words="its account is not valid", never=True),
    "InvalidQOS": Reason(words="its quality of service is not valid", never=True),
    "QOSNotAllowed": Reason(words="its quality of service may not use partition {partition}", never=True),
    "ReservationDeleted": Reason(words="its reservation is gone", never=True),
    "JobHeldAdmin": Reason(words="an administrator holds it", never=True),
    "JobHeldUser": Reason(words="it is held", never=True, outlook=_RELEASE),
    "JobHoldMaxRequeue": Reason(words="it is held, since it was requeued too often", never=True, outlook=_RELEASE),
    "DeadLine": Reason(words="it can't end before its deadline any more", never=True),
}
"""By SLURM's word, for squeue's %r and sacct's Reason."""

_FAMILIES = (
    (
        r"QOS\w*(?:PerJob|PerNode|MinCpu|MinGRES)\w*",
        Reason(words="more than its quality of service allows for one job", never=True),
    ),
    (r"(?:QOS|MaxQOS)\w*", Reason(words="a limit of its quality of service is reached")),
    (r"Assoc\w*PerJob\w*|Max\w*PerJob", Reason(words="more than its account allows for one job", never=True)),
    (r"Assoc\w*|Max\w*", Reason(words="a limit of its account is reached")),
    (r"Nodes required for job are DOWN, DRAINED.*", Reason(words="nodes that it needs are down, drained or reserved")),
    (
        r"launch failed requeued held",
        Reason(words="it is held, since a node failed to start it", never=True, outlook=_RELEASE),
    ),
    (r"job requeued in held state", Reason(words="it is held after it was requeued", never=True, outlook=_RELEASE)),
)
"""Reasons that SLURM has many of, and those that it writes as a sentence."""


def read_reason(text: str, partition: str = "") -> Reason | None:
    """The meaning of a reason such as `ReqNodeNotAvail, UnavailableNodes:n[1-2]`; None where there is none to tell."""
    text = text.strip().strip("()")
    if text in ("", "None", "null"):
        return None
    word, _, detail = text.partition(",")
    if word in REASONS:
        words = REASONS[word].words.replace("{partition}", partition or "of the job")
        return replace(REASONS[word], words=f"{words} ({detail.strip()})" if detail else words)
    return next((reason for pattern, reason in _FAMILIES if re.fullmatch(pattern, text)), Reason(words=text))
