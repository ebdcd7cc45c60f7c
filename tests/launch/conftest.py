"""Parts of the file systems of machines that are not here, kept as text in trees/."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

import pytest

TREES = Path(__file__).parent / "trees"


@pytest.fixture
def tree(tmp_path):
    """`tree("no_rdma")` makes that machine's files and returns their root."""

    def plant(name: str) -> Path:
        root = tmp_path / name
        for path, target, content in entries((TREES / f"{name}.txt").read_text()):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if target:
                (root / path).symlink_to(target)
            else:
                (root / path).write_text(content)
        return root

    return plant


def entries(text):
    """Each file as path, target of the link, content. A line is `path`, `path = content` or `path -> target`; lines
    indented below a path are its content. After `[n=0..7 bus=05,26,46]` every line stands for one file per value."""
    rows = [{}]
    found = []
    for block in re.findall(r"^[^#\s].*\n(?:    .*\n)*", text, re.MULTILINE):
        if block.startswith("["):
            rows = list(values(block.strip()[1:-1]))
            continue
        head, *indented = block.splitlines()
        path, sign, rest = re.fullmatch(r"(\S+)(?: (=|->) (.*))?", head).groups()
        lines = indented or ([rest] if sign == "=" else [])
        for row in rows:
            content = "".join(f"{line.strip()}\n" for line in lines)
            target = rest if sign == "->" else ""
            found.append(tuple(Template(part).substitute(row) for part in (path, target, content)))
    return found


def values(header):
    columns = {}
    for word in header.split():
        name, given = word.split("=")
        ends = given.split("..")
        columns[name] = [*map(str, range(int(ends[0]), int(ends[1]) + 1))] if len(ends) == 2 else given.split(",")
    rows = list(zip(*columns.values(), strict=True)) if columns else [()]
    return [dict(zip(columns, row, strict=True)) for row in rows]
