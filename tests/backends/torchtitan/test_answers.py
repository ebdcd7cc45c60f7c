"""Files of every torchtitan release since 0.1, and of upstream Primus, mean today what they meant then."""

import pytest

from primus.backends.torchtitan import BACKEND

RELEASE_0_1 = """
[job]
print_args = true
use_for_integration_test = false
[model]
name = "llama3"
flavor = "8B"
tokenizer_path = "assets/tokenizer"
converters = ["float8"]
[lr_scheduler]
lr_min = 0.1
[training]
compile = true
seed = 3
deterministic = true
[checkpoint]
enable_checkpoint = true
last_save_model_weights_only = false
[float8]
enable_fsdp_float8_all_gather = true
filter_fqns = ["output"]
[mx]
use_fp8_dim1_cast_triton_kernel = false
recipe_name = "mxfp8"
[memory_estimation]
enabled = false
"""


def test_a_file_of_torchtitan_0_1_loads(plain):
    assert plain(RELEASE_0_1) == {
        "job": {"print_config": True},
        "model": {"name": "llama3", "flavor": "8B", "hf_assets_path": "assets/tokenizer", "converters": ["float8"]},
        "lr_scheduler": {"min_lr_factor": 0.1},
        "compile": {"enable": True},
        "debug": {"seed": 3, "deterministic": True},
        "checkpoint": {"enable": True, "last_save_model_only": False},
        "quantize": {
            "linear": {
                "float8": {"enable_fsdp_float8_all_gather": True, "filter_fqns": ["output"]},
                "mx": {"mxfp8_dim1_cast_kernel_choice": "torch", "recipe_name": "mxfp8_cublas"},
            }
        },
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("training.batch_size=2", {"training": {"local_batch_size": 2}}),
        ("training.warmup_steps=5", {"lr_scheduler": {"warmup_steps": 5}}),
        ("training.tensor_parallel_degree=2", {"parallelism": {"tensor_parallel_degree": 2}}),
        ("training.enable_loss_parallel=true", {"parallelism": {"disable_loss_parallel": False}}),
        ("experimental.pipeline_parallel_schedule=gpipe", {"parallelism": {"pipeline_parallel_schedule": "GPipe"}}),
        ("optimizer.fused=true", {"optimizer": {"implementation": "fused"}}),
        ("optimizer.fused=false", {"optimizer": {"implementation": "foreach"}}),
        ("profiler.profile_freq=7", {"profiling": {"profile_freq": 7}}),
    ],
)
def test_an_old_or_newer_name_sets_todays_key(experiment, old, new):
    from primus.experiment import resolve

    resolved, found = resolve(experiment(old), BACKEND.schema())
    assert resolved.plain() == new
    assert [problem.severity for problem in found] == ["warning"]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("fault_tolerance.enable=true", "not used by torchtitan's stock Trainer"),
        ("memory_estimation.enable=true", "read by nothing"),
        ("comm.mode=fake_backend", "can't train"),
        ("job.custom_config_module=my.config", "adds keys that Primus can't check"),
        ("training.mock_data=true", "primus data prepare"),
        ("model.norm_type=layernorm", "Llama uses RMSNorm"),
        ("primus_turbo.use_turbo_float8_linear=true", "training would differ"),
        ("parallelism.spmd_backend=full_dtensor", "belongs to torchtitan 0.3"),
    ],
)
def test_what_would_be_ignored_is_refused(problems, key, reason):
    (found,) = problems(key)
    assert found.severity == "error"
    assert reason in found.message


@pytest.mark.parametrize(
    "key",
    [
        "fault_tolerance.enable=false",
        "memory_estimation.disable_fake_mode=false",
        "comm.mode=default",
        "job.dump_folder=./outputs",
        "checkpoint.folder=checkpoint",
        "model.norm_type=rmsnorm",
        "training.mock_data=false",
        'experimental.custom_args_module=""',
    ],
)
def test_a_value_that_changes_nothing_needs_no_answer(problems, key):
    assert problems(key) == []


def test_folders_of_torchtitan_are_named_with_what_replaces_them(problems):
    (found,) = problems("job.dump_folder=/data/out")
    assert found.severity == "warning"
    assert "workspace" in found.message


def test_an_upstream_experiment_checks_with_warnings_only(problems):
    text = """
[primus_turbo]
enable_primus_turbo = true
enable_attention_float8 = false
[metrics]
log_freq = 10
enable_wandb = false
[training]
local_batch_size = 3
seq_len = 8192
steps = 50
mock_data = false
[activation_checkpoint]
mode = "none"
selective_ac_option = "op"
"""
    sinks = ("sink_level=null", "file_sink_level=DEBUG", "stderr_sink_level=INFO", "lr_scheduler.warmup_steps=10")
    found = problems(*sinks, text=text)
    assert {problem.severity for problem in found} == {"warning"}
    assert len(found) == 3
