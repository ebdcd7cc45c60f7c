"""Experiments of the shape that upstream Primus writes run as they are: by the names of its presets, with its
variables, inheritance and switches. What Primus can't do is refused by name. The files in upstream/ are ours; their
keys and values are upstream's."""

import re
from pathlib import Path

import pytest

from primus.backends.prepare import prepare
from primus.job import Resources

FILES = Path(__file__).parent / "upstream"

RECORDS = {"wandb_project", "stderr_sink_level", "ckpt_format"}
TURBO = {"enable_primus_turbo", "use_turbo_attention"}
EXPERTS = {
    *RECORDS,
    *TURBO,
    "use_turbo_grouped_mlp",
    "use_turbo_deepep",
    "turbo_deepep_num_cu",
    "turbo_sync_free_moe_stage",
    # Applied, but nobody should believe the loss.
    "moe_router_force_load_balancing",
}

CLEAN = {
    "llama2_7B-pretrain": (1, RECORDS),
    "llama3_8B-BF16-pretrain": (1, RECORDS | TURBO | {"use_turbo_grouped_gemm"}),
    "llama3.1_405B-BF16-pretrain": (8, RECORDS | TURBO | {"use_turbo_grouped_gemm", "platform"}),
    "qwen2.5_7B-BF16-pretrain": (1, {"wandb_project", "stderr_sink_level"}),
    "mixtral_8x7B_v0.1-BF16-pretrain": (1, EXPERTS - {"use_turbo_attention"} | {"moe_use_fused_router_with_aux_score"}),
    "qwen3_30B_A3B-BF16-pretrain": (1, EXPERTS),
    "deepseek_v2_lite-BF16-pretrain": (1, EXPERTS),
    "deepseek_v2-BF16-pretrain": (4, EXPERTS),
    "deepseek_v3-BF16-pretrain": (16, EXPERTS),
}
"""Nodes of the launch, and the keys that get a warning."""


def checked(name, *, nodes=1, environ=None):
    resources = Resources(nnodes=nodes, nproc_per_node=8, accelerator="amd")
    return prepare(str(FILES / f"{name}.yaml"), resources=resources, environ=environ or {})


def last_part(problem):
    return problem.key.rpartition(".")[2]


@pytest.mark.parametrize("name", CLEAN)
def test_a_typical_file_checks_with_warnings_only(name):
    nodes, _ = CLEAN[name]
    assert checked(name, nodes=nodes).errors == []


@pytest.mark.parametrize("name", CLEAN)
def test_every_doubtful_key_is_named_once(name):
    nodes, keys = CLEAN[name]
    assert sorted(last_part(warning) for warning in checked(name, nodes=nodes).warnings) == sorted(keys)


@pytest.mark.parametrize("name", CLEAN)
def test_a_warning_says_where_it_comes_from_and_what_happens(name):
    for warning in checked(name, nodes=CLEAN[name][0]).warnings:
        assert warning.where.line
        assert Path(warning.where.name).parent.name == "upstream"
        assert re.search("goes on without it|Remove it|learns nothing|has no effect", warning.message)


def test_the_same_is_said_of_a_file_by_its_relative_path(monkeypatch):
    by_absolute_path = [last_part(problem) for problem in checked("llama2_7B-pretrain").problems]
    monkeypatch.chdir(FILES)
    problems = prepare(
        "llama2_7B-pretrain.yaml", resources=Resources(nproc_per_node=8, accelerator="amd"), environ={}
    ).problems
    assert [last_part(problem) for problem in problems] == by_absolute_path


def test_fsdp2_is_refused_with_what_to_use_instead():
    problems = {last_part(error): error for error in checked("llama2_70B-pretrain").errors}
    assert problems.keys() == {"use_torch_fsdp2", "sequence_parallel"}
    assert "use_distributed_optimizer" in problems["use_torch_fsdp2"].message
    assert problems["use_torch_fsdp2"].where.line == 37
    assert problems["sequence_parallel"].message == "expected true or false or null, got 1"


def test_without_the_two_refused_lines_the_same_file_is_clean(tmp_path):
    text = (FILES / "llama2_70B-pretrain.yaml").read_text()
    lines = [line for line in text.splitlines() if "use_torch_fsdp2" not in line and "sequence_parallel" not in line]
    (tmp_path / "llama2_70B-pretrain.yaml").write_text("\n".join(lines))
    resources = Resources(nproc_per_node=8, accelerator="amd")
    assert prepare(str(tmp_path / "llama2_70B-pretrain.yaml"), resources=resources, environ={}).errors == []


def test_presets_are_found_by_the_names_that_upstream_uses():
    values = checked("mixtral_8x7B_v0.1-BF16-pretrain").usable().plain()
    assert values["num_experts"] == 8
    assert values["vocab_size"] == 32000


def test_the_file_wins_over_the_presets_and_the_presets_fill_the_rest():
    values = checked("llama3_8B-BF16-pretrain").usable().plain()
    assert values["norm_epsilon"] == 1e-6
    assert values["max_position_embeddings"] == 8192
    assert values["num_layers"] == 32
    # The original's training defaults, which its files count on.
    assert values["bf16"] is True
    assert values["use_distributed_optimizer"] is True


def test_variables_choose_the_model_and_the_layout():
    environ = {"PRIMUS_MODEL": "llama3_70B", "PRIMUS_TP": "8", "PRIMUS_TEAM": "llm", "PRIMUS_TRAIN_ITERS": "7"}
    experiment = checked("llama3_8B-BF16-pretrain", environ=environ).usable()
    values = experiment.plain()
    assert (values["num_layers"], values["tensor_model_parallel_size"], values["train_iters"]) == (80, 8, 7)
    assert experiment.work_group == "llm"
    assert experiment.exp_name == "llama3_8B-pretrain"


@pytest.mark.parametrize("name", ["deepseek_v2_lite-BF16-pretrain", "deepseek_v2-BF16-pretrain"])
def test_extends_and_bases_inherit_alike(name):
    experiment = checked(name, nodes=CLEAN[name][0]).usable()
    assert experiment.work_group == "amd"
    assert experiment.plain()["moe_router_force_load_balancing"] is True
    assert experiment.plain()["lr"] == 1e-5


def test_a_switched_off_part_of_a_preset_is_left_off_without_complaint():
    """Upstream's DeepSeek files switch multi-latent attention off, whose settings the model preset keeps."""
    values = checked("deepseek_v2_lite-BF16-pretrain").usable().plain()
    assert values["multi_latent_attention"] is False
    assert values["kv_lora_rank"] == 512
