"""Weights, gradients and optimizer state are, to the byte, those of the objects that megatron.core and torchtitan
build, on every rank of all layouts of their tests. docs/estimate.md shows it; PRIMUS_WRITE_DOCS=1 writes it anew."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.real

KINDS = ("weights", "gradients", "optimizer")


@pytest.mark.parametrize("backend", ["megatron", "torchtitan"])
def test_bytes_are_those_of_the_real_objects(backend, measure, write, tmp_path):
    rows = measure(f"objects_{backend}.py", str(tmp_path))
    assert not [row for row in rows if row["real"] != row["ours"]]
    # What is shown for a stage is what its fullest rank has; by the numbers of ranks, one of them is here.
    for row in rows:
        assert all(row["real"][kind] <= row["shown"][kind] for kind in KINDS)
    write(f"### Weights, gradients, optimizer, {backend}", lines(rows))


def test_real_processes_hold_what_the_page_says(measure):
    """The page's sizes are of torch's fake process groups."""
    name = "Mixtral: expert 2 × data 2, weights gathered early"
    real = measure("objects_gloo.py", name)
    page = (Path(__file__).parents[3] / "docs/estimate.md").read_text(encoding="utf-8")
    assert f"| {name} | 4 | {' | '.join(spans([{'real': sizes} for sizes in real]))} | 0 |" in page


def lines(rows):
    cases = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    return [f"| {name} | {len(ranks)} | {' | '.join(spans(ranks))} | 0 |" for name, ranks in cases.items()]


def spans(ranks):
    for kind in KINDS:
        sizes = sorted({row["real"][kind] for row in ranks})
        yield f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} – {sizes[-1]:,}"
