"""What a step moves in each process group is what we say, in real trainings of tiny models in 2 and 4 processes over
gloo. docs/estimate.md shows all layouts: PRIMUS_WRITE_DOCS=1 measures and writes them, without it some are measured."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/estimate.md"

TOLERANCE = 0.03
ROUTED = 0.06
"""For what depends on the router, which does not choose all experts as often."""

OTHER = 0.01
"""Of what moves in any group: losses, norms of gradients, counts of tokens."""


@pytest.mark.parametrize("backend", ["megatron", "torchtitan"])
def test_groups_move_what_we_say(backend, measure, write, tmp_path):
    extent = "all" if os.environ.get("PRIMUS_WRITE_DOCS") else "few"
    rows = measure(f"traffic_{backend}.py", str(tmp_path), extent)
    trained = [row for row in rows if "real" in row]
    if extent == "all":
        write(f"### Communication, {backend}", [line(row) for row in rows])
    assert not [row for row in trained if abs(row["ours"] / row["real"] - 1) > (ROUTED if routed(row) else TOLERANCE)]
    assert not [row for row in trained if row["other"] > OTHER * row["real"]]
    shown = shown_rows()
    for row in rows:
        moved, ours = shown[row["case"], str(row["ranks"]), row["group"]]
        assert ours == f"{row['ours']:,}"
        assert row not in trained or routed(row) or moved == f"{row['real']:,}"


def routed(row):
    return row["group"].startswith("expert")


def line(row):
    error = row["ours"] / row["real"] - 1
    facts = (row["case"], row["ranks"], row["group"], f"{row['real']:,}", f"{row['ours']:,}", f"{error:+.2%}")
    return f"| {' | '.join(map(str, facts))} |"


def shown_rows():
    """Layout, ranks and group → what moved, and what is estimated, as the page has them."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("### Communication, megatron") : text.index("### Activations, megatron")]
    cells = [each.strip("| ").split(" | ") for each in section.splitlines() if each.startswith("| ")]
    return {tuple(row[:3]): (row[3], row[4]) for row in cells}
