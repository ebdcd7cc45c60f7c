"""Text of one's own as a dataset of torchtitan: `training.dataset = "text"` with a folder of JSONL or Parquet files, or
of a Hugging Face dataset.
The worker registers it before it builds the Trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import datasets
from torch.utils.data import IterableDataset, get_worker_info
from torchtitan.components.dataloader import ParallelAwareDataloader
from torchtitan.config import JobConfig
from torchtitan.hf_datasets import DatasetConfig
from torchtitan.hf_datasets.text_datasets import DATASETS, HuggingFaceTextDataset, build_text_dataloader

from primus.backends.torchtitan.checks import READERS
from primus.errors import MissingError

NAME = "text"

_FORMATS = {"json": "*.jsonl", "parquet": "*.parquet"}
"""Builders of `datasets`, and the files that they read."""

_PART = "train"
_SAVED = ("state.json", "dataset_dict.json")
"""Files that save_to_disk() leaves, of a dataset and of one in parts."""

_ORDER = 0
"""Seed of the order of the documents: text is often collected by source, and training must not see one source after the
other."""


def register() -> None:
    """Teach torchtitan the dataset `text`."""
    datasets.disable_progress_bars()
    DATASETS[NAME] = DatasetConfig(path="", loader=load, sample_processor=_text_of)


def build_dataloader(
    *, dp_world_size: int, dp_rank: int, tokenizer: Any, job_config: JobConfig
) -> ParallelAwareDataloader:
    """torchtitan's loader, but for `text` one whose batches hold pieces of many documents."""
    training = job_config.training
    if training.dataset != NAME:
        return build_text_dataloader(dp_world_size, dp_rank, tokenizer, job_config)
    readers = min(READERS, len(load(training.dataset_path)) // dp_world_size)
    if not readers:
        raise MissingError(
            f"training.dataset_path: {training.dataset_path} has {len(load(training.dataset_path))} documents, fewer "
            f"than the {dp_world_size} processes that read them. Split the text into more documents."
        )
    parts = [
        HuggingFaceTextDataset(
            NAME,
            training.dataset_path,
            tokenizer,
            seq_len=training.seq_len,
            dp_rank=dp_rank * readers + reader,
            dp_world_size=dp_world_size * readers,
            infinite=True,
        )
        for reader in range(readers)
    ]
    options = dataclasses.asdict(training.dataloader) | {"batch_size": training.local_batch_size}
    return ParallelAwareDataloader(SideBySide(parts), dp_rank=dp_rank, dp_world_size=dp_world_size, **options)


class SideBySide(IterableDataset):  # type: ignore[misc]
    """Takes a sequence from each of several datasets in turn. One alone would fill whole batches with the pieces of one
    document, which says little about all others."""

    def __init__(self, parts: Sequence[HuggingFaceTextDataset]) -> None:
        self._parts = parts
        self._turn = 0

    def __iter__(self) -> Iterator[Any]:
        # Each process that loads ahead has a copy of this dataset; together they read every part once.
        ahead = get_worker_info()
        mine = self._parts if ahead is None else self._parts[ahead.id :: ahead.num_workers]
        pieces = [iter(part) for part in mine]
        while True:
            turn, self._turn = self._turn, (self._turn + 1) % len(pieces)
            yield next(pieces[turn])

    def state_dict(self) -> dict[str, Any]:
        return {"turn": self._turn, "parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._turn = state["turn"]
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(saved)


@cache
def load(path: str) -> datasets.Dataset:
    """Every document of a folder, shuffled, the same in every run; they stand in the Arrow cache of `datasets`."""
    folder = Path(path)
    documents = _read(folder)
    if "text" not in documents.column_names:
        names = ", ".join(documents.column_names)
        raise MissingError(f"training.dataset_path: the documents in {folder} have no `text`, only {names}.")
    return documents.shuffle(seed=_ORDER)


def _read(folder: Path) -> datasets.Dataset:
    """The files of a folder that `primus data prepare` made (below corpus/) or of any folder that has some, or else a
    Hugging Face dataset: as save_to_disk() leaves it, or as it lies on the Hub."""
    corpus = folder / "corpus" if (folder / "corpus").is_dir() else folder
    for builder, pattern in _FORMATS.items():
        files = [str(path) for path in sorted(corpus.glob(pattern))]
        if files:
            return datasets.load_dataset(builder, data_files=files, split=_PART)
    if any((folder / name).is_file() for name in _SAVED):
        saved = datasets.load_from_disk(str(folder))
        if isinstance(saved, datasets.Dataset):
            return saved
        if _PART in saved:
            return saved[_PART]
        raise MissingError(f"training.dataset_path: {folder} has no part {_PART!r}, only {', '.join(saved)}.")
    try:
        return datasets.load_dataset(str(folder), split=_PART)
    except FileNotFoundError:
        why = f"has no {' or '.join(_FORMATS.values())} files" if folder.is_dir() else "is not a folder"
        message = f"training.dataset_path: {folder} {why}. `primus data prepare` makes one from text."
        raise MissingError(message) from None
    except ValueError as error:  # no such part, or several configurations
        raise MissingError(f"training.dataset_path: {folder}: {error}") from error


def _text_of(sample: dict[str, Any]) -> str:
    text: str = sample["text"]
    return text
