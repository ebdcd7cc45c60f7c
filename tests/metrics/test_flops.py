"""Hand-computed cases: every number of a small model is different, so that no two factors can be mistaken."""

import dataclasses

import pytest

from primus.metrics.flops import Flops, forward_flops, training_flops
from primus.metrics.shape import Attention, Experts, LatentAttention, Layer, ModelShape

DENSE = ModelShape(
    layers=(Layer(),) * 2,
    hidden=8,
    attention=Attention(heads=4, key_value_heads=4, head_size=3),
    feed_forward=20,
    gated=False,
    vocabulary=50,
    padded_vocabulary=64,
    tied=False,
    sequence=16,
)

EXPERTS = Experts(count=6, active=2, size=5)


def test_dense_model():
    assert forward_flops(DENSE) == Flops(
        # 2 layers: queries, keys and values 8 → 3 · 12, output 12 → 8.
        attention_projections=2 * (2 * 8 * (3 * 12) + 2 * 12 * 8),
        # 2 layers, 4 heads: a query times 16 keys of 3, 16 weights times values of 3.
        attention_scores=2 * 4 * (2 * 3 * 16 + 2 * 16 * 3),
        # 2 layers: 8 → 20 → 8.
        feed_forward=2 * (2 * 8 * 20 + 2 * 20 * 8),
        router=0,
        experts=0,
        # 8 → 50; the padding is not counted.
        output=2 * 8 * 50,
        prediction=0,
    )


def test_training_is_three_forward_passes():
    assert training_flops(DENSE) == 3 * (1536 + 1536 + 1280 + 800)


def test_gate_adds_a_third_matrix_to_the_feed_forward_part():
    gated = dataclasses.replace(DENSE, gated=True)
    # Up, gate and down.
    assert forward_flops(gated).feed_forward == 2 * (2 * 8 * 20 + 2 * 8 * 20 + 2 * 20 * 8)


def test_tied_embeddings_cost_the_same():
    assert forward_flops(dataclasses.replace(DENSE, tied=True)) == forward_flops(DENSE)


def test_grouped_queries_save_projections_and_nothing_else():
    grouped = dataclasses.replace(DENSE, attention=Attention(heads=4, key_value_heads=2, head_size=3))
    expected = dataclasses.replace(
        forward_flops(DENSE),
        # Queries 8 → 12, keys and values 8 → 6 each, output 12 → 8.
        attention_projections=2 * (2 * 8 * 12 + 2 * 2 * 8 * 6 + 2 * 12 * 8),
    )
    assert forward_flops(grouped) == expected


def test_gated_attention_projects_once_more():
    gated = dataclasses.replace(DENSE, attention=Attention(heads=4, key_value_heads=4, head_size=3, gated=True))
    assert forward_flops(gated).attention_projections == 2 * (2 * 8 * (4 * 12) + 2 * 12 * 8)


def test_latent_attention():
    latent = LatentAttention(heads=4, query_rank=7, key_value_rank=6, plain_size=3, rotary_size=2, value_size=5)
    flops = forward_flops(dataclasses.replace(DENSE, attention=latent))
    queries = 2 * 8 * 7 + 2 * 7 * (4 * (3 + 2))  # down to 7, up to 4 heads of 3 + 2
    keys_and_values = 2 * 8 * (6 + 2) + 2 * 6 * (4 * (3 + 5))  # down to 6 and the shared rotary 2, up to 4 · (3 + 5)
    out = 2 * (4 * 5) * 8
    assert flops.attention_projections == 2 * (queries + keys_and_values + out)
    assert flops.attention_scores == 2 * 4 * (2 * (3 + 2) * 16 + 2 * 16 * 5)
    assert flops.feed_forward == forward_flops(DENSE).feed_forward


def test_latent_attention_without_a_latent_query():
    latent = LatentAttention(heads=4, query_rank=None, key_value_rank=6, plain_size=3, rotary_size=2, value_size=5)
    flops = forward_flops(dataclasses.replace(DENSE, attention=latent))
    queries = 2 * 8 * (4 * (3 + 2))
    keys_and_values = 2 * 8 * (6 + 2) + 2 * 6 * (4 * (3 + 5))
    assert flops.attention_projections == 2 * (queries + keys_and_values + 2 * (4 * 5) * 8)


def test_experts():
    model = dataclasses.replace(DENSE, gated=True, layers=(Layer(), Layer(experts=True)), experts=EXPERTS)
    flops = forward_flops(model)
    # The first layer is dense; in the second, a router chooses 2 of 6 experts 8 → 5 → 8, each with a gate.
    assert flops.feed_forward == 2 * 3 * 8 * 20
    assert flops.router == 2 * 8 * 6
    assert flops.experts == 2 * (2 * 3 * 8 * 5)
    assert flops.attention_projections == forward_flops(DENSE).attention_projections


def test_shared_experts_and_their_gate():
    experts = dataclasses.replace(EXPERTS, shared_size=7, shared_gated=True)
    flops = forward_flops(dataclasses.replace(DENSE, layers=(Layer(experts=True),), experts=experts))
    # 2 of the routed experts 8 → 5 → 8, the shared one 8 → 7 → 8, its gate 8 → 1.
    assert flops.experts == 2 * (2 * 2 * 8 * 5) + 2 * 2 * 8 * 7 + 2 * 8


def test_experts_in_a_latent_space():
    experts = dataclasses.replace(EXPERTS, latent_size=3)
    flops = forward_flops(dataclasses.replace(DENSE, layers=(Layer(experts=True),), experts=experts))
    # 8 → 3, two experts 3 → 5 → 3, 3 → 8.
    assert flops.experts == 2 * 8 * 3 + 2 * (2 * 2 * 3 * 5) + 2 * 3 * 8


def test_multi_token_prediction_adds_a_projection_a_layer_and_logits_for_each_depth():
    flops = forward_flops(dataclasses.replace(DENSE, prediction_depths=3))
    projection = 2 * (2 * 8) * 8
    layer = (1536 + 1536 + 1280) // 2
    assert flops.prediction == 3 * (projection + layer + 2 * 8 * 50)
    assert dataclasses.replace(flops, prediction=0) == forward_flops(DENSE)


def test_multi_token_prediction_repeats_the_last_layer():
    model = dataclasses.replace(DENSE, layers=(Layer(), Layer(experts=True)), experts=EXPERTS, prediction_depths=1)
    layer = 1536 // 2 + 1536 // 2 + 2 * 8 * 6 + 2 * (2 * 2 * 8 * 5)
    assert forward_flops(model).prediction == 2 * (2 * 8) * 8 + layer + 2 * 8 * 50


def test_window_limits_what_a_token_sees():
    layers = (Layer(window=4), Layer(window=100))
    # 4 tokens in the first layer; the second one's window is longer than the sequence.
    assert forward_flops(dataclasses.replace(DENSE, layers=layers)).attention_scores == 4 * 2 * (2 * 3) * (4 + 16)


def test_layers_with_experts_need_the_experts():
    with pytest.raises(ValueError, match="has experts"):
        forward_flops(dataclasses.replace(DENSE, layers=(Layer(experts=True),)))
