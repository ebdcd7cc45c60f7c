"""The real GPTModel of every model preset, built on the meta device, has the published number of parameters, the
shapes of the model card, and the settings of the preset."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.keys import ROUTES
from primus.backends.megatron.parameters import complete_values, count_parameters
from primus.experiment.load import load_preset
from primus.experiment.paths import shipped

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
CARDS = json.loads((HERE.parents[1] / "configs/model_cards.json").read_text())
SEQUENCE, BATCH = 16, 2
"""As in build_models.py."""

ELSEWHERE = {"moe_layer_freq", "moe_grouped_gemm"}
"""A pattern, which shows in the layers; and what the CPU has no kernel for."""

SMALL = {"num_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 32}
MIXTURE = SMALL | {"swiglu": True, "add_bias_linear": False, "num_experts": 4, "moe_router_topk": 2}
LATENT = SMALL | {"multi_latent_attention": True, "kv_lora_rank": 16, "qk_head_dim": 8, "v_head_dim": 16}
UNUSUAL = {
    "GPT-2": SMALL,
    "untied, without biases": SMALL | {"untie_embeddings_and_output_weights": True, "add_bias_linear": False},
    "rotary, gated, default width": SMALL | {"position_embedding_type": "rope", "swiglu": True},
    "quick GELU, RMS norm": SMALL | {"quick_geglu": True, "normalization": "RMSNorm", "ffn_hidden_size": 96},
    "wide heads in groups": SMALL | {"kv_channels": 32, "group_query_attention": True, "num_query_groups": 2},
    "biases of queries, keys and values": SMALL | {"add_bias_linear": False, "add_qkv_bias": True},
    "norms of queries and keys": SMALL | {"qk_layernorm": True},
    "gate on the attention": SMALL | {"attention_output_gate": True},
    "experts in every other layer": MIXTURE | {"moe_layer_freq": "[0]+[1]", "moe_ffn_hidden_size": 32},
    "shared expert with a gate": MIXTURE | {"moe_shared_expert_intermediate_size": 48, "moe_shared_expert_gate": True},
    "latent attention without norms": LATENT | {"qk_pos_emb_head_dim": 8, "kv_channels": 16},
    "latent attention with latent queries": LATENT | {"q_lora_rank": 24, "qk_layernorm": True, "kv_channels": 16},
    "two more tokens predicted": MIXTURE | {"position_embedding_type": "rope", "mtp_num_layers": 2},
}
"""Models that no preset has, each with a part that the count must know."""

models = pytest.mark.parametrize("name", CARDS)


@pytest.fixture(scope="module")
def built():
    """What build_models.py found in each model, by name."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(HERE / "build_models.py"),
        *CARDS,
        *map(json.dumps, UNUSUAL.values()),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture
def model(built, name):
    return built[name]


def card(name):
    return CARDS[name]["config"]


def preset(name):
    return load_preset(shipped("models", "megatron")[name], "models", "megatron").plain()


@models
def test_the_model_takes_no_memory(model):
    assert model["device"] == ["meta"]


@models
def test_its_parameters_are_those_published(name, model):
    # The bias that balances experts is a buffer to Megatron, a parameter on the card.
    assert model["parameters"] + sum(model["expert_bias"][: experts(name)]) == CARDS[name]["parameters"]


@models
def test_the_count_from_the_keys_is_that_of_the_model(name, model):
    counted = count_parameters(complete_values(preset(name), BACKEND.schema()))
    bias, total = model["expert_bias"], experts(name)
    assert counted.total == model["parameters"] + sum(bias[:total])
    assert counted.multi_token_prediction == model["prediction"] + sum(bias[total:])


@pytest.mark.parametrize("name", UNUSUAL)
def test_the_count_knows_parts_that_no_preset_has(name, built):
    model = built[json.dumps(UNUSUAL[name])]
    counted = count_parameters(complete_values(UNUSUAL[name], BACKEND.schema()))
    assert (counted.total, counted.multi_token_prediction) == (model["parameters"], model["prediction"])


def experts(name):
    """The layers of the decoder that have a bias for experts."""
    config = card(name)
    return (
        config["num_hidden_layers"] - config["first_k_dense_replace"] if config.get("topk_method") == "noaux_tc" else 0
    )


@models
def test_dense_layers_come_first_and_layers_with_experts_after_them(name, model):
    config = card(name)
    layers, dense = config["num_hidden_layers"], config.get("first_k_dense_replace", 0)
    assert model["layers"] == [0] * dense + [min(dense, 1)] * (layers - dense)


@models
def test_every_weight_has_the_shape_of_the_card(name, model):
    config = card(name)
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    around = {"embedding.word_embeddings.weight": [vocab, hidden], "decoder.final_layernorm.weight": [hidden]}
    if not config["tie_word_embeddings"]:
        around["output_layer.weight"] = [vocab, hidden]
    outside = {key: shape for key, shape in model["shapes"].items() if not key.startswith("mtp.")}
    assert outside == around
    assert model["kinds"] == kinds(config)


@models
def test_queries_keys_and_values_have_the_shapes_of_the_card(name, model):
    config, found = card(name), model["attention"]
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    if "kv_lora_rank" in config:
        key = [SEQUENCE, BATCH, heads, config["qk_nope_head_dim"] + config["qk_rope_head_dim"]]
        expected = [key, key, [SEQUENCE, BATCH, heads, config["v_head_dim"]]]
    else:
        groups = [SEQUENCE, BATCH, config["num_key_value_heads"], head(config)]
        expected = [[SEQUENCE, BATCH, heads, head(config)], groups, groups]
    assert found["inputs"] == expected
    assert found["output"] == [SEQUENCE, BATCH, hidden]


