"""What the tests of the guide's pages share: tables that are made by the code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

Rows = Callable[[], Iterable[str]]


@pytest.fixture
def assert_tables() -> Callable[[Path, Mapping[str, Rows]], None]:
    """Fails when a table of a page, known by its header, has other rows; with PRIMUS_WRITE_DOCS=1 it gets them."""

    def look(page: Path, tables: Mapping[str, Rows]) -> None:
        text = made = page.read_text(encoding="utf-8")
        for header, rows in tables.items():
            columns = header.count("|") - 1
            table = "\n".join([header, "|" + "---|" * columns, *rows(), ""])
            made = re.sub(rf"^{re.escape(header)}\n(?:\|.*\n)+", table.replace("\\", "\\\\"), made, flags=re.MULTILINE)
        if os.environ.get("PRIMUS_WRITE_DOCS"):
            page.write_text(made, encoding="utf-8")
        assert text == made
        assert all(header in text for header in tables)

    return look
