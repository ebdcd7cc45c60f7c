"""Batches: megatron's datasets, and which of their samples each process reads at which step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state as state
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig, MockGPTDataset
from megatron.core.datasets.indexed_dataset import IndexedDataset
from megatron.core.datasets.utils import get_blend_from_list
from megatron.core.utils import unwrap_model

from primus.backends.megatron.arguments import Arguments
from primus.backends.megatron.corpus import END_MATTERS, mismatch
from primus.backends.megatron.sampling import MicroBatches
from primus.backends.megatron.tokenizer import Tokenizer
from primus.errors import ExperimentError, MissingError, Problem


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The three parts of the data; None when the experiment has no such part."""

    train: Any
    valid: Any
    test: Any


def build_datasets(
    arguments: Arguments, tokenizer: Tokenizer, *, vocabulary: int, cache: Path, local_rank: int = 0
) -> Datasets:
    """Megatron's datasets, large enough for the whole training; `cache` is for index files, when no key names one."""
    settings, batch = arguments.settings, arguments.global_batch_size
    evaluation = settings.eval_iters * batch if settings.eval_interval else 0
    config = GPTDatasetConfig(
        **{
            "path_to_cache": str(cache),
            "random_seed": settings.seed,
            **_MASKS,
            **arguments.dataset,
            **_sources(arguments),
        },
        tokenizer=tokenizer,
    )
    _refuse_other_tokenizers(config, vocabulary)
    writes = writes_index(Path(config.path_to_cache), local_rank)
    sizes = [settings.train_iters * batch, evaluation, evaluation]
    _refuse_empty_parts(config, sizes)
    kind = MockGPTDataset if settings.mock_data else GPTDataset
    # On every process; those that write the index files do so before the others read them.
    with _as_rank_0(writes):
        parts = BlendedMegatronDatasetBuilder(kind, sizes, lambda: True, config).build()
    return Datasets(**dict(zip(_PARTS, parts, strict=True)))


def writes_index(cache: Path, local_rank: int) -> bool:
    """Whether this process writes the index files into the folder: rank 0, and the first process of each node that
    does not see rank 0's folder, since it has one of its own under that name. All processes must call it."""
    name: list[str] = [""]
    if dist.get_rank() == 0:
        cache.mkdir(parents=True, exist_ok=True)
        name = [Path(mkdtemp(prefix=".seen-", dir=cache)).name]
    dist.broadcast_object_list(name)
    sign = cache / name[0]
    sees = sign.exists()
    dist.barrier()
    if dist.get_rank() == 0:
        sign.rmdir()
        return True
    if sees or local_rank:
        return False
    cache.mkdir(parents=True, exist_ok=True)
    return True


def batches(dataset: Any, arguments: Arguments, chunk: Any, *, consumed: int = 0) -> Iterator[Any] | None:
    """Micro-batches of this process from sample `consumed` on, endless; None for a stage that needs no data.

    Each process reads its own samples: those of a tensor parallel group read the same ones.
    """
    stage = unwrap_model(chunk)
    if not (stage.pre_process or stage.post_process or arguments.dataset.get("create_attention_mask", True)):
        return None
    settings = arguments.settings
    sampler = MicroBatches(
        len(dataset),
        consumed=consumed,
        size=settings.micro_batch_size,
        rank=state.get_data_parallel_rank(),
        replicas=state.get_data_parallel_world_size(),
        seed=settings.seed if settings.dataloader_type == "cyclic" else None,
    )
    loader: Any = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=settings.num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=settings.num_workers > 0,
        # Its own, so that a new loader does not move the generator that dropout draws from.
        generator=torch.Generator().manual_seed(settings.seed),
    )
    batches: Iterator[Any] = iter(loader)
    return batches


_PARTS = ("train", "valid", "test")

_MASKS = {"reset_position_ids": False, "reset_attention_mask": False, "eod_mask_loss": False}
"""GPTDatasetConfig wants a value for each."""


def _sources(arguments: Arguments) -> dict[str, Any]:
    """`blend` or `blend_per_split` of GPTDatasetConfig."""
    settings = arguments.settings
    if settings.mock_data:
        return {"blend": None}
    parts = (settings.train_data_path, settings.valid_data_path, settings.test_data_path)
    if any(parts):
        return {"blend_per_split": [_blend(part) for part in parts], "split": None}
    if settings.data_path is None:
        raise ExperimentError([Problem(message="no data: set data_path, or train_data_path, or mock_data: true")])
    return {"blend": _blend(settings.data_path)}


def _blend(paths: list[str | float] | str | None) -> Any:
    """Prefixes and weights as megatron wants them, after a look whether the files are there."""
    words = [str(path) for path in (paths.split() if isinstance(paths, str) else paths or [])]
    if not words:
        return None
    blend = get_blend_from_list(words)
    for prefix in blend[0]:
        for suffix in (".bin", ".idx"):
            if not Path(prefix + suffix).is_file():
                raise MissingError(
                    f"{prefix}{suffix}: no such file. data_path is a prefix that `primus data prepare` wrote, "
                    "without .bin and .idx."
                )
    return blend


def _refuse_other_tokenizers(config: GPTDatasetConfig, vocabulary: int) -> None:
    """The checks before the launch did so already, unless the tokenizer had to be downloaded first."""
    eod = config.tokenizer.eod if any(getattr(config, key) for key in END_MATTERS) else None
    blends = config.blend_per_split or [config.blend]
    for prefix in {prefix for blend in blends if blend for prefix in blend[0]}:
        wrong = mismatch(prefix, vocabulary=vocabulary, eod=eod)
        if wrong:
            raise ExperimentError([Problem(message=wrong)])


@contextmanager
def _as_rank_0(writes: bool) -> Iterator[None]:
    """Megatron lets rank 0 alone write index files, which other nodes may not see."""
    module: Any = dist
    original = dist.get_rank
    module.get_rank = lambda group=None: int(not writes) if group is None else original(group)
    try:
        yield
    finally:
        module.get_rank = original


def _refuse_empty_parts(config: GPTDatasetConfig, sizes: list[int]) -> None:
    """Megatron would look for ever for the samples of a part that has no text."""
    sources = config.blend_per_split or [config.blend] * len(_PARTS)
    whole = [(0.0, 1.0)] * len(_PARTS)
    for name, blend, share, size in zip(_PARTS, sources, config.split_matrix or whole, sizes, strict=True):
        for prefix in blend[0] if blend and share and size else ():
            dataset = IndexedDataset(prefix)  # which owns the memory of the lengths
            lengths = dataset.sequence_lengths
            first, last = (round(bound * len(lengths)) for bound in share)
            if not lengths[first:last].any():
                of = f", which is documents {first} to {last} of {len(lengths)}" if config.split else ""
                remedy = (
                    "raise its share in `split`, bring more documents, or do without evaluation (eval_interval: null)"
                )
                raise ExperimentError([Problem(message=f"the {name} part of {prefix}{of}, has no text: {remedy}.")])
