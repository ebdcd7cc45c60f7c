"""What the tests of the Megatron backend share: a small valid experiment to change, and the checked-in schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.checks.rule import Facts, Rule
from primus.experiment import Experiment, Schema, load

TINY = {
    "num_layers": 4,
    "hidden_size": 64,
    "ffn_hidden_size": 128,
    "num_attention_heads": 4,
    "seq_length": 64,
    "max_position_embeddings": 64,
    "position_embedding_type": "rope",
    "swiglu": True,
    "add_bias_linear": False,
    "tokenizer_type": "ByteTokenizer",
    "mock_data": True,
    "micro_batch_size": 2,
    "global_batch_size": 8,
    "train_iters": 20,
    "lr": 1.0e-3,
}
"""A model without experts, on mock data."""


@pytest.fixture(scope="session")
def schema() -> Schema:
    return BACKEND.schema()


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Experiment]:
    """Load `exp.yaml` with the tiny model's keys, changed as asked; a key that is None is left out."""
    monkeypatch.chdir(tmp_path)

    def build(**changes: Any) -> Experiment:
        values = {key: value for key, value in {**TINY, **changes}.items() if value is not None}
        lines = "".join(f"      {key}: {json.dumps(value)}\n" for key, value in values.items())
        header = "modules:\n  pre_trainer:\n    framework: megatron\n    overrides:\n"
        Path("exp.yaml").write_text(header + lines, encoding="utf-8")
        return load("exp.yaml", environ={})

    return build


class Watched(Facts):
    """Facts that remember which keys were asked for."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts._experiment, facts._schema, facts._resources)
        self.seen: set[str] = set()

    def value(self, key: str) -> Any:
        self.seen.add(key)
        return super().value(key)


@pytest.fixture
def prove() -> Callable[[tuple[Rule, ...], list[Facts]], None]:
    """Each of the rules is broken by some of these facts, and reads no key that it does not name."""

    def prove(rules: tuple[Rule, ...], cases: list[Facts]) -> None:
        broken: set[int] = set()
        for facts in cases:
            for index, rule in enumerate(rules):
                watched = Watched(facts)
                if rule.when(watched):
                    broken.add(index)
                    rule.problem(watched)
                assert watched.seen <= set(rule.keys), rule
        assert [rule for index, rule in enumerate(rules) if index not in broken] == []

    return prove
