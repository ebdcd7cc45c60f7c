"""The Megatron backend's plan, its checkpoints and the files it looks for, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from primus.backends import registry
from primus.backends.megatron import BACKEND, checkpoint_folder
from primus.experiment import Experiment, Schema, load, resolve
from primus.job import Job, Resources

Make = Callable[..., Experiment]


def plan(experiment: Experiment, processes: int = 1, accelerator: str = "cpu") -> Job:
    resources = Resources(nproc_per_node=processes, accelerator=accelerator)
    return BACKEND.plan(experiment, resources, run_dir=Path("/runs/1"), resume="auto")


def test_the_registry_finds_the_backend() -> None:
    assert registry.get("megatron") is BACKEND


def test_the_plan_is_one_worker_per_process_with_the_whole_experiment(experiment: Make, tmp_path: Path) -> None:
    asked = experiment()
    job = plan(asked, 2)
    assert (job.backend, job.module) == ("megatron", "primus.backends.megatron.worker")
    assert job.worker_args == ("/runs/1", "--resume", "auto", "--total-steps", "20")
    (tmp_path / "again.yaml").write_text(job.files["experiment.yaml"])
    assert load(tmp_path / "again.yaml", environ={}).plain() == asked.plain()


@pytest.mark.parametrize(
    ("processes", "changes", "rank"),
    [
        (1, {}, 0),
        (4, {"tensor_model_parallel_size": 2}, 0),
        (4, {"pipeline_model_parallel_size": 2}, 2),
        (8, {"pipeline_model_parallel_size": 4, "tensor_model_parallel_size": 2}, 6),
        (8, {"pipeline_model_parallel_size": 2, "use_tp_pp_dp_mapping": True}, 1),
    ],
)
def test_the_terminal_shows_the_rank_that_has_the_loss(
    experiment: Make, processes: int, changes: dict[str, Any], rank: int
) -> None:
    assert plan(experiment(**changes), processes).console_ranks == (rank,)


@pytest.mark.parametrize(("changes", "experts"), [({}, False), ({"num_experts": 4}, True)])
def test_the_plan_says_whether_the_model_has_experts(experiment: Make, changes: dict[str, Any], experts: bool) -> None:
    assert plan(experiment(**changes)).experts == experts


@pytest.mark.parametrize(
    ("accelerator", "variable"),
    [("cpu", "TORCHDYNAMO_DISABLE"), ("amd", "CUDA_DEVICE_MAX_CONNECTIONS"), ("nvidia", "CUDA_DEVICE_MAX_CONNECTIONS")],
)
def test_the_plan_adds_what_megatron_needs_in_the_environment(
    experiment: Make, accelerator: str, variable: str
) -> None:
    assert [one.name for one in plan(experiment(), 1, accelerator).environment] == [variable]


def test_planning_touches_nothing(experiment: Make, tmp_path: Path) -> None:
    asked = experiment()
    before = sorted(tmp_path.rglob("*"))
    plan(asked)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_newest_checkpoint_is_the_experiment_s_own(experiment: Make, tmp_path: Path) -> None:
    asked = replace(experiment(), workspace=str(tmp_path / "out"))
    assert BACKEND.newest_checkpoint(asked) is None
    for step in (10, 9):
        checkpoint_folder.of(asked).path_of(step).mkdir(parents=True)
    assert BACKEND.newest_checkpoint(asked) == asked.folder / "checkpoints" / "iter_0000010"


def test_paths_that_are_not_here_are_found_at_a_launch(experiment: Make, tmp_path: Path) -> None:
    for name in ("a.bin", "a.idx", "b.bin"):
        (tmp_path / name).touch()
    blend = [0.3, "a", 0.7, "b"]
    kind = {"tokenizer_type": "HuggingFaceTokenizer", "tokenizer_model": "tok"}
    asked = experiment(mock_data=None, data_path=blend, split="99,1,0", load="old", **kind)
    found = BACKEND.check(asked, Resources(nproc_per_node=1))
    assert [(problem.severity, problem.key.rpartition(".")[2], problem.message.split(" ")[0]) for problem in found] == [
        ("missing", "data_path", "b.idx"),
        ("missing", "tokenizer_model", "tok"),
        ("missing", "load", "old"),
    ]
    assert BACKEND.check(asked) == []


def test_a_name_on_the_hub_is_not_missing(experiment: Make) -> None:
    asked = experiment(tokenizer_type="Llama3Tokenizer", tokenizer_model="meta-llama/Llama-3.1-8B")
    assert BACKEND.check(asked, Resources(nproc_per_node=1)) == []


def test_a_resolved_experiment_checks_like_the_file(experiment: Make, schema: Schema) -> None:
    resolved, problems = resolve(experiment(model_parallel_size=3), schema)
    assert [problem.severity for problem in problems] == ["warning"]
    found = BACKEND.check(resolved)
    assert "tensor_model_parallel_size 3 does not divide num_attention_heads 4" in found[0].message
    assert found[0].key == "modules.pre_trainer.overrides.model_parallel_size"
