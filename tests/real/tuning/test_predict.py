"""The multiplications that we predict are those that the real models execute, forward and backward, one by one.

Exceptions: how many tokens each expert gets is the router's choice, so for experts the kinds of products and the
tokens of all together are compared. On a CPU attention is unfused in megatron.core, and its batched products are
compared, too; in torchtitan it is one kernel, but torch's for CPUs does not take the two sizes of latent attention's
heads and multiplies, which is left out here.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rank_scripts import run_ranks

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
MODELS = {
    ("record_megatron.py", 1): (
        *("dense", "biases", "tied", "grouped queries, gated", "latent attention", "latent attention, plain queries"),
        *("experts", "shared experts", "multi-token prediction", "everything"),
        *("one layer recomputed", "attention recomputed", "parts recomputed"),
    ),
    ("record_megatron.py", 2): (
        *("dense", "grouped queries, gated", "latent attention", "sequence parallel", "experts", "expert parallel"),
        "multi-token prediction",
    ),
    ("record_torchtitan.py", 1): (
        *("llama3", "llama3, every second layer recomputed", "llama3, recomputed", "llama3, recomputed by operation"),
        *("deepseek_v3", "qwen3", "qwen3, experts"),
    ),
    ("record_torchtitan.py", 2): ("llama3",),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Any]:
    return {
        (script, world): json.loads(run_ranks(HERE / script, world, str(tmp_path_factory.mktemp("store") / "store"))[0])
        for script, world in MODELS
    }


@pytest.mark.parametrize(
    ("script", "world", "name"), [(*each, name) for each, names in MODELS.items() for name in names]
)
def test_predicted_products_are_those_that_are_executed(recorded, script, world, name):
    found = recorded[script, world][name]
    executed = Counter(found["executed"])
    executed.pop("nothing", None)
    if script == "record_torchtitan.py":
        executed = Counter({text: calls for text, calls in executed.items() if text.endswith(" x1")})
    experts = {without_tokens(text) for text in found["experts"]}
    exact = Counter({text: calls for text, calls in executed.items() if without_tokens(text) not in experts})
    assert exact == Counter(found["exact"])
    chosen = {text: calls for text, calls in executed.items() if text not in exact}
    assert tokens_by_kind(chosen) == tokens_by_kind(found["experts"])


def test_every_model_is_compared(recorded):
    assert {each: tuple(found) for each, found in recorded.items()} == MODELS


def split(text: str) -> tuple[str, int]:
    """A product of an expert without its number of tokens, which are n columns, or summed over for a weight."""
    letters, m, n, k, batch = text.split()
    kept, tokens = ((m, n), k) if letters == "NT" else ((m, k), n)
    return " ".join((letters, *kept, batch)), int(tokens)


def without_tokens(text: str) -> str:
    return split(text)[0]


def tokens_by_kind(products: dict[str, int]) -> Counter[str]:
    total: Counter[str] = Counter()
    for text, calls in products.items():
        kind, tokens = split(text)
        total[kind] += tokens * calls
    return total
