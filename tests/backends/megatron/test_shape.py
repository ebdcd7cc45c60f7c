"""The shape of a Megatron model: what its keys say; tests/real/metrics holds the FLOPs against the real model's."""

from __future__ import annotations

from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.parameters import complete_values
from primus.backends.megatron.shape import shape_of
from primus.metrics.shape import Attention, Experts, LatentAttention, ModelShape

SMALL = {"num_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 1000, "seq_length": 128}


def shape(**changes: Any) -> ModelShape:
    return shape_of(complete_values({**SMALL, **changes}, BACKEND.schema()))


def test_what_is_not_said_has_megatrons_defaults():
    small = shape()
    assert small.attention == Attention(heads=4, key_value_heads=4, head_size=16)
    assert (small.feed_forward, small.gated, small.experts, small.tied) == (256, False, None, True)
    assert (small.sequence, small.prediction_depths) == (128, 0)


def test_the_vocabulary_is_padded_for_the_layout():
    found = shape(tensor_model_parallel_size=2)
    assert (found.vocabulary, found.padded_vocabulary) == (1000, 1024)
    values = complete_values({**SMALL, "tensor_model_parallel_size": 2}, BACKEND.schema())
    assert shape_of(values, vocabulary=1025).padded_vocabulary == 1280


def test_grouped_queries_and_another_head_size():
    found = shape(group_query_attention=True, num_query_groups=2, kv_channels=24)
    assert found.attention == Attention(heads=4, key_value_heads=2, head_size=24)


def test_latent_attention():
    found = shape(multi_latent_attention=True, q_lora_rank=None, kv_lora_rank=32, v_head_dim=20)
    assert isinstance(found.attention, LatentAttention)
    assert (found.attention.key_value_rank, found.attention.value_size) == (32, 20)


def test_experts_stand_where_the_pattern_says():
    found = shape(
        num_experts=8,
        moe_layer_freq="([0]*1+[1]*3)",
        moe_router_topk=3,
        moe_ffn_hidden_size=48,
        moe_shared_expert_intermediate_size=96,
    )
    assert [layer.experts for layer in found.layers] == [False, True, True, True]
    assert found.experts == Experts(count=8, active=3, size=48, shared_size=96)


@pytest.mark.parametrize(
    ("skip", "windows"),
    [
        (None, [33, 33, 33, 33]),
        (2, [33, None, 33, None]),
        ("[1,0,0,1]", [33, None, None, 33]),
    ],
)
def test_windows_are_left_out_where_megatron_leaves_them_out(skip, windows):
    found = shape(window_size=[32, 0], window_attn_skip_freq=skip)
    assert [layer.window for layer in found.layers] == windows


def test_a_window_without_limit_is_none():
    assert {layer.window for layer in shape(window_size=[-1, 0]).layers} == {None}
