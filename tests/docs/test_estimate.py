"""docs/estimate.md shows the rates that the code has."""

from pathlib import Path

from primus.estimate.rates import EFFICIENCY, LINK_EFFICIENCY, LINKS, NETWORK
from primus.estimate.search import USABLE
from primus.metrics.accelerators import accelerators

PAGE = Path(__file__).parents[2] / "docs/estimate.md"


def link_rows():
    for name, link in LINKS.items():
        yield f"| {name} | {link.rate / 1e9:g} GB/s | {link.source} |"


def test_the_table_of_links_is_that_of_the_code(assert_tables):
    assert_tables(PAGE, {"| accelerator | one way | source |": link_rows})


def test_every_accelerator_has_links():
    assert list(LINKS) == [row.name for row in accelerators()]


def test_the_assumptions_of_the_text_are_those_of_the_code():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"{EFFICIENCY:.0%} of the accelerator's peak".replace("%", " %") in text
    assert f"{LINK_EFFICIENCY:.0%} of the links' in a node".replace("%", " %") in text
    assert f"of {NETWORK / 1e9:.0f} GB/s per GPU between nodes" in text
    assert USABLE == 0.9
    assert "nine tenths of the accelerator's memory" in text
