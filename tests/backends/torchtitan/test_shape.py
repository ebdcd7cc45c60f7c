"""The shape of a torchtitan model: what its sizes say; tests/real/metrics holds the FLOPs against the real model's."""

from __future__ import annotations

import pytest

from primus.backends.torchtitan.flavors import families
from primus.backends.torchtitan.shape import shape_of
from primus.metrics.shape import Attention


def flavor(family, name, **changes):
    return shape_of(family, {**families()[family].flavors[name], **changes}, sequence=4096)


def test_every_family_has_a_shape():
    for family, row in families().items():
        for name in row.flavors:
            assert flavor(family, name).sequence == 4096


def test_llama3():
    found = flavor("llama3", "8B")
    assert found.attention == Attention(heads=32, key_value_heads=8, head_size=128)
    assert (len(found.layers), found.hidden, found.feed_forward, found.vocabulary) == (32, 4096, 14336, 128256)


def test_llama4_takes_turns_between_dense_layers_and_experts():
    found = flavor("llama4", "17bx128e")
    assert [layer.experts for layer in found.layers[:4]] == [False, True, False, True]
    assert (found.experts.count, found.experts.active, found.experts.size) == (128, 1, 8192)


@pytest.mark.parametrize(("attention", "window"), [("flex", 8192), ("sdpa", None)])
def test_llama4_keeps_to_blocks_only_with_flex_attention(attention, window):
    found = flavor("llama4", "17bx16e_irope", attn_type=attention)
    assert [layer.window for layer in found.layers[:5]] == [None, window, window, window, None]


def test_deepseek_begins_with_dense_layers():
    found = flavor("deepseek_v3", "671B")
    assert [layer.experts for layer in found.layers].index(True) == 3
    assert found.attention.query_rank == 1536
    assert flavor("deepseek_v3", "16B").attention.query_rank is None


def test_qwen3_may_share_the_embedding():
    assert flavor("qwen3", "0.6B").tied
    assert flavor("qwen3", "235B-A22B").experts.active == 8


def test_gpt_oss_has_a_window_in_every_second_layer():
    assert [layer.window for layer in flavor("gpt_oss", "20b").layers[:4]] == [128, None, 128, None]
