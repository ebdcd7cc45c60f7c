"""Every Megatron model preset says what the public model card says, and counts as many parameters as were published.

model_cards.json holds the architectural part of each card's config.json and the number of parameters published with
the weights (`stored_parameters` where the file stores the embedding twice).
"""

import json
from pathlib import Path

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.parameters import complete_values, count_parameters
from primus.backends.megatron.patterns import expand_pattern
from primus.experiment.load import load_preset
from primus.experiment.paths import shipped

CARDS = json.loads(Path(__file__).with_name("model_cards.json").read_text())
ALIASES = {"mixtral_8x7B_v0.1": "mixtral_8x7B", "mixtral_8x22B_v0.1": "mixtral_8x22B"}
"""Presets under the names of the original."""

EXECUTION = {"moe_token_dispatcher_type": "alltoall", "moe_grouped_gemm": True}
"""How, not what: keys of the presets with experts that no card speaks of."""

models = pytest.mark.parametrize("name", [*CARDS, *ALIASES])


def preset(name):
    return load_preset(shipped("models", "megatron")[name], "models", "megatron").plain()


def values(name):
    return complete_values(preset(name), BACKEND.schema())


def card(name):
    return CARDS[ALIASES.get(name, name)]


def test_every_model_preset_has_a_card():
    ours = {
        name for name in shipped("models", "megatron") if not name.endswith("_base") and not name.startswith("tiny")
    }
    assert ours == CARDS.keys() | ALIASES.keys()


@models
def test_the_preset_says_what_the_card_says(name):
    found, expected = values(name), expected_values(card(name)["config"])
    assert {key: found[key] for key in expected} == expected


@models
def test_no_key_of_the_preset_goes_unchecked(name):
    config = card(name)["config"]
    execution = EXECUTION if experts_of(config) else {}
    assert {key: preset(name)[key] for key in execution} == execution
    assert preset(name).keys() - execution.keys() <= expected_values(config).keys()


@models
def test_the_parameters_are_those_published(name):
    counted = count_parameters(values(name))
    assert counted.total == card(name)["parameters"] == published(card(name)["config"])


@models
def test_a_published_file_with_two_copies_of_the_embedding_agrees(name):
    config, found = card(name)["config"], count_parameters(values(name))
    copies = config["vocab_size"] * config["hidden_size"] if "stored_parameters" in card(name) else 0
    assert found.total + copies == card(name).get("stored_parameters", card(name)["parameters"])


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("mixtral_8x7B", 12.9),
        ("mixtral_8x22B", 39),
        ("qwen3_30B_A3B", 3.3),
        ("qwen3_235B_A22B", 22),
        ("deepseek_v2_lite", 2.4),
        ("deepseek_v2", 21),
        ("deepseek_v3", 37),
    ],
)
def test_the_active_parameters_round_to_what_the_authors_say(name, billions):
    """DeepSeek leaves out the embedding, or the output layer, when it counts active parameters; the others don't."""
    counted = count_parameters(values(name))
    smallest = counted.active - counted.embedding
    assert smallest / 1e9 - 0.5 <= billions <= counted.active / 1e9 + 0.5


@models
def test_a_dense_model_uses_all_its_parameters(name):
    counted = count_parameters(values(name))
    assert (counted.active == counted.total) == (values(name)["num_experts"] is None)


def expected_values(config):
    """The card in Megatron's words."""
    heads, kind = config["num_attention_heads"], config["model_type"]
    latent = kind.startswith("deepseek")
    expected = {
        "num_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "ffn_hidden_size": config["intermediate_size"],
        "num_attention_heads": heads,
        "vocab_size": config["vocab_size"],
        "max_position_embeddings": config["max_position_embeddings"],
        "norm_epsilon": config["rms_norm_eps"],
        "normalization": "RMSNorm",
        "rotary_base": config["rope_theta"],
        "rotary_percent": 1.0,
        "rotary_interleaved": False,
        "position_embedding_type": "rope",
        "untie_embeddings_and_output_weights": not config["tie_word_embeddings"],
        "attention_dropout": config["attention_dropout"],
        "hidden_dropout": 0.0,
        "init_method_std": config["initializer_range"],
        "swiglu": config["hidden_act"] == "silu",
        "add_bias_linear": config.get("mlp_bias", False),
        "add_qkv_bias": kind == "qwen2",
        "qk_layernorm": latent or kind.startswith("qwen3"),
        "multi_latent_attention": latent,
        "mtp_num_layers": config.get("num_nextn_predict_layers"),
        **(latent_attention(config) if latent else grouped_attention(config)),
        **(mixture(config) if experts_of(config) else {"num_experts": None}),
    }
    return expected | rope_scaling(config)


