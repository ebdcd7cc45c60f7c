"""The bytes of activations that we work out are those that autograd really keeps, on tiny real models on a CPU.
docs/estimate.md shows what was measured; PRIMUS_WRITE_DOCS=1 writes it anew."""

import pytest

pytestmark = pytest.mark.real

TOLERANCE = 0.03


@pytest.mark.parametrize("backend", ["megatron", "torchtitan"])
def test_activations_are_what_autograd_keeps(backend, measure, write):
    rows = measure(f"activations_{backend}.py")
    write(f"### Activations, {backend}", [line(row) for row in rows])
    assert not [row for row in rows if abs(row["ours"] / row["real"] - 1) > TOLERANCE]
    assert len(rows) >= 40


def line(row):
    error = row["ours"] / row["real"] - 1
    sizes = f"{row['real']:,} | {row['ours']:,} | {error:+.2%}"
    return f"| {row['model']} | {row['recompute']} | {row['precision']} | {sizes} |"
