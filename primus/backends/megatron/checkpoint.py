"""Saving and loading a training run with megatron.core's dist_checkpointing, in the format that Megatron-LM reads.
The loop calls Checkpoints; checkpoint_folder.py knows the files."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, tensor_parallel
from megatron.core import parallel_state as groups
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.dist_checkpointing.serialization import (
    get_default_load_sharded_strategy,
    get_default_save_sharded_strategy,
    load_content_metadata,
)
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncCallsQueue
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelLoadStrategyWrapper,
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.utils import unwrap_model

from primus.backends.megatron.architecture import architecture_of, optimizer_facts
from primus.backends.megatron.checkpoint_folder import CheckpointFolder
from primus.backends.megatron.optimizer import load_optimizer_state, schedule_changes
from primus.backends.megatron.state import Training
from primus.errors import MissingError


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: CheckpointFolder, training: Training) -> None:
        self.folder = folder
        self._training = training
        self._background = AsyncCallsQueue()
        self.last_step: int | None = None
        """Step of the newest complete checkpoint that this run has saved or loaded."""

    @property
    def last(self) -> Path | None:
        """That checkpoint."""
        return None if self.last_step is None else self.folder.path_of(self.last_step)

    def save(self) -> Path | None:
        """Write a checkpoint of the present state; all processes must call it.

        None with async_save: it is complete when finish() says so. There must be no other unfinished one.
        """
        training = self._training
        settings, step = training.arguments.settings, training.progress.step
        self._begin(step)
        group = groups.get_data_parallel_group(with_context_parallel=True)
        strategy = get_default_save_sharded_strategy("torch_dist")
        if settings.ckpt_fully_parallel_save:
            strategy = FullyParallelSaveStrategyWrapper(strategy, group)
        metadata = _metadata(training)
        described = {key: value for key, value in metadata.items() if key != "dp_cp_group"}
        state = _sharded_state(training, metadata, optimizer=not settings.no_save_optim, rng=not settings.no_save_rng)
        request = dist_checkpointing.save(
            state,
            str(self.folder.partial(step)),
            strategy,
            async_sharded_save=settings.async_save,
            content_metadata=described,
        )
        publish = partial(self._publish, step, self._facts())
        if request is None:
            publish()
            return self.last
        request.add_finalize_fn(publish)
        self._background.schedule_async_request(request)
        return None

    def finish(self, *, wait: bool = False) -> Path | None:
        """The checkpoint that was written in the background, when all processes are done with it since the last call;
        all must call it. With `wait`, as soon as they are."""
        return self.last if self._background.maybe_finalize_async_calls(blocking=wait) else None

    def load(self, step: int, *, source: CheckpointFolder | None = None, weights_only: bool = False) -> list[str]:
        """Continue from the checkpoint of `step`; with `weights_only` it is only where the weights come from.

        Returns in what the schedule is not the one that was saved.
        """
        training, folder = self._training, source or self.folder
        settings, path = training.arguments.settings, str(folder.path_of(step))
        with_optimizer = not (weights_only or settings.no_load_optim)
        with_rng = not (weights_only or settings.no_load_rng) and _same_layout(training, folder.facts(step))
        metadata = {**_metadata(training), **(load_content_metadata(path) or {})}
        state = _sharded_state(training, metadata, optimizer=with_optimizer, rng=with_rng, is_loading=True)
        strategy = get_default_load_sharded_strategy(path)
        if settings.ckpt_fully_parallel_load:
            group = groups.get_data_parallel_group(with_context_parallel=True)
            strategy = FullyParallelLoadStrategyWrapper(strategy, group)
        loaded = dist_checkpointing.load(state, path, strategy)
        for name, chunk in _named_chunks(training):
            chunk.load_state_dict(loaded[name])
        if with_optimizer:
            keep = settings.use_checkpoint_opt_param_scheduler
            load_optimizer_state(training.optimizer, loaded["optimizer"], keep_schedule=keep)
        else:
            training.optimizer.reload_model_params()
        if weights_only:
            return []
        changes = schedule_changes(training.schedule, loaded["opt_param_scheduler"])
        training.schedule.load_state_dict(loaded["opt_param_scheduler"])
        if with_rng:
            _restore_rng(loaded["rng_state"][0])
        training.progress.step = loaded["iteration"]
        # Megatron-LM's own training keeps it among its arguments.
        found = loaded if "consumed_train_samples" in loaded else vars(loaded["args"])
        training.progress.samples = found["consumed_train_samples"]
        self.last_step = step
        return [] if settings.use_checkpoint_opt_param_scheduler else changes

    def _publish(self, step: int, facts: dict[str, Any]) -> None:
        settings = self._training.arguments.settings
        if dist.get_rank() == 0:
            self.folder.publish(step, facts)
            self.folder.prune(keep_last=settings.keep_last, retain_interval=settings.save_retain_interval)
        dist.barrier()
        self.last_step = step

    def _begin(self, step: int) -> None:
        """Make the folder to write into, and see that all processes share it."""
        if dist.get_rank() == 0:
            self.folder.begin(step)
        dist.barrier()
        if not self.folder.partial(step).is_dir():
            raise MissingError(
                f"{self.folder.path}: this process does not see the folder that rank 0 made. The workspace must be on "
                "a file system that all nodes share."
            )

    def _facts(self) -> dict[str, Any]:
        training, layout = self._training, self._training.arguments.layout
        return {
            "step": training.progress.step,
            "samples": training.progress.samples,
            "global_batch_size": training.arguments.global_batch_size,
            "architecture": architecture_of(training.arguments, training.vocabulary),
            "optimizer": optimizer_facts(training.arguments),
            "layout": _layout_facts(layout),
        }


def _layout_facts(layout: Any) -> dict[str, int]:
    names = ("world_size", "tensor", "pipeline", "context", "expert", "expert_tensor")
    return {name: getattr(layout, name) for name in names}


def _same_layout(training: Training, facts: dict[str, Any]) -> bool:
    """Random number generators belong to the processes of one layout; another one starts its own."""
    return bool(facts.get("layout") == _layout_facts(training.arguments.layout))


def _metadata(training: Training) -> dict[str, Any]:
    """What steers the form in which megatron.core saves."""
    settings = training.arguments.settings
    metadata = {
        "singleton_local_shards": False,
        "chained_optim_avoid_prefix": True,
        "dp_cp_group": groups.get_data_parallel_group(with_context_parallel=True),
    }
    if training.arguments.ddp.use_distributed_optimizer:
        whole = settings.dist_ckpt_optim_fully_reshardable
        metadata["distrib_optim_sharding_type"] = "fully_reshardable" if whole else "dp_reshardable"
        if whole:
            metadata["distrib_optim_fully_reshardable_mem_efficient"] = (
                settings.distrib_optim_fully_reshardable_mem_efficient
            )
    return metadata


def _named_chunks(training: Training) -> list[tuple[str, Any]]:
    chunks = unwrap_model(training.chunks)
    return [("model" if len(chunks) == 1 else f"model{index}", chunk) for index, chunk in enumerate(chunks)]


def _sharded_state(
    training: Training, metadata: dict[str, Any], *, optimizer: bool, rng: bool, is_loading: bool = False
) -> dict[str, Any]:
    """Everything that a checkpoint holds, in Megatron-LM's names."""
    models = {name: chunk.sharded_state_dict(metadata=metadata) for name, chunk in _named_chunks(training)}
    state: dict[str, Any] = {
        "checkpoint_version": 3.0,
        "iteration": training.progress.step,
        "consumed_train_samples": training.progress.samples,
        "opt_param_scheduler": training.schedule.state_dict(),
        **models,
    }
    if optimizer:
        state["optimizer"] = training.optimizer.sharded_state_dict(models, is_loading=is_loading, metadata=metadata)
    if rng:
        state["rng_state"] = _sharded_rng()
    return state