def grouped_attention(config):
    heads, key_value = config["num_attention_heads"], config["num_key_value_heads"]
    grouped = heads != key_value
    groups = {"num_query_groups": key_value} if grouped else {}
    width = {"kv_channels": config["head_dim"]} if config["model_type"].startswith("qwen3") else {}
    # Where the preset leaves the width of a head to Megatron, it is the hidden size over the heads.
    assert width or config.get("head_dim", config["hidden_size"] // heads) * heads == config["hidden_size"]
    return {"group_query_attention": grouped, **groups, **width}


def latent_attention(config):
    return {
        "q_lora_rank": config["q_lora_rank"],
        "kv_lora_rank": config["kv_lora_rank"],
        "qk_head_dim": config["qk_nope_head_dim"],
        "qk_pos_emb_head_dim": config["qk_rope_head_dim"],
        "v_head_dim": config["v_head_dim"],
        "kv_channels": config["v_head_dim"],
        "group_query_attention": False,
    }


def rope_scaling(config):
    scaling = config.get("rope_scaling")
    if scaling is None:
        return {"use_rope_scaling": False}
    if scaling.get("rope_type") == "llama3":
        return {"use_rope_scaling": True, "rope_scaling_factor": scaling["factor"]}
    assert scaling["type"] == "yarn"
    return {
        "use_rope_scaling": False,
        "rope_type": "yarn",
        "rotary_scaling_factor": scaling["factor"],
        **{key: scaling[key] for key in scaling if key not in ("type", "factor")},
    }


def mixture(config):
    softmax = config.get("scoring_func", "softmax") == "softmax"
    scaling = config.get("routed_scaling_factor", 1.0)
    groups = config.get("n_group", 1) > 1
    shared = config.get("n_shared_experts")
    latent = {"moe_layer_freq": freq(config)} if "first_k_dense_replace" in config else {}
    return {
        "num_experts": experts_of(config),
        "moe_router_topk": config["num_experts_per_tok"],
        "moe_ffn_hidden_size": config.get("moe_intermediate_size", config["intermediate_size"]),
        "moe_shared_expert_intermediate_size": shared and shared * config["moe_intermediate_size"],
        "moe_shared_expert_gate": False,
        "moe_router_score_function": config.get("scoring_func", "softmax"),
        # Softmax over the chosen experts is softmax over all, scaled to a sum of one. Sigmoid is always scaled so.
        "moe_router_pre_softmax": softmax and not config.get("norm_topk_prob", True),
        "moe_router_topk_scaling_factor": None if scaling == 1.0 else scaling,
        "moe_router_num_groups": config["n_group"] if groups else None,
        "moe_router_group_topk": config["topk_group"] if groups else None,
        "moe_router_enable_expert_bias": config.get("topk_method") == "noaux_tc",
        # Of the paper; config.json has none.
        "moe_router_bias_update_rate": 0.001,
        "moe_router_load_balancing_type": "seq_aux_loss" if config.get("seq_aux") else "aux_loss",
        "moe_aux_loss_coeff": config.get("router_aux_loss_coef", config.get("aux_loss_alpha")),
        # The public code of all but Mixtral computes the scores in float32.
        "moe_router_dtype": None if config["model_type"] == "mixtral" else "fp32",
        **latent,
    }


def freq(config):
    dense, layers = config["first_k_dense_replace"], config["num_hidden_layers"]
    text = f"([0]*{dense}+[1]*{layers - dense})"
    assert expand_pattern(text, layers) == [0] * dense + [1] * (layers - dense)
    return text


def experts_of(config):
    return config.get("num_local_experts") or config.get("num_experts") or config.get("n_routed_experts")


def published(config):
    """The parameters of the checkpoint that a card describes, tensor by tensor as it stores them."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    dense = 3 * hidden * config["intermediate_size"]
    total = vocab * hidden * (1 if config["tie_word_embeddings"] else 2) + hidden
    for layer in range(config["num_hidden_layers"]):
        sparse = experts_of(config) and layer >= config.get("first_k_dense_replace", 0)
        total += 2 * hidden + stored_attention(config) + (stored_mixture(config) if sparse else dense)
    return total


def stored_attention(config):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if "kv_lora_rank" in config:
        rotated, latent = config["qk_rope_head_dim"], config["kv_lora_rank"]
        q_head, rank = config["qk_nope_head_dim"] + rotated, config["q_lora_rank"]
        q = hidden * heads * q_head if rank is None else hidden * rank + rank + rank * heads * q_head
        kv_a = hidden * (latent + rotated) + latent
        kv_b = latent * heads * (config["qk_nope_head_dim"] + config["v_head_dim"])
        return q + kv_a + kv_b + heads * config["v_head_dim"] * hidden
    head = config.get("head_dim", hidden // heads)
    q, kv = heads * head, config["num_key_value_heads"] * head
    bias = q + 2 * kv if config["model_type"] == "qwen2" else 0
    norms = 2 * head if config["model_type"].startswith("qwen3") else 0
    return hidden * q + 2 * hidden * kv + q * hidden + bias + norms


def stored_mixture(config):
    hidden, count = config["hidden_size"], experts_of(config)
    width = config.get("moe_intermediate_size", config["intermediate_size"])
    gate = hidden * count + (count if config.get("topk_method") == "noaux_tc" else 0)
    return gate + 3 * hidden * width * (count + config.get("n_shared_experts", 0))
