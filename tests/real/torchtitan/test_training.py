"""torchtitan's Trainer, through Primus: it learns, it resumes, it stops when asked, whatever the layout."""

import json
import signal

import pytest

pytestmark = pytest.mark.real


def test_the_loss_falls(straight):
    losses = straight.metric("loss")
    assert list(losses) == list(range(1, 21))
    assert losses[1] > 5.0
    assert losses[20] < 3.5


def test_every_step_reports_the_same_metrics(straight):
    lines = [json.loads(line) for line in straight.directory.metrics.read_text().splitlines()]
    names = {"step", "loss", "lr", "grad_norm", "tokens_per_second", "step_time", "time"}
    assert all(names <= line.keys() for line in lines)
    assert all(line["tokens_per_second"] == pytest.approx(8 * 128 / line["step_time"]) for line in lines)


def test_the_model_is_described(straight):
    facts = json.loads(straight.directory.model.read_text())
    assert facts["parameters"] == 230_464
    assert (facts["name"], facts["flavor"]) == ("llama3", "custom")
    assert facts["global_batch_size"] == 8


def test_a_resumed_run_is_the_straight_run(train, straight):
    resumed = train("resumed", after=straight, at=10, resume="require")
    assert "Training goes on after step 10" in resumed.log()
    losses = straight.metric("loss")
    assert resumed.metric("loss") == {step: losses[step] for step in range(11, 21)}


def test_a_finished_run_has_nothing_left_to_do(train, straight):
    again = train("straight")
    assert "Nothing left to do" in again.log()
    assert not again.directory.metrics.exists()


def test_a_finished_run_goes_on_when_it_is_given_more_steps(train, straight):
    longer = train("longer", "training.steps=22", after=straight)
    assert list(longer.metric("loss")) == [21, 22]
    assert longer.steps() == [22, 20, 10]


def test_no_resume_starts_from_zero_and_keeps_the_checkpoints(train, straight):
    anew = train("anew", "training.steps=2", after=straight, resume="never")
    assert list(anew.metric("loss")) == [1, 2]
    aside = anew.folder / "checkpoints-before-run0"
    assert sorted(path.name for path in aside.iterdir()) == ["step-10", "step-20"]


def test_resume_without_a_checkpoint_is_an_error(start):
    run = start("nothing", resume="require")
    assert run.wait() == [4]
    assert "There is nothing to resume from" in run.log()


@pytest.mark.parametrize(
    "layout",
    [
        "parallelism.pipeline_parallel_degree=2",
        "parallelism.tensor_parallel_degree=2",
    ],
)
def test_a_layout_goes_on_as_one_process_does(train, straight, layout):
    name = layout.split(".")[1].split("_")[0]
    run = train(name, layout, "training.steps=13", "lr_scheduler.total_steps=20", after=straight, at=10, processes=2)
    for metric in ("loss", "grad_norm"):
        expected = straight.metric(metric)
        assert run.metric(metric) == pytest.approx({step: expected[step] for step in (11, 12, 13)}, rel=1e-4)


def test_two_sharded_processes_stop_together_when_one_is_asked(start, train, straight):
    run = start("sharded", "training.steps=10000", "lr_scheduler.total_steps=20", processes=2)
    run.wait_for_step(3)
    run.pids, both = run.pids[:1], run.pids
    run.send(signal.SIGUSR1)
    run.pids = both
    assert run.wait() == [128 + signal.SIGUSR1] * 2
    last = max(run.metric("loss"))
    assert run.steps() == [last]
    assert f"Stops after step {last} (SIGUSR1); the checkpoint is saved." in run.log()

    more = train("sharded", f"training.steps={last + 1}", "lr_scheduler.total_steps=20", processes=2, resume="require")
    assert list(more.metric("loss")) == [last + 1]


def test_another_number_of_data_ranks_needs_to_be_told(start, train, straight):
    refused = start("readers", after=straight, at=10, processes=2)
    assert refused.wait() == [4, 4]
    assert "was saved with 1 data-parallel ranks, and this run has 2" in refused.log()

    sets = ('checkpoint.exclude_from_loading=["dataloader"]', "training.steps=11")
    assert list(train("readers", *sets, processes=2).metric("loss")) == [11]


VALIDATION = (
    *("validation.enable=true", "validation.dataset=text", "validation.freq=1", "validation.steps=2"),
    *("validation.local_batch_size=8", "validation.seq_len=64", "training.steps=13", "lr_scheduler.total_steps=20"),
)


def test_validation_measures_the_loss_and_leaves_training_as_it_is(train, corpus, straight):
    sets = (*VALIDATION, f"validation.dataset_path={corpus}")
    alone = train("validated", *sets, after=straight, at=10)
    split = train("validated-pair", *sets, "parallelism.pipeline_parallel_degree=2", after=straight, at=10, processes=2)
    expected = straight.metric("loss")
    assert alone.metric("loss") == {step: expected[step] for step in (11, 12, 13)}
    assert split.metric("loss") == pytest.approx(alone.metric("loss"), rel=1e-4)
    validated = alone.metric("valid_loss")
    assert list(validated) == [11, 12, 13]
    # Of text that it trains on: lower than at the start, not yet as at the end.
    assert all(expected[20] - 0.5 < loss < expected[1] for loss in validated.values())
    assert split.metric("valid_loss") == pytest.approx(validated, rel=1e-4)


def test_a_profile_is_left_in_the_run_directory(train):
    sets = ("profiling.enable_profiling=true", "profiling.profile_freq=4", "checkpoint.enable=false")
    run = train("profiled", *sets, "training.steps=4")
    (trace,) = run.directory.path.glob("*/iteration_4/rank0_trace.json")
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert "aten::mm" in names


def test_a_loss_that_is_not_finite_ends_the_run(start):
    run = start("diverged", "optimizer.lr=1e30", "metrics.log_freq=100")
    assert run.wait() == [1]
    assert "The loss of step 3 (sequences 16 to 23) is not a finite number: training stops." in run.log()
    assert run.steps() == []


def test_weights_that_are_not_finite_are_not_saved(start):
    run = start("overflown", "optimizer.lr=1e30", "metrics.log_freq=100", "checkpoint.interval=2")
    assert run.wait() == [1]
    assert "After step 2 some weights are not finite numbers: training stops." in run.log()
    assert run.steps() == []
