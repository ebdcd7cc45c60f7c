from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """Everything that a package needs here with some of its extras, and what that needs in turn."""
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    found = set()
    try:
        requirements = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:  # an extra that is not installed
        return set()
    for one in requirements:
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            other = canonicalize_name(one.name)
            found.add(other)
            if other != "torch":  # a build for GPUs needs a lot of its own
                found |= needed(other, frozenset(one.extras), seen)
    return found


def test_every_package_that_gets_installed_is_pinned() -> None:
    lines = (ROOT / "constraints" / "cpu.txt").read_text().splitlines()
    pinned = {canonicalize_name(re.split(r"==", line)[0]) for line in lines if "==" in line}

    missing = needed("primus", frozenset(["dev"]), set()) - pinned - {"primus", "setuptools"}

    assert not missing, f"add to constraints/cpu.txt: {', '.join(sorted(missing))}"


def test_every_pin_is_one_exact_version() -> None:
    for line in (ROOT / "constraints" / "cpu.txt").read_text().splitlines():
        assert re.fullmatch(r"|#.*|[a-z0-9-]+==[0-9a-z.]+(; python_version (<|>=) \"3\.11\")?", line), line
