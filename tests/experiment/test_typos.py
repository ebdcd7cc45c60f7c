"""The typo corpus: misspelt keys of both backends are all rejected, nearly all with the right name suggested."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from primus.backends import registry
from primus.errors import Problem
from primus.experiment import Schema, load, resolve
from primus.experiment.answers import find_answer

GENERATED = 200
"""Misspellings made for each backend, half of them with one edit, half with two."""

LETTERS = "abcdefghijklmnopqrstuvwxyz_"

HAND_PICKED: Mapping[str, Mapping[str, str]] = {
    "megatron": {
        "micro_batch_szie": "micro_batch_size",
        "globl_batch_size": "global_batch_size",
        "global_bach_size": "global_batch_size",
        "train_iter": "train_iters",
        "trian_iters": "train_iters",
        "seq_lenght": "seq_length",
        "seq_len": "seq_length",
        "sequence_paralel": "sequence_parallel",
        "tensor_model_parallel": "tensor_model_parallel_size",
        "tensor_model_paralel_size": "tensor_model_parallel_size",
        "pipline_model_parallel_size": "pipeline_model_parallel_size",
        "pipeline_model_parallel_sise": "pipeline_model_parallel_size",
        "expert_model_parralel_size": "expert_model_parallel_size",
        "context_paralell_size": "context_parallel_size",
        "num_layer": "num_layers",
        "nun_layers": "num_layers",
        "hiden_size": "hidden_size",
        "hidden_sise": "hidden_size",
        "ffn_hiden_size": "ffn_hidden_size",
        "num_attention_head": "num_attention_heads",
        "num_atention_heads": "num_attention_heads",
        "num_query_group": "num_query_groups",
        "group_query_atention": "group_query_attention",
        "multi_latent_attenton": "multi_latent_attention",
        "kv_lora_rnak": "kv_lora_rank",
        "q_lora_rakn": "q_lora_rank",
        "moe_router_top_k": "moe_router_topk",
        "moe_router_topk_": "moe_router_topk",
        "moe_aux_loss_coef": "moe_aux_loss_coeff",
        "moe_aux_los_coeff": "moe_aux_loss_coeff",
        "moe_grouped_gem": "moe_grouped_gemm",
        "moe_layer_frq": "moe_layer_freq",
        "num_expert": "num_experts",
        "lr_warmup_iter": "lr_warmup_iters",
        "lr_wramup_iters": "lr_warmup_iters",
        "lr_decay_stlye": "lr_decay_style",
        "lr_deacy_iters": "lr_decay_iters",
        "min-lr": "min_lr",
        "wieght_decay": "weight_decay",
        "weigth_decay": "weight_decay",
        "clip_gard": "clip_grad",
        "adam_bata1": "adam_beta1",
        "adam_espilon": "adam_eps",
        "use_distributed_optimiser": "use_distributed_optimizer",
        "use_distrbuted_optimizer": "use_distributed_optimizer",
        "overlap_grad_reduction": "overlap_grad_reduce",
        "overlap_parm_gather": "overlap_param_gather",
        "recompute_granulrity": "recompute_granularity",
        "recompute_num_layer": "recompute_num_layers",
        "norm_epsilion": "norm_epsilon",
        "rotary_bse": "rotary_base",
        "max_position_embedings": "max_position_embeddings",
        "position_embeding_type": "position_embedding_type",
        "untie_embedings_and_output_weights": "untie_embeddings_and_output_weights",
        "tokeniser_type": "tokenizer_type",
        "tokenzier_model": "tokenizer_model",
        "data_pth": "data_path",
        "save_intervall": "save_interval",
        "eval_iter": "eval_iters",
        "log_intervall": "log_interval",
        "mock_dat": "mock_data",
        "swiglue": "swiglu",
        "init_method_sdt": "init_method_std",
        "gradient_acumulation_fusion": "gradient_accumulation_fusion",
        "transfomer_impl": "transformer_impl",
        "BF16_": "bf16",
    },
    "torchtitan": {
        "training.step": "training.steps",
        "training.stpes": "training.steps",
        "trainig.steps": "training.steps",
        "training.seq_lenght": "training.seq_len",
        "training.local_bach_size": "training.local_batch_size",
        "training.global_batch_sise": "training.global_batch_size",
        "training.max_nrom": "training.max_norm",
        "training.datset": "training.dataset",
        "optimizer.learning_rate_": "optimizer.lr",
        "optimiser.lr": "optimizer.lr",
        "optimizer.weigth_decay": "optimizer.weight_decay",
        "optimizer.ep": "optimizer.eps",
        "lr_scheduler.warmup_step": "lr_scheduler.warmup_steps",
        "lr_scheduler.wramup_steps": "lr_scheduler.warmup_steps",
        "lr_schedular.warmup_steps": "lr_scheduler.warmup_steps",
        "parallelism.tensor_paralel_degree": "parallelism.tensor_parallel_degree",
        "parallelism.pipeline_parallel_degre": "parallelism.pipeline_parallel_degree",
        "parallelism.data_parallel_shard_degee": "parallelism.data_parallel_shard_degree",
        "paralelism.context_parallel_degree": "parallelism.context_parallel_degree",
        "checkpoint.intervall": "checkpoint.interval",
        "checkpiont.interval": "checkpoint.interval",
        "checkpoint.enabel": "checkpoint.enable",
        "checkpoint.keep_latest": "checkpoint.keep_latest_k",
        "activation_checkpoint.mod": "activation_checkpoint.mode",
        "activation_checkpont.mode": "activation_checkpoint.mode",
        "model.flavour": "model.flavor",
        "model.nmae": "model.name",
        "model.hf_asset_path": "model.hf_assets_path",
        "metrics.log_frequency": "metrics.log_freq",
        "metrics.log_fre": "metrics.log_freq",
        "profiling.enable_profilng": "profiling.enable_profiling",
        "compile.enabled": "compile.enable",
        "comm.init_timeout_second": "comm.init_timeout_seconds",
        "validation.enabel": "validation.enable",
    },
}
"""What people write; right name by wrong name."""


@pytest.fixture(params=["megatron", "torchtitan"], scope="module")
def schema(request: pytest.FixtureRequest) -> Schema:
    return registry.get(request.param).schema()


@pytest.fixture(scope="module")
def wrong(schema: Schema) -> dict[str, str]:
    """The corpus: right name by wrong name."""
    return corpus(schema)


@pytest.fixture(scope="module")
def found(schema: Schema, wrong: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Problem]:
    """The problem of each misspelling, all from one check of an experiment that sets all of them."""
    return check(schema, wrong, tmp_path_factory.mktemp("typos") / "exp.yaml")


def edited(name: str, times: int, dice: random.Random) -> str:
    """`name` with letters of its last part dropped, doubled, replaced, inserted or swapped."""
    section, dot, leaf = name.rpartition(".")
    for _ in range(times):
        at = dice.randrange(len(leaf))
        letter = dice.choice(LETTERS)
        leaf = dice.choice(
            (
                leaf[:at] + leaf[at + 1 :],
                leaf[:at] + leaf[at] + leaf[at:],
                leaf[:at] + letter + leaf[at + 1 :],
                leaf[:at] + letter + leaf[at:],
                leaf[: max(0, at - 1)] + leaf[at] + leaf[max(0, at - 1) : at] + leaf[at + 1 :],
            )
        )
    return f"{section}{dot}{leaf}"


def corpus(schema: Schema) -> dict[str, str]:
    """Right name by wrong name: the hand-picked ones, and as many as GENERATED says from a fixed seed."""
    dice = random.Random(2026)
    names = sorted(name for name in schema.keys if len(name.rpartition(".")[2]) > 4)
    wrong = dict(HAND_PICKED[schema.backend])
    while len(wrong) < GENERATED + len(HAND_PICKED[schema.backend]):
        name = dice.choice(names)
        typo = edited(name, 1 + len(wrong) % 2, dice)
        if typo not in schema.keys and find_answer(typo, schema) is None and re.fullmatch(r"[\w.]*[^\W\d_]\w*", typo):
            wrong.setdefault(typo, name)
    return wrong


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as sections in sections."""
    root: dict[str, Any] = {}
    for key, value in keys.items():
        *sections, name = key.split(".")
        below = root
        for section in sections:
            below = below.setdefault(section, {})
        below[name] = value
    return root


