"""The backend as the launcher sees it: the plan, the reporting rank, the newest checkpoint."""

import pytest

from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan.checkpoint_folder import checkpoints
from primus.experiment import load
from primus.job import Resources


def plan(experiment, processes=4, tmp_path="/run"):
    from pathlib import Path

    return BACKEND.plan(experiment, Resources(nproc_per_node=processes), run_dir=Path(tmp_path), resume="require")


def test_the_plan_runs_the_worker_with_the_experiment(experiment, tmp_path):
    made = plan(experiment("training.steps=7"))
    assert made.module == "primus.backends.torchtitan.worker"
    assert made.worker_args == ("/run", "--resume", "require", "--total-steps", "7")
    (tmp_path / "experiment.yaml").write_text(made.files["experiment.yaml"])
    assert load(tmp_path / "experiment.yaml", environ={}).plain() == {"training": {"steps": 7}}


def test_the_number_of_steps_is_torchtitans_own_when_nobody_says(experiment):
    assert plan(experiment()).total_steps == 10_000


@pytest.mark.parametrize(
    ("sets", "rank"),
    [
        ([], 0),
        (["parallelism.pipeline_parallel_degree=2"], 2),
        (["parallelism.pipeline_parallel_degree=4"], 3),
        (["parallelism.pipeline_parallel_degree=2", "parallelism.pipeline_parallel_schedule=zbvzerobubble"], 0),
        (["parallelism.pipeline_parallel_degree=2", "parallelism.pipeline_parallel_schedule=DualPipeV"], 0),
    ],
)
def test_the_terminal_shows_the_rank_that_has_the_loss(experiment, sets, rank):
    assert plan(experiment(*sets)).console_ranks == (rank,)


@pytest.mark.parametrize(
    ("name", "experts"), [("llama3_8b", False), ("deepseek_v3_16b", True), ("qwen3_30b_a3b", True)]
)
def test_the_plan_says_whether_the_model_has_experts(name, experts):
    assert plan(load(f"torchtitan/{name}", environ={})).experts == experts


@pytest.fixture
def folder(experiment):
    made = experiment().folder / "checkpoints"
    made.mkdir(parents=True)
    return made


def save(folder, name, index=b"train_state.step dataloader.dp_rank_0 dataloader.dp_rank_1", file=".metadata"):
    (folder / name).mkdir()
    (folder / name / file).write_bytes(index)


def test_the_newest_checkpoint_is_one_to_go_on_from(experiment, folder):
    save(folder, "step-5")
    save(folder, "step-10")
    save(folder, "step-9")
    save(folder, "step-20", b"only weights")
    save(folder, "step-30", file="model.safetensors.index.json")
    save(folder, "saving-40")
    (folder / "step-50").mkdir()
    assert BACKEND.newest_checkpoint(experiment()) == folder / "step-10"


def test_a_seed_checkpoint_can_be_gone_on_from(experiment, folder):
    save(folder, "step-0", b"only weights")
    assert BACKEND.newest_checkpoint(experiment()) == folder / "step-0"


def test_without_checkpoints_there_is_no_newest(experiment):
    assert BACKEND.newest_checkpoint(experiment()) is None


def test_a_checkpoint_knows_how_many_ranks_read_the_data(folder):
    save(folder, "step-5")
    assert [each.readers for each in checkpoints(folder)] == [2]
