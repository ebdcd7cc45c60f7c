"""Contradictions in an experiment are found before anything starts, at the key that is to blame."""

import pytest

WRONG = [
    ("model.flavor=9B", "model.flavor", "unknown flavor '9B'; llama3 has debugmodel"),
    ("model.name=lama3", "model.name", "Did you mean llama3?"),
    ("model.name=flux", "model.name", "a trainer of its own"),
    ("model.flavor=custom", "model.flavor", "needs the sizes of the model"),
    ("model.custom.dim=64", "model.custom.dim", 'needs model.flavor = "custom"'),
    ("model.hf_assets_path=a/tokenizer.model", "model.hf_assets_path", "as in torchtitan 0.1"),
    ("training.dataset=c4_mini", "training.dataset", "unknown dataset 'c4_mini'"),
    ("training.dataset=text", "training.dataset", "needs training.dataset_path"),
    ("training.global_batch_size=12", "training.global_batch_size", "not a multiple of training.local_batch_size, 8"),
    ("checkpoint.keep_latest_k=1", "checkpoint.keep_latest_k", "use 2 or more"),
    ("checkpoint.load_only=true", "checkpoint.load_only", "needs checkpoint.enable = true"),
    ("checkpoint.load_step=5", "checkpoint.load_step", "needs checkpoint.enable = true"),
    ("checkpoint.exclude_from_loading=[dataloder]", "checkpoint.exclude_from_loading", "Did you mean dataloader?"),
    ("activation_checkpoint.selective_ac_option=all", "activation_checkpoint.selective_ac_option", 'expected "op"'),
    ("activation_checkpoint.mode=memory_budget", "activation_checkpoint.mode", "needs compile.enable"),
    (
        "parallelism.enable_async_tensor_parallel=true",
        "parallelism.enable_async_tensor_parallel",
        "needs compile.enable",
    ),
    ("model.converters=[float16]", "model.converters", "unknown converter 'float16'"),
    ("training.dataloader.num_workers=2", "training.dataloader.num_workers", "every batch comes again"),
    ("parallelism.expert_parallel_degree=2", "parallelism.expert_parallel_degree", "has no experts"),
    ("debug.moe_force_load_balance=true", "debug.moe_force_load_balance", "has no experts"),
]


@pytest.mark.parametrize(("setting", "key", "message"), WRONG)
def test_a_contradiction_is_an_error_at_its_key(problems, setting, key, message):
    found = [problem for problem in problems(setting) if problem.severity == "error" and problem.key == key]
    assert [problem for problem in found if message in problem.message]


EXPORT = ["checkpoint.enable=true", "checkpoint.last_save_in_hf=true", "checkpoint.last_save_model_only=false"]
EARLY = ["optimizer.early_step_in_backward=true", "parallelism.pipeline_parallel_degree=2"]
MIXED = ["model.converters=[quantize.linear.float8, quantize.grouped_mm.mx]"]
VARLEN = ["model.flavor=8B_varlen", "parallelism.context_parallel_degree=2"]
TRACE = ["profiling.enable_profiling=true", "profiling.profile_freq=3"]


@pytest.mark.parametrize(
    ("sets", "key", "message"),
    [
        (["validation.enable=true", "model.name=gpt_oss"], "validation.enable", "no validation for gpt_oss"),
        (["validation.enable=true", "validation.steps=0"], "validation.steps", "at least 1"),
        (EXPORT, "checkpoint.last_save_in_hf", "safetensors hold weights only"),
        (TRACE, "profiling.profile_freq", "takes 4 steps"),
        (EARLY, "optimizer.early_step_in_backward", "does not go with"),
        (MIXED, "model.converters", "do not go together"),
        (VARLEN, "parallelism.context_parallel_degree", "does not go with varlen attention"),
    ],
)
def test_keys_that_do_not_go_together(problems, sets, key, message):
    found = [problem for problem in problems(*sets) if problem.key == key]
    assert [problem for problem in found if message in problem.message]


@pytest.mark.parametrize(
    ("sizes", "key", "message"),
    [
        ("n_heads = 3", "n_heads", "does not divide dim, 64"),
        ("n_heads = 4\nn_kv_heads = 3", "n_kv_heads", "does not divide n_heads, 4"),
        ("n_heads = 64", "dim", "heads are 1 wide"),
        ("hidden_dim = 7", "hidden_dim", "llama3 has no such size"),
        ('n_heads = 4\nattn_mask_type = "block_causal"', "attn_mask_type", "needs model.custom.attn_type"),
    ],
)
def test_sizes_of_ones_own_must_fit_together(problems, sizes, key, message):
    text = f'[model]\nflavor = "custom"\n[model.custom]\ndim = 64\n{sizes}\n'
    found = [problem for problem in problems(text=text) if problem.key == f"model.custom.{key}"]
    assert [problem for problem in found if message in problem.message]


def test_experts_must_fit_together(problems):
    text = '[model]\nname = "deepseek_v3"\nflavor = "custom"\n[model.custom.moe_args]\nnum_experts = 4\ntop_k = 8\n'
    (found,) = problems(text=text)
    assert "8 is more than moe_args.num_experts, 4" in found.message


@pytest.mark.parametrize(
    ("setting", "key", "message"),
    [
        ("lr_scheduler.warmup_steps=20000", "lr_scheduler.warmup_steps", "never falls"),
        ("training.dataloader.prefetch_factor=2", "training.dataloader.prefetch_factor", "changes nothing"),
        ("quantize.linear.float8.emulate=true", "quantize.linear.float8.emulate", "changes nothing"),
        ("training.seq_len=200000", "training.seq_len", "more than the 131072"),
        ("model.converters=[float8]", "model.converters", "is called 'quantize.linear.float8'"),
    ],
)
def test_what_changes_nothing_is_warned_of(problems, setting, key, message):
    found = [problem for problem in problems(setting) if problem.key == key]
    assert [problem.severity for problem in found] == ["warning"]
    assert message in found[0].message


def test_a_model_of_ones_own_code_is_not_questioned(problems):
    sets = ("model.name=mine", "model.flavor=big", "training.dataset=mine", "experimental.custom_import=my_models")
    assert problems(*sets) == []


def test_a_value_of_the_wrong_type_is_reported_once(problems):
    (found,) = problems("training.global_batch_size=many")
    assert found.key == "training.global_batch_size"


def test_torchtitans_own_defaults_are_no_problem(problems):
    assert problems() == []
    assert problems(gpus=8) == []