def _sharded_rng() -> ShardedObject:
    """The generators of this process, at its place in the layout."""
    state = [
        {
            "random_rng_state": random.getstate(),
            "np_rng_state": numpy.random.get_state(),
            "torch_rng_state": torch.get_rng_state(),
            "cuda_rng_state": torch.cuda.get_rng_state(),
            "rng_tracker_states": tensor_parallel.get_cuda_rng_tracker().get_states(),
        }
    ]
    if groups.get_expert_model_parallel_world_size() > 1:
        return ShardedObject("rng_state", state, (dist.get_world_size(),), (dist.get_rank(),), replica_id=0)
    shape = (groups.get_pipeline_model_parallel_world_size(), groups.get_tensor_model_parallel_world_size())
    place = (groups.get_pipeline_model_parallel_rank(), groups.get_tensor_model_parallel_rank())
    replica = groups.get_data_parallel_rank(with_context_parallel=True)
    return ShardedObject("rng_state", state, shape, place, replica_id=replica)


def _restore_rng(state: dict[str, Any]) -> None:
    random.setstate(state["random_rng_state"])
    numpy.random.set_state(state["np_rng_state"])
    torch.set_rng_state(state["torch_rng_state"])
    torch.cuda.set_rng_state(state["cuda_rng_state"])
    tensor_parallel.get_cuda_rng_tracker().set_states(state["rng_tracker_states"])
