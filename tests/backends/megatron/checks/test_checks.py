"""How checks report: places, what is missing, all at once, keys without effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primus.backends.megatron import BACKEND
from primus.backends.megatron.checks import CPU_RULES, PROCESSES, RULES
from primus.backends.megatron.checks.unused import SWITCHES
from primus.errors import Problem
from primus.experiment import Experiment, Schema
from primus.job import Resources

Make = Callable[..., Experiment]

MOE = {"num_experts": 4, "moe_router_topk": 2, "moe_aux_loss_coeff": 0.01}
MLA = {"multi_latent_attention": True}
DATA = {"mock_data": None, "data_path": "text"}
SPLITS = {"mock_data": None, "train_data_path": "text"}


def names(problems: list[Problem]) -> list[str]:
    return [problem.key.rpartition(".")[2] for problem in problems]


@pytest.mark.parametrize("changes", [{}, MOE, MLA, {"bf16": True}, {**DATA, "split": "99,1,0"}, SPLITS])
def test_a_sound_experiment_has_no_problem(experiment: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    for name in ("text.bin", "text.idx"):
        (tmp_path / name).touch()
    assert BACKEND.check(experiment(**changes), Resources(nproc_per_node=2)) == []


def test_rules_name_keys_of_the_schema(schema: Schema) -> None:
    assert {key for rule in (*RULES, *CPU_RULES, *PROCESSES) for key in rule.keys} <= set(schema.keys)


def test_a_problem_names_the_places_of_the_other_keys(experiment: Make) -> None:
    (problem,) = BACKEND.check(experiment(seq_length=128))
    assert str(problem) == (
        "exp.yaml:9: modules.pre_trainer.overrides.seq_length: seq_length 128 is longer than max_position_embeddings "
        "64. See max_position_embeddings at exp.yaml:10."
    )


def test_what_is_missing_is_named(experiment: Make) -> None:
    found = BACKEND.check(experiment(num_layers=None, lr=None, mock_data=None, tokenizer_type=None))
    assert names(found) == ["num_layers", "lr", "mock_data", "tokenizer_type"]
    assert "no data: set data_path" in found[2].message


def test_a_key_of_the_wrong_type_is_left_to_the_schema_s_check(experiment: Make) -> None:
    assert BACKEND.check(experiment(seq_length="long", tensor_model_parallel_size=0)) == []


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 64),
    st.floats(-1, 2, allow_nan=False),
    st.sampled_from(["", "full", "selective", "alltoall", "[0]*2+[1]", "Ett|ttL", "flash", "99,1,0", "x y"]),
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from(sorted(BACKEND.schema().keys)), PLAIN | st.lists(PLAIN, max_size=3)),
    processes=st.integers(1, 9),
)
def test_no_values_make_a_check_fail(experiment: Make, changes: dict[str, Any], processes: int) -> None:
    found = BACKEND.check(experiment(**changes), Resources(nproc_per_node=processes))
    assert all(problem.message for problem in found)


def test_all_problems_are_found_at_once(experiment: Make) -> None:
    found = BACKEND.check(experiment(seq_length=128, min_lr=1.0, sequence_parallel=True))
    assert sorted(names(found)) == ["min_lr", "seq_length", "sequence_parallel"]


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"q_lora_rank": 32}, "q_lora_rank", "q_lora_rank has no effect without multi_latent_attention"),
        (
            {"disable_wandb": True, "wandb_project": "llama"},
            "wandb_project",
            "wandb_project has no effect with disable_wandb: true; set it to false",
        ),
        ({"rope_type": "rope"}, "rope_type", "without multi_latent_attention"),
        ({"num_query_groups": 2}, "num_query_groups", "without group_query_attention"),
        (
            {"moe_router_topk": 4, "moe_z_loss_coeff": 0.1},
            "moe_router_topk",
            "moe_router_topk, moe_z_loss_coeff have",
        ),
        ({"rope_scaling_factor": 4.0}, "rope_scaling_factor", "without use_rope_scaling"),
        ({"optimizer": "sgd", "adam_beta1": 0.8}, "adam_beta1", "without optimizer: adam"),
        ({"lr_wsd_decay_iters": 3}, "lr_wsd_decay_iters", "without lr_decay_style: WSD"),
        ({"recompute_num_layers": 2}, "recompute_num_layers", "without recompute_granularity"),
        ({**SPLITS, "split": "99,1,0"}, "split", "with train_data_path"),
    ],
)
def test_keys_without_effect_are_a_warning(experiment: Make, changes: dict[str, Any], key: str, words: str) -> None:
    (problem,) = BACKEND.check(experiment(**changes))
    assert problem.severity == "warning"
    assert names([problem]) == [key]
    assert words in problem.message


def test_a_key_at_its_default_is_not_called_idle(experiment: Make) -> None:
    assert BACKEND.check(experiment(kv_lora_rank=512, moe_router_topk=2, fp8_margin=0)) == []


def test_keys_of_switches_are_keys_of_the_schema(schema: Schema) -> None:
    assert {key for switch in SWITCHES for key in (*switch.reads, *switch.keys)} <= set(schema.keys)
