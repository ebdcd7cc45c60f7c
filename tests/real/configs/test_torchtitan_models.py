"""The real torchtitan model of every flavor has the parameters that are counted from its sizes; those of public models
have the published number, and the sizes of the model card."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from primus.backends.torchtitan.flavors import families
from primus.backends.torchtitan.parameters import count_parameters
from primus.backends.torchtitan.shape import shape_of

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
CARDS = json.loads((HERE.parents[1] / "configs/model_cards.json").read_text())

FLAVORS = [f"{name}/{flavor}" for name, family in families().items() for flavor in family.flavors]
PUBLIC = {
    "llama3/8B": "llama3.1_8B",
    "llama3/70B": "llama3.1_70B",
    "llama3/405B": "llama3.1_405B",
    "deepseek_v3/16B": "deepseek_v2_lite",
    "deepseek_v3/236B": "deepseek_v2",
    "deepseek_v3/671B": "deepseek_v3",
    **{f"qwen3/{size}": f"qwen3_{size}" for size in ("0.6B", "1.7B", "4B", "8B", "14B", "32B")},
    "qwen3/30B-A3B": "qwen3_30B_A3B",
    "qwen3/235B-A22B": "qwen3_235B_A22B",
}
"""The card of each flavor that is a public model."""

OWN = {
    ("qwen3/235B-A22B", "rope_theta"): 5e6,
    **{(f"deepseek_v3/{size}", "norm_eps"): 1e-5 for size in ("16B", "236B", "671B")},
    ("deepseek_v3/16B", "mscale"): 0.7,
    ("deepseek_v3/236B", "mscale"): 1.0,
}
"""Where torchtitan's flavors differ from the card; docs/models.md says so."""


@pytest.fixture(scope="module")
def built():
    """What build_torchtitan.py found in each model."""
    command = [sys.executable, "-W", "ignore", str(HERE / "build_torchtitan.py"), *FLAVORS]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


def sizes(name):
    family, flavor = name.split("/")
    return families()[family].flavors[flavor]


@pytest.mark.parametrize("name", FLAVORS)
def test_the_count_from_the_sizes_is_that_of_the_model(name, built):
    counted = count_parameters(name.split("/")[0], sizes(name))
    assert built[name]["device"] == ["meta"]
    assert counted.total == built[name]["parameters"]
    assert counted.largest_layer == max(built[name]["layers"])


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_model_has_the_published_parameters(name, built):
    card = CARDS[PUBLIC[name]]
    # DeepSeek-V3's card counts the bias that balances experts; it is a buffer to torchtitan.
    bias = built[name]["expert_bias"] if card["config"].get("topk_method") == "noaux_tc" else 0
    assert built[name]["parameters"] + bias == card["parameters"]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_model_has_the_shape_of_its_card(name):
    found, config = shape_of(name.split("/")[0], sizes(name), sequence=1), CARDS[PUBLIC[name]]["config"]
    assert len(found.layers) == config["num_hidden_layers"]
    assert found.hidden == config["hidden_size"]
    assert found.attention.heads == config["num_attention_heads"]
    assert found.vocabulary == config["vocab_size"]
    assert found.tied == config["tie_word_embeddings"]
    assert sizes(name)["rope_theta"] == OWN.get((name, "rope_theta"), config["rope_theta"])
    if "kv_lora_rank" in config:
        assert found.attention.query_rank == config["q_lora_rank"]
        assert found.attention.key_value_rank == config["kv_lora_rank"]
        assert found.attention.plain_size == config["qk_nope_head_dim"]
        assert found.attention.rotary_size == config["qk_rope_head_dim"]
        assert found.attention.value_size == config["v_head_dim"]
    else:
        assert found.attention.key_value_heads == config["num_key_value_heads"]
        assert found.attention.head_size == config.get("head_dim", config["hidden_size"] // found.attention.heads)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_model_routes_as_its_card(name):
    found, config = sizes(name), CARDS[PUBLIC[name]]["config"]
    experts = config.get("n_routed_experts") or config.get("num_experts")
    shape = shape_of(name.split("/")[0], found, sequence=1)
    if experts is None:
        assert shape.experts is None
        assert shape.feed_forward == config["intermediate_size"]
        return
    assert shape.experts.count == experts
    assert shape.experts.active == config["num_experts_per_tok"]
    assert shape.experts.size == config["moe_intermediate_size"]
    assert shape.experts.shared_size == config["moe_intermediate_size"] * config.get("n_shared_experts", 0)
    assert [layer.experts for layer in shape.layers].index(True) == config.get("first_k_dense_replace", 0)
    assert found["moe_args.score_func"] == config.get("scoring_func", "softmax")
    assert found["moe_args.route_norm"] == config["norm_topk_prob"]
    assert found["moe_args.route_scale"] == config.get("routed_scaling_factor", 1.0)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_model_normalizes_as_its_card(name):
    epsilon = CARDS[PUBLIC[name]]["config"]["rms_norm_eps"]
    assert sizes(name)["norm_eps"] == OWN.get((name, "norm_eps"), epsilon)


@pytest.mark.parametrize("name", ["llama3/8B", "llama3/70B", "llama3/405B"])
def test_llama_scales_positions_as_its_card(name):
    scaling = CARDS[PUBLIC[name]]["config"]["rope_scaling"]
    names = {
        "factor": "scaling_factor",
        "low_freq_factor": "low_freq_factor",
        "high_freq_factor": "high_freq_factor",
        "original_max_position_embeddings": "original_max_position_embeddings",
    }
    assert {key: sizes(name)[f"rope_scaling_args.{ours}"] for key, ours in names.items()} == {
        key: scaling[key] for key in names
    }


@pytest.mark.parametrize("name", ["deepseek_v3/16B", "deepseek_v3/236B", "deepseek_v3/671B"])
def test_deepseek_scales_positions_as_its_card(name):
    scaling, found = CARDS[PUBLIC[name]]["config"]["rope_scaling"], sizes(name)
    assert found["rope_factor"] == scaling["factor"]
    assert found["original_seq_len"] == scaling["original_max_position_embeddings"]
    assert (found["beta_fast"], found["beta_slow"]) == (scaling["beta_fast"], scaling["beta_slow"])
    assert found["mscale"] == OWN.get((name, "mscale"), scaling["mscale"])