@models
def test_attention_scores_are_scaled_as_on_the_card(name, model):
    config = card(name)
    if "kv_lora_rank" in config:
        scaling = config["rope_scaling"]
        stretch = 0.1 * scaling["mscale_all_dim"] * math.log(scaling["factor"]) + 1
        scale = stretch**2 / math.sqrt(config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
    else:
        scale = 1 / math.sqrt(head(config))
    assert model["attention"]["scale"] == pytest.approx(scale)


@models
def test_positions_turn_by_the_angles_of_the_card(name, model):
    assert model["rotation"]["angles"] == pytest.approx(angles(card(name)), rel=1e-5)
    assert model["rotation"]["factor"] == 1.0


@models
def test_every_key_of_the_preset_reaches_the_configuration(name, model):
    """Keys of the loop itself (the vocabulary, rotary_base …) show in the shapes and angles above."""
    found = model["transformer"]
    expected = {field(key): value for key, value in preset(name).items() if key not in ELSEWHERE}
    reached = {key: value for key, value in expected.items() if key in found}
    assert {key: found[key] for key in reached} == reached
    loop_only = {
        "vocab_size",
        "max_position_embeddings",
        "position_embedding_type",
        "untie_embeddings_and_output_weights",
        "swiglu",
        "group_query_attention",
        "use_rope_scaling",
        "rope_scaling_factor",
        "rotary_base",
    }
    assert expected.keys() - reached.keys() <= loop_only
    assert found["gated_linear_unit"]


def field(key):
    return ROUTES[key][0].field if key in ROUTES else key


def head(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def kinds(config):
    """The weights of each kind of layer, with Megatron's names."""
    hidden = config["hidden_size"]
    common = {"input_layernorm.weight": [hidden], "pre_mlp_layernorm.weight": [hidden], **attention(config)}
    count = config.get("num_local_experts") or config.get("num_experts") or config.get("n_routed_experts")
    dense = {"shapes": common | feed_forward("mlp.", hidden, config["intermediate_size"]), "experts": 0, "expert": []}
    if not count:
        return [dense]
    width = config.get("moe_intermediate_size", config["intermediate_size"])
    shapes = common | {"mlp.router.weight": [count, hidden]}
    if config.get("n_shared_experts"):
        shapes |= feed_forward("mlp.shared_experts.", hidden, config["n_shared_experts"] * width)
    sparse = {"shapes": shapes, "experts": count, "expert": [feed_forward("", hidden, width)]}
    return [dense, sparse] if config.get("first_k_dense_replace") else [sparse]


def feed_forward(prefix, hidden, width):
    return {f"{prefix}linear_fc1.weight": [2 * width, hidden], f"{prefix}linear_fc2.weight": [hidden, width]}


def attention(config):
    shapes = latent(config) if "kv_lora_rank" in config else grouped(config)
    return {f"self_attention.{key}": shape for key, shape in shapes.items()}


def grouped(config):
    hidden, query = config["hidden_size"], config["num_attention_heads"] * head(config)
    rows = query + 2 * config["num_key_value_heads"] * head(config)
    shapes = {"linear_qkv.weight": [rows, hidden], "linear_proj.weight": [hidden, query]}
    if config["model_type"] == "qwen2":
        shapes["linear_qkv.bias"] = [rows]
    if config["model_type"].startswith("qwen3"):
        shapes |= {"q_layernorm.weight": [head(config)], "k_layernorm.weight": [head(config)]}
    return shapes


def latent(config):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    rank, query_rank = config["kv_lora_rank"], config["q_lora_rank"]
    query = heads * (config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
    shapes = {
        "linear_kv_down_proj.weight": [rank + config["qk_rope_head_dim"], hidden],
        "kv_layernorm.weight": [rank],
        "linear_kv_up_proj.weight": [heads * (config["qk_nope_head_dim"] + config["v_head_dim"]), rank],
        "linear_proj.weight": [hidden, heads * config["v_head_dim"]],
    }
    if query_rank is None:
        return shapes | {"linear_q_proj.weight": [query, hidden]}
    return shapes | {
        "linear_q_down_proj.weight": [query_rank, hidden],
        "q_layernorm.weight": [query_rank],
        "linear_q_up_proj.weight": [query, query_rank],
    }


def angles(config):
    """Angles per token of the pairs of dimensions that are rotated, as the cards' own code works them out."""
    scaling, base = config.get("rope_scaling"), config["rope_theta"]
    size = config.get("qk_rope_head_dim") or head(config)
    plain = [base ** (-pair / size) for pair in range(0, size, 2)]
    if scaling is None:
        return plain
    return [llama3(angle, scaling) for angle in plain] if scaling.get("rope_type") else yarn(plain, size, base, scaling)


def llama3(angle, scaling):
    """Long waves are stretched by the factor, short ones left, and those between blended."""
    turns = scaling["original_max_position_embeddings"] * angle / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    share = min(1, max(0, (turns - low) / (high - low)))
    return share * angle + (1 - share) * angle / scaling["factor"]


def yarn(plain, size, base, scaling):
    """Pairs with many turns over the original length are left, those with few stretched, and those between blended."""

    def pair_with(turns):
        return (
            size * math.log(scaling["original_max_position_embeddings"] / (turns * 2 * math.pi)) / (2 * math.log(base))
        )

    first = max(0, math.floor(pair_with(scaling["beta_fast"])))
    last = min(size - 1, math.ceil(pair_with(scaling["beta_slow"])))
    shares = [min(1, max(0, (pair - first) / (last - first))) for pair in range(len(plain))]
    return [share * angle / scaling["factor"] + (1 - share) * angle for angle, share in zip(plain, shares, strict=True)]
