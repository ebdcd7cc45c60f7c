"""How a run ends before its last step: by a signal, a limit, NaN, or a crash while it saves."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psutil
import pytest
from conftest import MegatronRun, Start

pytestmark = pytest.mark.real

ENDLESS = {"train_iters": 100_000, "lr_decay_iters": 20, "data_cache_path": None}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_to_one_process_saves_and_stops_all(number: signal.Signals, start: Start, train: Start) -> None:
    name = f"signal-{number.name}"
    run = start(name, processes=2, **ENDLESS)
    _wait_until(run, lambda: len(run.metric("loss")) >= 3)
    run.kill(number, rank=1)
    assert run.wait() == [128 + number, 128 + number]
    last = max(run.metric("loss"))
    assert run.checkpoints.steps() == [last]
    again = train(name, processes=2, **ENDLESS | {"train_iters": last + 2})
    assert list(again.metric("loss")) == [last + 1, last + 2]


def test_time_limit_saves_and_stops(train: Start) -> None:
    run = train("time-limit", exit_duration_in_mins=0.02, **ENDLESS)
    assert run.checkpoints.steps() == [max(run.metric("loss"))]
    assert "exit_duration_in_mins" in run.log()


@pytest.mark.parametrize("how", ["killed", "killed-in-the-background"])
def test_kill_while_saving_leaves_the_checkpoint_before(how: str, start: Start, train: Start) -> None:
    run = start(how, processes=2, save_interval=1, async_save=how != "killed", **ENDLESS)
    step = _stop_while_saving(run, after=2)
    run.kill()
    run.wait()
    assert run.checkpoints.partial(step).exists()
    assert run.checkpoints.steps() == list(range(1, step))
    assert run.checkpoints.damage(step - 1) is None
    again = train(how, processes=2, **ENDLESS | {"train_iters": step + 1})
    assert list(again.metric("loss")) == [step, step + 1]
    assert not run.checkpoints.partial(step).exists()


def test_nan_stops_the_run_and_names_the_last_good_checkpoint(start: Start, straight: MegatronRun) -> None:
    run = start("nan", after=straight, at=10, lr=1.0e30, min_lr=1.0e30, clip_grad=0.0)
    assert run.wait() == [1]
    log = run.log()
    assert "the weights were not changed and training stops" in log
    assert "step 12 (sequences 88 to 95)" in log
    assert f"Last good checkpoint: {run.checkpoints.path_of(10)}" in log
    assert run.checkpoints.steps() == [10]


def test_nan_is_left_out_when_asked(train: Start, straight: MegatronRun) -> None:
    run = train(
        "nan-skipped", after=straight, at=10, lr=1.0e30, min_lr=1.0e30, clip_grad=0.0, on_nan="skip", train_iters=13
    )
    assert "step 12 (sequences 88 to 95): the gradient norm is nan; the weights stay" in run.log()
    assert list(run.metric("loss")) == [11, 12, 13]


def _stop_while_saving(run: MegatronRun, after: int) -> int:
    """Stop all workers in the middle of a save, of that step which is returned: some are over before we get to it."""
    while True:
        _wait_until(run, lambda: len(run.checkpoints.steps()) >= after)
        run.kill(signal.SIGSTOP)
        _wait_until(run, lambda: all(psutil.Process(each.pid).status() == "stopped" for each in run.processes))
        step = max(run.checkpoints.steps()) + 1
        if run.checkpoints.partial(step).exists():
            return step
        run.kill(signal.SIGCONT)
        time.sleep(0.01)


def _wait_until(run: MegatronRun, condition: Callable[[], bool], timeout: float = 240) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, run.log()
        assert all(process.exitcode is None for process in run.processes), run.log()
        time.sleep(0.002)
