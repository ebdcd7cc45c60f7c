"""torchtitan's Trainer with what Primus adds between its steps: where it starts, when it stops, and that no checkpoint
is half written or of a model that has diverged. worker.py builds it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torchtitan.train
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.tensor import DTensor
from torchtitan.config import JobConfig

from primus.backends.torchtitan import start
from primus.backends.torchtitan.checkpoint_folder import has_index
from primus.backends.torchtitan.expert_load import watch_experts
from primus.backends.torchtitan.layout import Layout
from primus.backends.torchtitan.saving import AtomicCheckpoints
from primus.backends.torchtitan.stopping import Diverged, FiniteLoss, StopRequests, all_finite
from primus.backends.worker import Worker
from primus.errors import ExperimentError, MissingError, Problem
from primus.metrics.settings import MetricsSettings

# The Trainer makes its manager of checkpoints by this name, and has no parameter for another one.
torchtitan.train.CheckpointManager = AtomicCheckpoints


class Trainer(torchtitan.train.Trainer):  # type: ignore[misc]
    """One rank of a run."""

    def __init__(self, config: JobConfig, worker: Worker, layout: Layout, services: MetricsSettings) -> None:
        super().__init__(config)
        self.worker = worker
        self.layout = layout
        self.services = services
        self.reports = worker.rank == layout.reporting_rank
        self.first_step: int | None = None
        self.microbatches = 0
        self.stop_requests = StopRequests(worker)
        self.losses = FiniteLoss(self.device)
        self.experts = watch_experts(self.model_parts, self.device)
        self._refuse_larger_vocabulary()
        self._describe_model()
        self.checkpointer.during = partial(worker.doing, "saving")
        if config.validation.enable:
            self.validator.validate = worker.doing("evaluating")(self.validator.validate)

    def train(self) -> None:
        begin = self._agree_on_start()
        self._say(begin.message)
        if begin.checkpoint is not None:
            self._refuse_another_model(begin.checkpoint.path)
            self.checkpointer.start = begin.checkpoint.step
        if begin.finished:
            return
        super().train()
        if self.step == self.job_config.training.steps:
            self.worker.stop_signal = None  # it came after the last step

    def should_continue_training(self) -> bool:
        if self.first_step is None:
            self.first_step = self.step
            self.worker.begin(self.step)
            tokens = self._global_batch_size() * self.job_config.training.seq_len
            self.metrics_processor.start(self.step, tokens, self.experts)
        if not super().should_continue_training():
            self.stop_requests.close()
            return False
        asked = self.stop_requests.agreed()
        if asked is None:
            return True
        self.worker.stop_signal = asked
        self._save_before_stop()
        return False

    def train_step(self, data_iterator: Iterator[Any]) -> None:
        self.metrics_processor.step_begins()
        if self.experts is not None:
            self.experts.step_begins()
        super().train_step(data_iterator)
        self.metrics_processor.step_ends()
        self.worker.step_done(self.step)
        saves = self.checkpointer.will_save(self.step, last=self.step == self.job_config.training.steps)
        if saves or self.metrics_processor.should_log(self.step):
            self._stop_if_diverged(look_at_weights=saves)

    def forward_backward_step(self, **batch: Any) -> torch.Tensor:
        loss: torch.Tensor = super().forward_backward_step(**batch)
        self.losses.note(loss.full_tensor() if isinstance(loss, DTensor) else loss, self.step)
        self.microbatches += 1
        if self.microbatches % self.gradient_accumulation_steps == 0:
            self._correct_gradients(batch["global_valid_tokens"])
            if self.experts is not None:
                self.experts.step_counted()
        return loss

    def _correct_gradients(self, tokens: torch.Tensor) -> None:
        """torchtitan 0.2.2 divides the loss by the tokens of all ranks, so that gradients need only be added up. But
        with pipeline stages it does not divide the gradients, which come out thousands of times too large, and DDP
        takes their mean. Clipping to max_norm and Adam hide both."""
        factor = 1.0
        if self.parallel_dims.pp_enabled:
            factor /= float(tokens)
        if self.parallel_dims.dp_replicate_enabled and not self.parallel_dims.fsdp_enabled:
            factor *= self.layout.replicate
        if factor != 1.0:
            gradients = [each.grad for part in self.model_parts for each in part.parameters() if each.grad is not None]
            torch._foreach_mul_(gradients, factor)

    def _agree_on_start(self) -> start.Start:
        agreed: list[start.Start | MissingError | None] = [None]
        if self.worker.rank == 0:
            try:
                agreed = [start.decide(self._start_plan())]
            except MissingError as error:
                agreed = [error]
        if self.worker.world_size > 1:
            dist.broadcast_object_list(agreed, src=0, device=self.device)
        begin = agreed[0]
        if isinstance(begin, MissingError):
            raise begin
        assert begin is not None
        return begin

    def _start_plan(self) -> start.Plan:
        config, hf = self.job_config.checkpoint, self.job_config.model.hf_assets_path
        return start.Plan(
            folder=Path(config.folder),
            resume=self.worker.resume,
            run_id=self.worker.run_dir.id,
            enabled=config.enable,
            steps=self.job_config.training.steps,
            load_step=config.load_step,
            readers=self.layout.data,
            data_excluded="dataloader" in config.exclude_from_loading,
            other=config.initial_load_path or (hf if config.initial_load_in_hf else None),
        )

    def _refuse_another_model(self, path: Path) -> None:
        if "model" in self.job_config.checkpoint.exclude_from_loading or not has_index(path):
            return
        metadata = FileSystemReader(path).read_metadata().state_dict_metadata
        saved = {name: tuple(each.size) for name, each in metadata.items() if hasattr(each, "size")}
        here = {name: tuple(each.shape) for name, each in self.checkpointer.states["model"].state_dict().items()}
        found = start.differences(saved, here)
        if found:
            listed = "\n  ".join([*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])])
            remedy = "Use another exp_name, or --no-resume to start from zero and keep it aside."
            message = f"{path} is a checkpoint of another model:\n  {listed}\n{remedy}"
            raise ExperimentError([Problem(message=message)])

    def _refuse_larger_vocabulary(self) -> None:
        """A token without a row in the embedding is an index error on a CPU and worse on a GPU."""
        rows = getattr(self.model_args, "vocab_size", None)
        if rows is None or self.tokenizer is None or self.tokenizer.get_vocab_size() <= rows:
            return
        path = self.job_config.model.hf_assets_path
        message = f"the tokenizer in {path} has {self.tokenizer.get_vocab_size()} tokens, and the model only {rows}"
        raise ExperimentError([Problem(key="model.hf_assets_path", message=message)])

    def _describe_model(self) -> None:
        """Facts for reports. Every rank must call it: pipeline stages count their parameters together."""
        parts = {id(each): each for part in self.model_parts for each in part.parameters()}
        count = torch.tensor(sum(each.numel() for each in parts.values()), device=self.device)
        if self.parallel_dims.pp_enabled:
            dist.all_reduce(count, group=self.parallel_dims.get_mesh("pp").get_group())
        training = self.job_config.training
        if self.reports:
            self.worker.describe_model(
                parameters=int(count.item()),
                name=self.job_config.model.name,
                flavor=self.job_config.model.flavor,
                sequence_length=training.seq_len,
                global_batch_size=self._global_batch_size(),
            )
            self.worker.report_to(self.services)

    def _global_batch_size(self) -> int:
        return int(self.gradient_accumulation_steps * self.job_config.training.local_batch_size * self.layout.data)

    def _save_before_stop(self) -> None:
        assert self.worker.stop_signal is not None
        name = self.worker.stop_signal.name
        if not self.checkpointer.enable or self.job_config.checkpoint.load_only or self.step == self.first_step:
            self._say(f"Stops after step {self.step} ({name}); there is nothing to save.")
            return
        self._stop_if_diverged(look_at_weights=True)
        self.checkpointer.save_now(self.step)
        self._say(f"Stops after step {self.step} ({name}); the checkpoint is saved.")

    def _stop_if_diverged(self, *, look_at_weights: bool) -> None:
        """Every rank must call it, and raises the same error."""
        step = self.losses.first_bad_step()
        if step is not None:
            size = self._global_batch_size()
            batch = f"sequences {(step - 1) * size} to {step * size - 1}"
            what = f"The loss of step {step} ({batch}) is not a finite number"
        elif look_at_weights and not all_finite(self._local_weights(), self.device):
            what = f"After step {self.step} some weights are not finite numbers"
        else:
            return
        last = self.checkpointer.newest()
        raise Diverged(
            f"{what}: training stops. Last good checkpoint: {last or 'none'}. A lower optimizer.lr, a longer "
            "lr_scheduler.warmup_steps or a lower training.max_norm may help."
        )

    def _local_weights(self) -> list[torch.Tensor]:
        weights = [each.detach() for part in self.model_parts for each in part.parameters()]
        return [each.to_local() if isinstance(each, DTensor) else each for each in weights]

    def _say(self, message: str) -> None:
        if self.reports:
            print(message, flush=True)
