"""A workspace for runs of every kind that a report may be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "output")
