"""What an experiment can't do without."""

from __future__ import annotations

from collections.abc import Iterator

from primus.backends.megatron.checks.rule import Facts
from primus.errors import Problem

KEYS = ("num_layers", "hidden_size", "num_attention_heads", "seq_length", "micro_batch_size", "train_iters", "lr")
"""Keys without a useful default. A model preset sets the first three."""

CHOICES = (
    (("mock_data", "data_path", "train_data_path"), "no data: set data_path, train_data_path, or mock_data: true"),
    (
        ("tokenizer_type", "tokenizer_model"),
        "no tokenizer: set tokenizer_type to NullTokenizer or ByteTokenizer, or tokenizer_model to a folder with "
        "tokenizer.json",
    ),
)
"""Keys of which one must be set, and what to say without."""


def missing(facts: Facts, unusable: frozenset[str]) -> Iterator[Problem]:
    """A problem for everything that is not there."""
    for key in KEYS:
        if not facts.given(key):
            yield Problem(where=facts.place(key), key=key, message="is not set, and Megatron has no default for it.")
    for keys, say in CHOICES:
        if unusable.isdisjoint(keys) and not any(facts[key] for key in keys):
            yield Problem(where=facts.place(keys[0]), key=keys[0], message=f"{say}.")
