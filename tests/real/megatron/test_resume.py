"""A run that is stopped and resumed is the run that was not; nothing ever restarts from zero unasked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import MegatronRun, Start

pytestmark = pytest.mark.real

DROPOUT = {"hidden_dropout": 0.1, "attention_dropout": 0.1, "eval_interval": 5, "eval_iters": 1}
DISTRIBUTED = {"use_distributed_optimizer": True}


@pytest.fixture(scope="module")
def distributed(train: Start) -> MegatronRun:
    """20 steps in two processes that share the optimizer's state, with checkpoints after 10 and 20."""
    return train("straight-distributed", processes=2, save_interval=10, **DISTRIBUTED)


def test_resumed_run_equals_the_straight_one_bitwise(train: Start) -> None:
    """With dropout, and with evaluations in between."""
    straight = train("straight-dropout", **DROPOUT)
    resumed = train("resumed-dropout", exit_interval=10, **DROPOUT)
    assert list(resumed.metric("loss")) == list(range(1, 11))
    first = {name: resumed.metric(name) for name in ("loss", "grad_norm", "lr", "valid_loss")}
    resumed = train("resumed-dropout", **DROPOUT)
    for name, values in first.items():
        assert values | resumed.metric(name) == straight.metric(name)


def test_distributed_optimizer_resumes_bitwise(train: Start, distributed: MegatronRun) -> None:
    resumed = train("resumed-distributed", processes=2, after=distributed, at=10, **DISTRIBUTED)
    losses = resumed.metric("loss")
    assert list(losses) == list(range(11, 21))
    assert losses == {step: distributed.metric("loss")[step] for step in losses}


def test_one_process_goes_on_for_two(train: Start, distributed: MegatronRun) -> None:
    run = train("two-to-one", after=distributed, at=10, **DISTRIBUTED)
    assert list(run.metric("loss")) == list(range(11, 21))
    expected = {step: distributed.metric("loss")[step] for step in range(11, 21)}
    assert run.metric("loss") == pytest.approx(expected, rel=1e-4)


def test_one_process_goes_on_for_a_tensor_parallel_pair(train: Start, straight: MegatronRun) -> None:
    pair = train("tensor-pair", processes=2, tensor_model_parallel_size=2, exit_interval=10)
    run = train("tensor-two-to-one", after=pair)
    assert list(run.metric("loss")) == list(range(11, 21))
    expected = {step: straight.metric("loss")[step] for step in range(1, 21)}
    assert pair.metric("loss") | run.metric("loss") == pytest.approx(expected, rel=1e-4)


def test_checkpoints_written_in_the_background_hold_the_step_they_are_of(train: Start, straight: MegatronRun) -> None:
    run = train("background", async_save=True, save_interval=4, exit_interval=10)
    assert run.checkpoints.steps() == [4, 8, 10]
    assert run.metric("loss") == {step: straight.metric("loss")[step] for step in range(1, 11)}
    assert f"Saved {run.checkpoints.path_of(8)}" in run.log()
    resumed = train("after-background", after=run, at=8, exit_interval=10)
    assert resumed.metric("loss") == {step: straight.metric("loss")[step] for step in (9, 10)}


def test_training_goes_on_with_another_batch_size(train: Start, straight: MegatronRun) -> None:
    run = train("other-batch", after=straight, at=10, global_batch_size=16, train_iters=12)
    assert list(run.metric("loss")) == [11, 12]
    assert run.checkpoints.facts(12)["samples"] == 10 * 8 + 2 * 16


def test_new_learning_rate_counts_on_resume(train: Start, straight: MegatronRun) -> None:
    run = train("other-rate", after=straight, at=10, lr=1.0e-4, min_lr=1.0e-4, train_iters=12)
    assert run.metric("lr") == pytest.approx({11: 1.0e-4, 12: 1.0e-4})
    assert "schedule: max_lr was 0.003, is 0.0001" in run.log()


def test_schedule_of_the_checkpoint_counts_when_asked(train: Start, straight: MegatronRun) -> None:
    values = {"lr": 1.0e-4, "min_lr": 1.0e-4, "use_checkpoint_opt_param_scheduler": True}
    run = train("old-rate", after=straight, at=10, train_iters=12, **values)
    assert run.metric("lr") == pytest.approx({step: straight.metric("lr")[step] for step in (11, 12)})


def test_finished_run_says_that_nothing_is_left(train: Start, straight: MegatronRun) -> None:
    run = train("finished", after=straight)
    assert "Nothing left to do: step 20 of 20 is done." in run.log()
    assert run.metric("loss") == {}


def test_required_checkpoint_that_is_missing_is_an_error(start: Start) -> None:
    run = start("required", resume="require")
    assert run.wait() == [4]
    assert "has no checkpoint to resume from" in run.log()