def check(schema: Schema, wrong: Mapping[str, str], path: Path) -> dict[str, Problem]:
    """The problem of each misspelt key of an experiment that sets all of them."""
    overrides = json.dumps(nested(dict.fromkeys(wrong, 1)))
    path.write_text(f"modules: {{pre_trainer: {{framework: {schema.backend}, overrides: {overrides}}}}}")
    prefix = "modules.pre_trainer.overrides."
    return {problem.key.removeprefix(prefix): problem for problem in resolve(load(path, environ={}), schema)[1]}


def test_every_misspelling_is_rejected(wrong: dict[str, str], found: dict[str, Problem]) -> None:
    assert len(wrong) >= GENERATED + 30
    assert sorted(set(wrong) - set(found)) == []
    assert [problem for problem in found.values() if problem.severity != "error"] == []
    assert [problem for problem in found.values() if not problem.message.startswith("unknown key")] == []


def test_nearly_every_misspelling_is_answered_with_the_right_name(
    wrong: dict[str, str], found: dict[str, Problem]
) -> None:
    missed = [typo for typo, right in wrong.items() if not found[typo].message.endswith(f"Did you mean {right}?")]
    assert len(missed) <= 0.05 * len(wrong), [f"{typo} ({wrong[typo]}): {found[typo].message}" for typo in missed]
