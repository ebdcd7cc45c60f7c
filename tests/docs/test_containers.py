"""docs/containers.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from primus.launch.container.mounts import PATH_VARIABLES, PRIMUS
from primus.launch.container.request import RUNTIMES, default_image
from primus.launch.container.variables import NAMES, PREFIXES

PAGE = (Path(__file__).parents[2] / "docs/containers.md").read_text(encoding="utf-8")


def paragraph(begin: str) -> str:
    return next(each for each in PAGE.split("\n\n") if each.startswith(begin))


def test_every_prefix_of_a_variable_that_is_passed_is_named():
    named = set(re.findall(r"[A-Z_]+", paragraph("**Variables**")))
    assert not {prefix.rstrip("_") for prefix in PREFIXES} - named
    assert not {name for name in NAMES if name.isupper() and "PROXY" not in name and "CUDA" not in name} - named


def test_the_runtimes_and_the_image_are_those_of_the_code():
    assert f"`{default_image()}`" in PAGE
    assert ", ".join(f"`{name}`" for name in RUNTIMES).replace(", `apptainer`", " or `apptainer`") in PAGE
    assert f"`{PRIMUS}`" in PAGE


def test_paths_in_variables_that_are_named_are_mounted():
    named = set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", paragraph("**Folders**")))
    assert named <= set(PATH_VARIABLES)
