"""An experiment and the processes that it is to run on must fit."""

import sys

import pytest


def degrees(**values):
    return [f"parallelism.{name}_parallel_degree={value}" for name, value in values.items()]


REPLICATE = "parallelism.data_parallel_replicate_degree"
SHARD = "parallelism.data_parallel_shard_degree"
PER_STAGE = "parallelism.pipeline_parallel_layers_per_stage"
MICROBATCH = "parallelism.pipeline_parallel_microbatch_size"
SCHEDULE = "parallelism.pipeline_parallel_schedule"
SEED = "checkpoint.create_seed_checkpoint"

WRONG = [
    (degrees(tensor=3), 8, "parallelism.tensor_parallel_degree", "do not divide the 8 processes"),
    ([f"{SHARD}=4"], 8, SHARD, "= 4 are not the 8 processes"),
    ([f"{SHARD}=0"], 8, SHARD, "at least 1, or -1"),
    ([f"{REPLICATE}=4", *degrees(tensor=2)], 8, REPLICATE, "DDP"),
    ([f"{REPLICATE}=2", "optimizer.early_step_in_backward=true"], 2, "optimizer.early_step_in_backward", "with DDP"),
    ([*degrees(tensor=16), "model.flavor=8B"], 16, "parallelism.tensor_parallel_degree", "the model's 8 key-value"),
    (
        [*degrees(context=2), "training.seq_len=1002"],
        8,
        "training.seq_len",
        "not a multiple of 2 × tensor 1 × context 2",
    ),
    (["training.global_batch_size=24"], 2, "training.global_batch_size", "data-parallel ranks, 8 × 2"),
    ([*degrees(pipeline=2), "model.name=qwen3"], 2, "parallelism.pipeline_parallel_degree", "can't split qwen3"),
    ([*degrees(pipeline=2), f"{SCHEDULE}=2F2B"], 2, SCHEDULE, "unknown schedule"),
    ([*degrees(pipeline=2), f"{MICROBATCH}=3"], 2, MICROBATCH, "does not divide"),
    (
        [*degrees(pipeline=2), "validation.enable=true", "validation.local_batch_size=4"],
        2,
        "validation.local_batch_size",
        "as many microbatches as a step of training has, 8",
    ),
    ([*degrees(pipeline=8), "training.local_batch_size=4"], 8, "training.local_batch_size", "than the 8 stages"),
    ([*degrees(pipeline=2), f"{PER_STAGE}=2"], 2, PER_STAGE, "makes 2 per rank; the schedule 1F1B needs 1 stage"),
    ([*degrees(pipeline=2), f"{PER_STAGE}=3"], 2, PER_STAGE, "makes 3 stages, which 2 pipeline ranks can't share"),
    (
        [*degrees(pipeline=16), "training.local_batch_size=16"],
        16,
        "parallelism.pipeline_parallel_degree",
        "too few for 16 stages",
    ),
    ([*degrees(expert=3), "model.name=deepseek_v3"], 6, "parallelism.expert_parallel_degree", "the model's 8 experts"),
    (
        ["parallelism.expert_tensor_parallel_degree=2", "model.name=deepseek_v3"],
        2,
        "parallelism.expert_tensor_parallel_degree",
        "changes nothing",
    ),
    (
        [*degrees(expert=2, tensor=2), "model.name=deepseek_v3"],
        4,
        "parallelism.expert_tensor_parallel_degree",
        "each tensor rank on its own tokens alone",
    ),
    ([f"{SEED}=true", "checkpoint.enable=true"], 2, SEED, "single process"),
]


@pytest.mark.parametrize(("sets", "gpus", "key", "message"), WRONG)
def test_a_layout_that_can_not_be_is_an_error_at_its_key(problems, sets, gpus, key, message):
    found = [problem for problem in problems(*sets, gpus=gpus) if problem.severity == "error" and problem.key == key]
    assert [problem for problem in found if message in problem.message]


@pytest.mark.parametrize(
    ("sets", "gpus"),
    [
        (degrees(tensor=2), 8),
        (degrees(tensor=2, pipeline=2), 8),
        (degrees(context=2), 8),
        (["parallelism.data_parallel_replicate_degree=2"], 8),
        ([*degrees(expert=8), "model.name=deepseek_v3"], 8),
        ([*degrees(pipeline=2), "parallelism.pipeline_parallel_schedule=ZBVZeroBubble"], 4),
        ([*degrees(pipeline=2), "parallelism.pipeline_parallel_schedule=interleaved1f1b"], 4),
    ],
)
def test_a_layout_that_can_be_is_no_problem(problems, sets, gpus):
    assert problems(*sets, gpus=gpus) == []


@pytest.mark.parametrize(
    ("sets", "key", "message"),
    [
        (degrees(context=2), "parallelism.context_parallel_degree", "needs a GPU"),
        (["model.converters=[quantize.linear.float8]"], "model.converters", "needs a GPU"),
        (["model.flavor=8B_flex"], "model.flavor", "flex attention, which needs a GPU"),
        (["model.name=qwen3", *degrees(tensor=2)], "parallelism.tensor_parallel_degree", "can't divide the attention"),
        (["profiling.enable_memory_snapshot=true"], "profiling.enable_memory_snapshot", "there is no GPU"),
    ],
)
def test_what_needs_a_gpu_says_so_without_one(problems, sets, key, message):
    found = [problem for problem in problems(*sets, cpus=2) if problem.key == key]
    assert [problem for problem in found if message in problem.message]
    assert not [problem for problem in problems(*sets, gpus=8) if problem.key == key]


def test_a_path_that_is_not_here_is_found_at_a_launch(problems):
    (found,) = problems("training.dataset=text", "training.dataset_path=/nowhere", gpus=1)
    assert found.severity == "missing"
    assert "/nowhere does not exist here" in found.message


def test_a_service_whose_package_is_not_here_is_found_at_a_launch(problems, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    (found,) = problems("metrics.enable_wandb=true", gpus=1)
    assert (found.severity, found.key) == ("missing", "metrics.enable_wandb")
    assert "pip install 'primus[wandb]'" in found.message
    assert problems("metrics.enable_wandb=true") == []


def test_precision_that_is_not_mixed_is_warned_of(problems):
    (found,) = problems(*degrees(tensor=2), gpus=2)
    assert (found.severity, found.key) == ("warning", "training.mixed_precision_param")
    assert "computes in float32" in found.message
    assert problems(*degrees(tensor=2), "training.mixed_precision_param=float32", gpus=2) == []
