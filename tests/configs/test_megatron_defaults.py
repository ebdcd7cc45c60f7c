"""An experiment that is silent about a key gets Megatron-LM's default, or one that we chose to be another.

megatron_lm_defaults.json holds the defaults of Megatron-LM's arguments at core_v0.16.1, for the keys that we accept.
"""

import json
from pathlib import Path

import pytest

from primus.backends.megatron import BACKEND
from primus.experiment.load import load_preset
from primus.experiment.paths import shipped

MEGATRON_LM = json.loads(Path(__file__).with_name("megatron_lm_defaults.json").read_text())
SCHEMA = BACKEND.schema()
PRESET = load_preset(shipped("modules", "megatron")["pre_trainer"], "modules", "megatron").plain()

OUR_CHOICE = {
    "adam_beta2": "0.95 as in the Llama papers",
    "weight_decay": "0.1 as in the Llama papers",
    "lr_decay_style": "cosine as in the Llama papers",
    "bf16": "what accelerators train in",
    "use_distributed_optimizer": "the optimizer's state fits into memory",
    "create_attention_mask_in_dataloader": "causal attention needs no mask from the data",
    "split": "an experiment with a data_path needs one",
    "tokenizer_type": "prepared data holds numbers",
    "eval_iters": "100 global batches are longer than most people wait",
    "save_interval": "Megatron-LM saves nothing unasked",
    "dist_ckpt_optim_fully_reshardable": "a checkpoint can be continued in any layout",
    "log_interval": "every step is reported",
    "attention_softmax_in_fp32": "only megatron.core's own layers read it, which lose precision without it",
    "num_query_groups": "group_query_attention without it is refused; Megatron-LM would train with a single group",
}
"""Key → why training without it differs from Megatron-LM's."""

SAME_IN_THE_END = {
    "accumulate_allreduce_grads_in_fp32": "unset means: with bf16, which is what Megatron-LM's validation sets",
    "cp_comm_type": "unset means p2p",
    "dataloader_type": "unset means single",
    "no_load_optim": "unset means false",
    "no_load_rng": "unset means false",
    "no_save_optim": "unset means false",
    "no_save_rng": "unset means false",
    "overlap_p2p_comm": "unset means: where megatron.core can, with the interleaved schedule",
    "rope_type": "unset means yarn with multi_latent_attention, which alone reads it",
    "transformer_impl": "unset means Transformer Engine where it is installed",
    "use_cpu_initialization": "unset means false",
}
"""Key → why it trains alike."""

FASTER_WHERE_IT_IS_INSTALLED = {
    "apply_rope_fusion": "needs Transformer Engine or flash-attn",
    "gradient_accumulation_fusion": "needs Apex",
    "masked_softmax_fusion": "needs Megatron-LM's own kernels, which only megatron.core's own layers call",
    "no_persist_layer_norm": "the persistent one needs Apex, and only megatron.core's own layers call it",
}
"""Key → why an experiment must ask for it: it computes the same, faster, where a package is that we can't count on."""

ONLY_HERE = {
    # Fields of megatron.core that Megatron-LM has no argument for, with megatron.core's defaults.
    "activation_func_fp8_input_store",
    "beta_fast",
    "beta_slow",
    "cpu_offloading",
    "cpu_offloading_activations",
    "cpu_offloading_double_buffering",
    "cpu_offloading_weights",
    "decoupled_weight_decay",
    "disable_parameter_transpose_cache",
    "fp8_dot_product_attention",
    "fp8_multi_head_attention",
    "fused_single_qkv_rope",
    "memory_efficient_layer_norm",
    "num_microbatches_with_partial_activation_checkpoints",
    "original_max_position_embeddings",
    "softmax_scale",
    "store_param_remainders",
    "tp_only_amax_red",
    # Keys of the original Primus.
    "disable_last_saving",
    "disable_mlflow",
    "disable_tensorboard",
    "disable_wandb",
    "log_avg_reset_interval",
    "log_avg_skip_iterations",
    "mlflow_experiment_name",
    "mlflow_run_name",
    # Primus' own.
    "keep_last",
    "on_nan",
}

DIFFERENT = OUR_CHOICE | SAME_IN_THE_END | FASTER_WHERE_IT_IS_INSTALLED


def effective(key):
    return PRESET.get(key, SCHEMA.keys[key].default)


@pytest.mark.parametrize("key", sorted(MEGATRON_LM))
def test_default_is_megatron_lm_s_or_a_stated_choice(key):
    assert (effective(key) == MEGATRON_LM[key]) is (key not in DIFFERENT)


def test_every_key_that_megatron_lm_lacks_is_known():
    assert SCHEMA.keys.keys() - MEGATRON_LM.keys() == ONLY_HERE
