"""Tiny versions of the model presets, derived mechanically: sizes shrink, everything else stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from primus.experiment.load import load_preset
from primus.experiment.paths import shipped

SPARSE_LAYERS = 2

SIZES: Mapping[str, Any] = {
    "num_layers": lambda full, preset: dense_layers(preset) + SPARSE_LAYERS,
    "moe_layer_freq": lambda full, preset: re.sub(r"(.*\*)\d+", rf"\g<1>{SPARSE_LAYERS}", full),
    "hidden_size": lambda full, preset: 64,
    "ffn_hidden_size": lambda full, preset: 128,
    "num_attention_heads": lambda full, preset: 4,
    "num_query_groups": lambda full, preset: 2,
    "kv_channels": lambda full, preset: 32,
    "kv_lora_rank": lambda full, preset: 32,
    "q_lora_rank": lambda full, preset: full and 48,
    "qk_head_dim": lambda full, preset: 32,
    "qk_pos_emb_head_dim": lambda full, preset: 16,
    "v_head_dim": lambda full, preset: 32,
    # Enough for 8 groups that are ranked by their two best.
    "num_experts": lambda full, preset: min(full, 16),
    "moe_ffn_hidden_size": lambda full, preset: 32,
    # As many shared experts as the preset has.
    "moe_shared_expert_intermediate_size": lambda full, preset: 32 * full // preset["moe_ffn_hidden_size"],
    "vocab_size": lambda full, preset: 255,
    "max_position_embeddings": lambda full, preset: full // 64,
    "original_max_position_embeddings": lambda full, preset: full // 64,
}
"""Key → its tiny value, from the preset's value and the whole preset."""


def shrink(preset: Mapping[str, Any]) -> dict[str, Any]:
    return {key: SIZES[key](value, preset) if key in SIZES else value for key, value in preset.items()}


def dense_layers(preset: Mapping[str, Any]) -> int:
    """Layers without experts before those with."""
    found = re.match(r"\(\[0\]\*(\d+)\+\[1\]\*\d+\)$", preset.get("moe_layer_freq", ""))
    return int(found[1]) if found else 0


def presets() -> dict[str, dict[str, Any]]:
    """The keys of every model that ships; families' common parts and second names are none."""
    paths = {
        name: path for name, path in shipped("models", "megatron").items() if not name.endswith(("_base", "_v0.1"))
    }
    found = {name: load_preset(path, "models", "megatron").plain() for name, path in paths.items()}
    del found["tiny_llama"]
    return found