def test_start_from_zero_keeps_the_old_checkpoints_aside(train: Start, straight: MegatronRun) -> None:
    run = train("from-zero", after=straight, resume="never", train_iters=1, lr_warmup_iters=0)
    assert list(run.metric("loss")) == [1]
    aside = run.folder / f"checkpoints-before-{run.directory.id}"
    assert sorted(path.name for path in aside.iterdir()) == ["iter_0000010", "iter_0000020"]
    assert run.checkpoints.steps() == [1]


def test_checkpoint_of_another_model_is_refused(start: Start, straight: MegatronRun) -> None:
    run = start("other-model", after=straight, num_layers=2, ffn_hidden_size=64)
    assert run.wait() == [3]
    assert "iter_0000020 is a checkpoint of another model" in run.log()
    assert "num_layers: 2 here, 4 in the checkpoint" in run.log()
    assert "ffn_hidden_size: 64 here, 128 in the checkpoint" in run.log()


def test_checkpoint_of_another_optimizer_is_refused(start: Start, straight: MegatronRun) -> None:
    run = start("other-optimizer", after=straight, use_distributed_optimizer=True)
    assert run.wait() == [3]
    assert "use_distributed_optimizer: True here, False in the checkpoint" in run.log()


def test_fresh_optimizer_is_taken_when_asked(train: Start, straight: MegatronRun) -> None:
    values = {"use_distributed_optimizer": True, "no_load_optim": True}
    run = train("fresh-optimizer", after=straight, at=10, train_iters=12, **values)
    assert run.metric("loss")[11] == pytest.approx(straight.metric("loss")[11], rel=1e-4)


@pytest.mark.parametrize("how", ["short", "changed"])
def test_damaged_checkpoint_is_left_for_the_one_before(how: str, train: Start, straight: MegatronRun) -> None:
    folder = train(f"copied-{how}", after=straight).checkpoints
    _damage(next(folder.path_of(20).glob("*.distcp")), how)
    run = train(f"copied-{how}", train_iters=12)
    assert "this checkpoint can't be read, trying the one before" in run.log()
    assert list(run.metric("loss")) == [11, 12]


def test_damage_in_large_files_is_found_by_reading(train: Start, straight: MegatronRun) -> None:
    """The sizes are right, and nothing is hashed."""
    run = train("unhashed", after=straight)
    facts = run.checkpoints.path_of(20) / "primus.json"
    facts.write_text(facts.read_text().replace('"files"', '"unchecked"'))
    for file in run.checkpoints.path_of(20).glob("*.distcp"):
        _damage(file, "changed")
    run = train("unhashed", train_iters=12)
    assert "this checkpoint can't be read, trying the one before" in run.log()
    assert list(run.metric("loss")) == [11, 12]


def test_only_damaged_checkpoints_are_an_error(start: Start, straight: MegatronRun, train: Start) -> None:
    folder = train("all-damaged", after=straight).checkpoints
    for step in folder.steps():
        (folder.path_of(step) / "common.pt").unlink()
    run = start("all-damaged")
    assert run.wait() == [4]
    assert run.log().count("common.pt is missing") >= 2


def test_weights_of_another_experiment_start_a_new_one(train: Start, straight: MegatronRun) -> None:
    source = str(straight.checkpoints.path)
    run = train("finetuned", load=source, ckpt_step=10, finetune=True, train_iters=2, lr_warmup_iters=0)
    assert list(run.metric("loss")) == [1, 2]
    assert run.metric("loss")[1] < 4.5  # it starts at 5.6 with fresh weights


def test_state_of_another_experiment_goes_on(train: Start, straight: MegatronRun) -> None:
    run = train("continued", load=str(straight.checkpoints.path), ckpt_step=10)
    losses = run.metric("loss")
    assert losses == {step: straight.metric("loss")[step] for step in range(11, 21)}


def test_missing_step_of_another_experiment_is_an_error(start: Start, straight: MegatronRun) -> None:
    run = start("no-such-step", load=str(straight.checkpoints.path), ckpt_step=7)
    assert run.wait() == [4]
    assert "the checkpoint of step 7; there: 10, 20" in run.log()


def test_old_checkpoints_go_when_there_are_enough(train: Start) -> None:
    run = train("kept", train_iters=7, save_interval=1, keep_last=2, save_retain_interval=3)
    assert run.checkpoints.steps() == [3, 6, 7]


def test_no_last_checkpoint_when_none_is_wanted(train: Start) -> None:
    run = train("unsaved", train_iters=1, lr_warmup_iters=0, disable_last_saving=True)
    assert run.checkpoints.steps() == []


def _damage(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how == "short":
        file.write_bytes(data[: len(data) // 2])
        return
    half = len(data) // 2
    data[:half] = bytes(half)
    copy = file.with_suffix(".damaged")
    copy.write_bytes(data)
    shutil.move(copy, file)
