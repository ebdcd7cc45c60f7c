"""How SLURM writes times, memory, GPUs and dependencies: each as a check that says what is expected. options.py lists
which option takes which; preflight.py compares what they mean with what a partition has. Pure."""

from __future__ import annotations

import re

_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<h>\d+)(?::(?P<m>\d+)(?::(?P<s>\d+))?)?)"
    r"|(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+))|(?P<only>\d+)"
)
_ENDLESS = ("infinite", "unlimited")

_MEMORY = re.compile(r"(?P<count>\d+)(?P<unit>[KMGT]?)B?", re.IGNORECASE)
_MEGABYTES = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024 * 1024}

_GRES = re.compile(r"[A-Za-z_][\w.-]*(?:[:=][A-Za-z_][\w.-]*)?(?:[:=]\d+[kmgtpKMGTP]?)?")
_GPUS = re.compile(r"(?:[A-Za-z_][\w.-]*:)?\d+")
_DEPENDENCY = re.compile(
    r"singleton|(?:after(?:any|ok|notok|corr|burstbuffer)?):\d+(?:_(?:\d+|\*))?(?:\+\d+)?"
    r"(?::\d+(?:_(?:\d+|\*))?(?:\+\d+)?)*"
)


def minutes(text: str) -> float | None:
    """A time limit in minutes; None for one that is not limited. ValueError when it is not a time."""
    if text.lower() in _ENDLESS:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError
    number = {name: int(value) for name, value in match.groupdict("0").items()}
    if match["days"]:
        return number["days"] * 1440 + number["h"] * 60 + number["m"] + number["s"] / 60
    if match["only"]:
        return number["only"] or None  # 0 is no limit
    return number["hours"] * 60 + number["minutes"] + number["seconds"] / 60 or None


def megabytes(text: str) -> float:
    """Memory in megabytes. ValueError when it is none."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError
    return int(match["count"]) * _MEGABYTES[match["unit"].upper()]


def gpus(gres: str) -> int:
    """GPUs in a list of resources as SLURM prints and takes it: `gpu:mi300x:8(S:0-1),nvme:1`."""
    count = 0
    for entry in re.split(r",(?![^(]*\))", gres):
        name, *rest = re.split("[:=]", re.sub(r"\(.*?\)", "", entry))
        if name in ("gpu", "gres/gpu"):
            count += int(rest[-1]) if rest and rest[-1].isdigit() else 1
    return count


def gpus_per_node(text: str) -> int:
    """The number in `--gpus-per-node`: `8`, `mi300x:8` or `a:4,b:4`."""
    return sum(int(part.rpartition(":")[2]) for part in text.split(","))


def is_time(text: str) -> str | None:
    try:
        minutes(text)
    except ValueError:
        return "expected minutes, minutes:seconds, hours:minutes:seconds, days-hours or days-hours:minutes:seconds"
    return None


def is_memory(text: str) -> str | None:
    return None if _MEMORY.fullmatch(text) else "expected a size such as 64G, in K, M, G or T; 0 is all of the node's"


def is_gres(text: str) -> str | None:
    return _all(_GRES, text.split(","), "expected NAME[:TYPE][:COUNT], for instance gpu:8 or gpu:mi300x:8")


def is_gpus(text: str) -> str | None:
    return _all(_GPUS, text.split(","), "expected a number, or TYPE:NUMBER such as mi300x:8")


def is_dependency(text: str) -> str | None:
    expected = "expected for instance afterok:123, afterany:123:124 or singleton; several are joined by commas"
    return _all(_DEPENDENCY, re.split("[,?]", text), expected)


def is_word(text: str) -> str | None:
    return None if text and not re.search(r"\s", text) else "expected one word, without spaces"


def is_text(text: str) -> str | None:
    return "is empty" if not text else None


def _all(pattern: re.Pattern[str], parts: list[str], expected: str) -> str | None:
    return None if all(pattern.fullmatch(part) for part in parts) else expected
