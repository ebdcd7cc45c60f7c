"""docs/doctor.md says what the code does. PRIMUS_WRITE_DOCS=1 writes its tables of findings and of factors."""

from __future__ import annotations

import re
from pathlib import Path

from primus.doctor.finding import EXIT_STATUS
from primus.doctor.host import CHECKS, FOLDER_SECONDS
from primus.doctor.outliers import DEVIATIONS, FEWEST, SHARE
from primus.doctor.plan import BUS, SIZES, STEP_SECONDS
from primus.doctor.rules import RULES
from primus.doctor.session import _PATIENCE

PAGE = Path(__file__).parents[2] / "docs/doctor.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_code(assert_tables):
    assert_tables(
        PAGE,
        {
            "| finding | severity | remedy |": lambda: [
                f"| `{rule.name}` | {rule.severity} | {rule.remedy} |" for rule in RULES
            ],
            "| operation | factor |": lambda: [f"| `{name}` | {factor} |" for name, factor in BUS.items()],
        },
    )


def test_the_checks_and_their_limits_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", TEXT, re.MULTILINE)
    assert rows == [(name, f"{check.seconds:.0f}") for name, check in CHECKS.items()]
    assert f"each with {FOLDER_SECONDS:.0f} seconds at most" in TEXT


def test_the_numbers_are_those_of_the_code():
    statuses = re.findall(r"^\| (\d+) \| (?:fine|at least one (\w+))", TEXT, re.MULTILINE)
    assert {name or "note": int(status) for status, name in statuses} == {
        severity: status for severity, status in EXIT_STATUS.items() if severity
    }
    assert f"longer than {STEP_SECONDS[False]:.0f} seconds ({STEP_SECONDS[True]:.0f} with `--full`" in TEXT
    assert f"nothing for {_PATIENCE:.0f} seconds" in TEXT
    assert (DEVIATIONS, SHARE, FEWEST) == (4, 0.05, 4)
    assert {sizes.pair_rounds for (_, full), sizes in SIZES.items() if not full} == {3}
