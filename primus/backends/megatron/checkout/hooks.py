"""What Primus adds to Megatron-LM's own training loop while that runs: metrics, facts of the model, signals.

Functions of megatron.training.training are wrapped, under their names and with whatever arguments they have: nothing is
parsed from the log, so that numbers keep all their digits.
"""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from types import FrameType
from typing import Any

from primus.backends.megatron import BACKEND
from primus.backends.megatron.layout import layout_of
from primus.backends.worker import Worker
from primus.metrics.monitor import Monitor
from primus.metrics.settings import MetricsSettings

LOSS = "lm loss"
"""Megatron-LM's name of the loss."""


def install(worker: Worker) -> None:
    """Wrap what reports; say what this checkout does not have."""
    from megatron.training import dist_signal_handler, training

    observer = Observer(worker)
    wrapped = {
        "setup_model_and_optimizer": observer.after_setup,
        "training_log": observer.at_step,
        "evaluate_and_print_results": observer.around_evaluation,
        "evaluate": observer.after_evaluation,
        "save_checkpoint_and_time": observer.around_saving,
    }
    for name, wrapper in wrapped.items():
        original = getattr(training, name, None)
        if original is None:
            print(f"Warning: this Megatron-LM has no {name}(); what Primus reports from it is missing.")
            continue
        setattr(training, name, functools.wraps(original)(functools.partial(wrapper, original)))
    if find_spec("megatron.core.datasets.helpers_cpp") is not None:
        _leave_helpers_as_they_are()
    _share_signals(worker, dist_signal_handler.DistributedSignalHandler)


class Observer:
    """Watches the training of this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._values = worker.experiment.plain()
        self._reports = layout_of(self._values, worker.world_size).reporting_rank == worker.rank
        self._monitor: Monitor | None = None
        self._step = 0
        self._evaluation = "valid_loss"
        self._lr: float | None = None
        """Of the step that is being made: Megatron-LM reports the one of the next."""

    def after_setup(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The model is built: describe it, and begin to measure."""
        built = original(*arguments, **options)
        import torch
        from megatron.training import get_args

        from primus.backends.megatron.model import count_parameters

        args = get_args()
        self._worker.begin(int(args.iteration))
        if built[1] is not None:
            self._lr = max(group["lr"] for group in built[1].param_groups)
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        parameters = count_parameters(built[0], device)
        self._monitor = Monitor(
            tokens_per_step=args.global_batch_size * args.seq_length,
            devices=self._worker.world_size,
            flops_per_token=self._flops(args),
            precision="fp8" if getattr(args, "fp8", None) else "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
            device=device,
            reports=self._reports,
            skip=self._values.get("log_avg_skip_iterations") or 0,
            reset=self._values.get("log_avg_reset_interval"),
        )
        if self._reports:
            rows = args.padded_vocab_size
            self._worker.describe_model(parameters=parameters, vocab_size=args.vocab_size, padded_vocab_size=rows)
            names = [field.name for field in fields(MetricsSettings)]
            self._worker.report_to(MetricsSettings(**{name: self._values.get(name) for name in names}))
        return built

    def at_step(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A step is over; Megatron-LM decides in here whether it prints it."""
        result = original(*arguments, **options)
        from megatron.training import get_args

        args, facts = get_args(), _by_name(original, arguments, options)
        if self._monitor is None or facts["iteration"] == self._step:  # the first step is handed over twice
            return result
        self._step = facts["iteration"]
        self._monitor.step_done()
        self._worker.step_done(self._step)
        if self._step % args.log_interval == 0 or self._step == args.train_iters:
            self._report(facts)
        self._lr = facts["learning_rate"]
        return result

    def around_evaluation(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Megatron-LM evaluates: on which part of the data, the text says that it prints before."""
        prefix = str(_by_name(original, arguments, options).get("prefix", ""))
        self._evaluation = "test_loss" if "test" in prefix else "valid_loss"
        with self._worker.doing("evaluating"):
            return self._apart(original, *arguments, **options)

    def after_evaluation(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The losses of an evaluation."""
        result = original(*arguments, **options)
        losses = result[0] or {}
        if self._reports and LOSS in losses:
            self._worker.record(step=self._step, **{self._evaluation: float(losses[LOSS])})
        return result

    def around_saving(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with self._worker.doing("saving"):
            return self._apart(original, *arguments, **options)

    def _apart(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call it without counting its time as training."""
        if self._monitor is None:
            return original(*arguments, **options)
        with self._monitor.pause():
            return original(*arguments, **options)

    def _report(self, facts: dict[str, Any]) -> None:
        assert self._monitor is not None
        losses = facts["loss_dict"]
        loss = float(losses[LOSS]) if LOSS in losses else None
        measured = self._monitor.report(self._step, loss)
        if not self._reports or loss is None:
            return
        numbers = {"lr": self._lr, "grad_norm": facts["grad_norm"]}
        known = {name: float(value) for name, value in numbers.items() if value is not None}
        self._worker.record(step=self._step, loss=loss, **known, **measured)

    def _flops(self, args: Any) -> int | None:
        """By Primus' formula, for the models that it knows; None for others."""
        if getattr(args, "spec", None) or getattr(args, "hybrid_layer_pattern", None):
            return None
        from primus.backends.megatron.parameters import complete_values
        from primus.backends.megatron.shape import shape_of
        from primus.metrics.flops import training_flops

        values = complete_values(self._values, BACKEND.schema())
        return training_flops(shape_of(values, vocabulary=args.padded_vocab_size))


def _by_name(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """What a function was called with, by the names of its parameters: their order differs between versions."""
    return dict(inspect.signature(function).bind(*arguments, **options).arguments)


def _leave_helpers_as_they_are() -> None:
    """The installed core's helpers are compiled already, and it brings no Makefile to do it again."""
    from megatron.core.datasets import utils

    utils.compile_helpers = lambda: None


def _share_signals(worker: Worker, kind: Any) -> None:
    """Megatron-LM saves and stops when its own handler has seen a signal: SIGTERM tells it and the worker, SIGUSR1
    becomes a SIGTERM for it."""
    original = kind.__enter__

    def enter(self: Any) -> Any:
        entered = original(self)
        theirs = signal.getsignal(signal.SIGTERM)

        def both(number: int, frame: FrameType | None) -> None:
            if worker.stop_signal is None:
                worker.request_stop(number)
            if callable(theirs):
                theirs(number, frame)

        def forward(number: int, frame: FrameType | None) -> None:
            worker.request_stop(number)
            signal.raise_signal(signal.SIGTERM)

        signal.signal(signal.SIGTERM, both)
        signal.signal(signal.SIGUSR1, forward)
        return entered

    kind.__enter__ = enter
