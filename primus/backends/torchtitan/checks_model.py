"""Rules about the model of a torchtitan experiment: its kind, its sizes, its converters. checks.py calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from primus.backends.torchtitan.flavors import CUSTOM, families, family_of, has_experts, sizes_of
from primus.backends.torchtitan.settings import Settings
from primus.errors import Problem, did_you_mean

OLD_CONVERTERS = {"float8": "quantize.linear.float8", "mx": "quantize.linear.mx"}
"""Converters by the names that torchtitan 0.1 had for them."""

CONVERTERS = ("quantize.linear.float8", "quantize.grouped_mm.float8", "quantize.linear.mx", "quantize.grouped_mm.mx")

NOT_TRAINED = {
    "flux": "flux makes images and has a trainer of its own; Primus trains language models",
    "llama3_ft": "llama3_ft needs torchft's trainer, which Primus does not run; use llama3",
}

WITHOUT_EFFECT = {
    "parallelism.expert_parallel_degree": 1,
    "parallelism.expert_tensor_parallel_degree": 1,
    "parallelism.expert_parallel_comm_backend": "standard",
    "debug.moe_force_load_balance": False,
}
"""Keys that only a model with experts reads, and what a model without them may say."""


def _kind(settings: Settings) -> Iterator[Problem]:
    name, flavor = settings["model.name"], settings["model.flavor"]
    if settings["experimental.custom_import"]:
        return
    if name not in families():
        reason = NOT_TRAINED.get(name, f"unknown model {name!r}; expected one of {', '.join(families())}")
        yield settings.problem("model.name", f"{reason}.{did_you_mean(name, families())}")
        return
    flavors = families()[name].flavors
    if flavor not in flavors and flavor != CUSTOM:
        known = f"{name} has {', '.join(flavors)}, or {CUSTOM} with the sizes in [model.custom]"
        yield settings.problem("model.flavor", f"unknown flavor {flavor!r}; {known}.{did_you_mean(flavor, flavors)}")


def _custom(settings: Settings) -> Iterator[Problem]:
    given, family = settings.below("model.custom"), family_of(settings)
    if settings["model.flavor"] != CUSTOM:
        if given:
            key = f"model.custom.{next(iter(given))}"
            yield settings.problem(key, f'[model.custom] needs model.flavor = "{CUSTOM}"')
        return
    if not given:
        yield settings.problem("model.flavor", f'"{CUSTOM}" needs the sizes of the model, in [model.custom]')
    if family is None:
        return
    for name in given:
        if name not in family.sizes:
            message = f"{family.name} has no such size.{did_you_mean(name, family.sizes)}"
            yield settings.problem(f"model.custom.{name}", message)


def _sizes(settings: Settings) -> Iterator[Problem]:
    sizes = sizes_of(settings)
    if sizes is None:
        return
    rules = (_attention_sizes, _latent_sizes, _expert_sizes)
    for rule in rules:
        for size, message in rule(sizes):
            yield settings.problem(f"model.custom.{size}", message)


def _attention_sizes(sizes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    dim, heads, kv_heads = sizes["dim"], sizes["n_heads"], sizes.get("n_kv_heads")
    if kv_heads and heads % kv_heads:
        yield "n_kv_heads", f"{kv_heads} does not divide n_heads, {heads}"
    if "head_dim" not in sizes and "v_head_dim" not in sizes and dim % heads:
        yield "n_heads", f"{heads} does not divide dim, {dim}"
        return
    name = "head_dim" if "head_dim" in sizes else "qk_rope_head_dim" if "qk_rope_head_dim" in sizes else "dim"
    width = dim // heads if name == "dim" else sizes[name]
    if width % 2:
        yield name, f"heads are {width} wide; the position embedding needs an even number"


def _latent_sizes(sizes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if sizes.get("n_dense_layers", 0) > sizes["n_layers"]:
        yield "n_dense_layers", f"{sizes['n_dense_layers']} is more than n_layers, {sizes['n_layers']}"


def _expert_sizes(sizes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not has_experts(sizes):
        return
    experts, top_k = sizes["moe_args.num_experts"], sizes["moe_args.top_k"]
    groups, limit = sizes["moe_args.num_expert_groups"], sizes["moe_args.num_limited_groups"]
    if top_k > experts:
        yield "moe_args.top_k", f"{top_k} is more than moe_args.num_experts, {experts}"
    if (groups is None) != (limit is None):
        yield "moe_args.num_expert_groups", "goes with moe_args.num_limited_groups; set both or neither"
    elif groups is not None and limit is not None:
        if experts % groups:
            yield "moe_args.num_expert_groups", f"{groups} does not divide moe_args.num_experts, {experts}"
        elif limit > groups:
            yield "moe_args.num_limited_groups", f"{limit} is more than moe_args.num_expert_groups, {groups}"
        elif top_k > limit * (experts // groups):
            yield "moe_args.top_k", f"{top_k} is more than the experts in {limit} of {groups} groups"


def _experts_without(settings: Settings) -> Iterator[Problem]:
    sizes = sizes_of(settings)
    if sizes is None or has_experts(sizes):
        return
    for key, allowed in WITHOUT_EFFECT.items():
        if settings[key] != allowed:
            message = f"{settings['model.name']} {settings['model.flavor']} has no experts: this would change nothing"
            yield settings.problem(key, message)


def _length(settings: Settings) -> Iterator[Problem]:
    sizes = sizes_of(settings)
    if sizes is None or settings["model.flavor"] == CUSTOM:
        return
    length, longest = settings["training.seq_len"], sizes["max_seq_len"]
    if length > longest:
        message = f"{length} tokens are more than the {longest} that this model was made for"
        yield settings.problem("training.seq_len", message, "warning")


def _attention(settings: Settings) -> Iterator[Problem]:
    sizes = sizes_of(settings)
    if sizes is None:
        return
    key, kind, mask = "model.custom.attn_type", sizes["attn_type"], sizes["attn_mask_type"]
    allowed = _ATTENTION[settings["model.name"]]
    if kind not in allowed:
        yield settings.problem(key, f"{settings['model.name']} has no {kind} attention; it has {', '.join(allowed)}")
    if mask == "block_causal" and kind == "sdpa":
        message = '"block_causal" needs model.custom.attn_type = "flex"; sdpa sees all tokens before'
        yield settings.problem("model.custom.attn_mask_type", message)
    if kind == "varlen" and mask == "causal":
        message = '"varlen" attends within documents: set model.custom.attn_mask_type = "block_causal"'
        yield settings.problem(key, message)
    if settings["parallelism.context_parallel_degree"] > 1 and kind not in _CONTEXT[settings["model.name"]]:
        message = f"context parallelism does not go with {kind} attention in {settings['model.name']}"
        yield settings.problem("parallelism.context_parallel_degree", message)


def _converters(settings: Settings) -> Iterator[Problem]:
    key, names = "model.converters", settings["model.converters"]
    for name in names:
        if name in OLD_CONVERTERS:
            yield settings.problem(key, f"{name!r} is called {OLD_CONVERTERS[name]!r} since torchtitan 0.2", "warning")
        elif name not in CONVERTERS and not settings["experimental.custom_import"]:
            choices = f"expected some of {', '.join(CONVERTERS)}"
            yield settings.problem(key, f"unknown converter {name!r}; {choices}.{did_you_mean(name, CONVERTERS)}")
    used = {OLD_CONVERTERS.get(name, name) for name in names}
    if len({name.rpartition(".")[2] for name in used & set(CONVERTERS)}) > 1:
        yield settings.problem(key, "float8 and mx do not go together")
    for section in CONVERTERS:
        for name, value in settings.below(section).items():
            if section not in used and value != settings.schema.keys[f"{section}.{name}"].default:
                message = f'changes nothing: "{section}" is not among model.converters'
                yield settings.problem(f"{section}.{name}", message, "warning")
    float8 = "quantize.linear.float8"
    if settings[f"{float8}.recipe_name"] and settings[f"{float8}.enable_fsdp_float8_all_gather"]:
        yield settings.problem(f"{float8}.recipe_name", "does not go with enable_fsdp_float8_all_gather")


_ATTENTION = {
    "llama3": ("sdpa", "flex", "varlen"),
    "llama4": ("sdpa", "flex"),
    "deepseek_v3": ("sdpa", "flex"),
    "qwen3": ("sdpa", "flex", "varlen"),
    "gpt_oss": ("flex",),
}
_CONTEXT: Mapping[str, tuple[str, ...]] = {
    "llama3": ("sdpa", "flex"),
    "llama4": ("sdpa",),
    "deepseek_v3": ("sdpa",),
    "qwen3": ("sdpa",),
    "gpt_oss": (),
}
"""Attention kernels of each kind of model; those that context parallelism goes with."""

RULES = (_kind, _custom, _sizes, _experts_without, _length, _attention, _converters)
