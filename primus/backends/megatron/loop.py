"""The training loop: megatron.core's model, data, optimizer and schedules, put together. worker.py calls train()."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from primus.backends.megatron import checkpoint_folder, data, metrics, topology
from primus.backends.megatron.arguments import Arguments
from primus.backends.megatron.checkpoint import Checkpoints
from primus.backends.megatron.expert_load import watch_experts
from primus.backends.megatron.forward import Losses, forward_backward
from primus.backends.megatron.model import count_parameters, padded_vocabulary
from primus.backends.megatron.optimizer import Step, loss_scale, take_step
from primus.backends.megatron.resume import brings_weights, start_from
from primus.backends.megatron.state import assemble
from primus.backends.megatron.tokenizer import tokenizer_of, vocabulary_size
from primus.backends.worker import Worker
from primus.errors import PrimusError
from primus.metrics.monitor import Monitor


class Diverged(PrimusError):
    """The gradient is no finite number any more."""


def train(worker: Worker, arguments: Arguments) -> None:
    """Train until the last step, a limit or a signal, and leave a checkpoint."""
    Loop(worker, arguments).run()


class Loop:
    """One run on this process."""

    def __init__(self, worker: Worker, arguments: Arguments) -> None:
        self._worker = worker
        self._arguments = arguments
        self._settings = arguments.settings
        self._began = time.monotonic()
        self._device = topology.start(arguments, worker)
        settings = arguments.settings
        tokenizer = tokenizer_of(settings, worker)
        vocabulary = vocabulary_size(settings.tokenizer_type, settings.vocab_size, tokenizer)
        folder = checkpoint_folder.of(worker.experiment)
        draw = not brings_weights(folder, settings, worker.resume)
        self._training = assemble(arguments, vocabulary, self._device, draw=draw)
        self._progress = self._training.progress
        self._reports = worker.rank == arguments.layout.reporting_rank
        self._describe_model()
        self._expert_load = watch_experts(self._training)
        self._checkpoints = Checkpoints(folder, self._training)
        self._say(start_from(self._checkpoints, self._training, worker.resume, worker.run_dir.id))
        cache = worker.experiment.folder / "data-cache"
        self._data = data.build_datasets(
            arguments, tokenizer, vocabulary=vocabulary, cache=cache, local_rank=worker.local_rank
        )

    def run(self) -> None:
        last = self._settings.train_iters
        if self._progress.step >= last:
            self._say(f"Nothing left to do: step {self._progress.step} of {last} is done.")
            return
        self._worker.begin(self._progress.step)
        shown = {self._progress.step + 1, last}  # the first step shows where a run begins, the last where it ends
        batches = self._batches(self._data.train, consumed=self._progress.samples)
        monitor = metrics.make_monitor(self._worker, self._training, reports=self._reports)
        batches = [None if each is None else monitor.timed(each) for each in batches]
        with self._garbage():
            while self._progress.step < last:
                monitor.step_begins()
                losses, step = self._train_step(batches)
                monitor.step_done()
                self._worker.step_done(self._progress.step)
                if self._progress.step % self._settings.log_interval == 0 or self._progress.step in shown:
                    self._report(losses, step, monitor)
                else:
                    metrics.forget_auxiliary_losses(self._arguments)
                with monitor.pause():
                    self._between_steps()
                if self._asked_to_stop():
                    break
        self._finish(completed=self._progress.step == last)

    def _train_step(self, batches: list[Any]) -> tuple[Losses, Step]:
        training, batch = self._training, self._arguments.global_batch_size
        for chunk in training.chunks:
            chunk.zero_grad_buffer()
        training.optimizer.zero_grad()
        losses = forward_backward(training, batches)
        step = take_step(training.optimizer, refuse_nan=self._settings.check_for_nan_in_loss_and_grad)
        if step.updated:
            training.schedule.step(increment=batch)
        else:
            self._judge(step)
        self._progress.step += 1
        self._progress.samples += batch
        return losses, step

    def _judge(self, step: Step) -> None:
        """Say that a step was left out, or end the run."""
        first = self._progress.samples
        where = f"step {self._progress.step + 1} (sequences {first} to {first + self._arguments.global_batch_size - 1})"
        config, scale = self._arguments.optimizer, loss_scale(self._training.optimizer)
        if config.fp16 and scale > config.min_loss_scale:
            self._say(f"{where}: overflow in fp16, the weights stay, the loss scale is {scale:g} now")
            return
        if self._settings.on_nan == "skip":
            self._say(f"Warning: {where}: the gradient norm is {step.grad_norm}; the weights stay (on_nan: skip)")
            return
        self._finish_saving(wait=True)
        raise Diverged(
            f"{where}: the gradient norm is {step.grad_norm}; the weights were not changed and training stops. Last "
            f"good checkpoint: {self._checkpoints.last or 'none'}. A lower lr or clip_grad may help; on_nan: skip "
            "leaves such steps out."
        )

    def _report(self, losses: Losses, step: Step, monitor: Monitor) -> None:
        loss = metrics.mean_loss(losses)
        more = metrics.auxiliary_losses(self._arguments, self._progress.step)
        more |= monitor.report(self._progress.step, loss)
        imbalance = None if self._expert_load is None else self._expert_load.report()
        if not self._reports or loss is None:
            return
        if imbalance is not None:
            more["moe_imbalance"] = imbalance
        if self._arguments.optimizer.fp16:
            more["loss_scale"] = loss_scale(self._training.optimizer)
        if step.zeros is not None:
            more["zeros_in_grad"] = step.zeros
        self._worker.record(step=self._progress.step, loss=loss, lr=step.lr, grad_norm=step.grad_norm, **more)

    def _between_steps(self) -> None:
        """Evaluate, save and collect garbage when it is time."""
        step, settings = self._progress.step, self._settings
        if settings.eval_interval and step % settings.eval_interval == 0:
            self._evaluate("valid", self._data.valid)
        self._finish_saving()
        if settings.save_interval and step % settings.save_interval == 0:
            self._save()
        if settings.manual_gc and settings.manual_gc_interval and step % settings.manual_gc_interval == 0:
            gc.collect()

    def _evaluate(self, name: str, dataset: Any) -> None:
        """Loss on the first eval_iters batches of held-out data: the same ones each time."""
        if dataset is None or not self._settings.eval_iters:
            return
        with self._worker.doing("evaluating"), _parameters_gathered(self._training.chunks), torch.no_grad():
            for chunk in self._training.chunks:
                chunk.eval()
            batches, count = self._batches(dataset), range(self._settings.eval_iters)
            losses = [loss for _ in count for loss in forward_backward(self._training, batches, forward_only=True)]
            for chunk in self._training.chunks:
                chunk.train()
        metrics.forget_auxiliary_losses(self._arguments)
        loss = metrics.mean_loss(losses)
        if self._reports and loss is not None:
            self._worker.record(step=self._progress.step, **{f"{name}_loss": loss})

    def _save(self) -> None:
        self._finish_saving(wait=True)
        with self._worker.doing("saving"), _parameters_gathered(self._training.chunks):
            saved = self._checkpoints.save()
        self._say(f"Saved {saved}" if saved else f"Writes the checkpoint of step {self._progress.step} meanwhile")

    def _finish_saving(self, *, wait: bool = False) -> None:
        """Tell of the checkpoint that was written in the background, if one was."""
        with self._worker.doing("saving"):
            saved = self._checkpoints.finish(wait=wait)
        if saved is not None:
            self._say(f"Saved {saved}")

    def _asked_to_stop(self) -> bool:
        """Whether a process has got a signal, the time is up, or exit_interval is reached; all processes agree."""
        step, settings = self._progress.step, self._settings
        limit = math.inf if settings.exit_duration_in_mins is None else settings.exit_duration_in_mins * 60
        late = time.monotonic() - self._began > limit
        agreed = topology.highest(self._worker.stop_signal or int(late), self._device)
        if agreed > 1:
            self._worker.request_stop(agreed)
        elif not agreed and not (settings.exit_interval and step % settings.exit_interval == 0):
            return False
        reason = f"signal {agreed}" if agreed > 1 else "exit_duration_in_mins" if agreed else "exit_interval"
        self._say(f"Stops after step {step}: {reason}.")
        return True

    def _finish(self, *, completed: bool) -> None:
        """The test after the last step, and the last checkpoint; an unfinished run always leaves one."""
        if completed and self._settings.eval_interval:
            self._evaluate("test", self._data.test)
        self._finish_saving(wait=True)
        wanted = not completed or not self._settings.disable_last_saving
        if wanted and self._checkpoints.last_step != self._progress.step:
            self._save()
            self._finish_saving(wait=True)

    def _batches(self, dataset: Any, *, consumed: int = 0) -> list[Any]:
        return [data.batches(dataset, self._arguments, chunk, consumed=consumed) for chunk in self._training.chunks]

    def _describe_model(self) -> None:
        parameters = count_parameters(self._training.chunks, self._device)
        if self._reports:
            rows = padded_vocabulary(self._training.vocabulary, self._arguments)
            self._worker.describe_model(
                parameters=parameters, vocab_size=self._training.vocabulary, padded_vocab_size=rows
            )
            self._worker.report_to(self._settings)

    def _say(self, sentence: str) -> None:
        """A line in the log that is shown."""
        if self._reports:
            print(sentence)

    @contextmanager
    def _garbage(self) -> Iterator[None]:
        """With manual_gc, Python's collector runs only where _between_steps() calls it."""
        if not self._settings.manual_gc:
            yield
            return
        gc.disable()
        try:
            yield
        finally:
            gc.enable()


@contextmanager
def _parameters_gathered(chunks: list[Any]) -> Iterator[None]:
    """With overlap_param_gather, weights arrive during the next forward pass: fetch them now."""
    overlapped = [chunk for chunk in chunks if chunk.ddp_config.overlap_param_gather]
    for chunk in overlapped:
        chunk.disable_forward_pre_hook()
    yield
    for chunk in overlapped:
        chunk.enable_forward_pre_hook()
