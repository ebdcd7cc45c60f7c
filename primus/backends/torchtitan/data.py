"""Text of one's own as a dataset of torchtitan: `training.dataset = "text"` with a folder of JSONL or Parquet files.
The worker registers it before it builds the Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
from torchtitan.hf_datasets import DatasetConfig
from torchtitan.hf_datasets.text_datasets import DATASETS

from primus.errors import MissingError

NAME = "text"

_FORMATS = {"json": "*.jsonl", "parquet": "*.parquet"}
"""Builders of `datasets`, and the files that they read."""

_ORDER = 0
"""Of the documents: text is often collected by source, and training must not see one source after the other."""


def register(world_size: int) -> None:
    """Teach torchtitan the dataset `text`; each of `world_size` readers at most must get a document."""
    datasets.disable_progress_bars()
    DATASETS[NAME] = DatasetConfig(path="", loader=lambda path: load(path, world_size), sample_processor=_text_of)


def load(path: str, world_size: int) -> datasets.Dataset:
    """Every document of a folder, shuffled, the same in every run; they stand in the Arrow cache of `datasets`."""
    folder = Path(path)
    documents = _read(folder)
    if "text" not in documents.column_names:
        names = ", ".join(documents.column_names)
        raise MissingError(f"training.dataset_path: the documents in {folder} have no `text`, only {names}.")
    if len(documents) < world_size:
        raise MissingError(
            f"training.dataset_path: {folder} has {len(documents)} documents, fewer than the {world_size} processes "
            "that read them. Split the text into more documents."
        )
    return documents.shuffle(seed=_ORDER)


def _read(folder: Path) -> datasets.Dataset:
    """The files of a folder that `primus data prepare` made (below corpus/), or of any folder that has some."""
    corpus = folder / "corpus" if (folder / "corpus").is_dir() else folder
    for builder, pattern in _FORMATS.items():
        files = [str(path) for path in sorted(corpus.glob(pattern))]
        if files:
            return datasets.load_dataset(builder, data_files=files, split="train")
    why = f"has no {' or '.join(_FORMATS.values())} files" if folder.is_dir() else "is not a folder"
    raise MissingError(f"training.dataset_path: {folder} {why}. `primus data prepare` makes one from text.")


def _text_of(sample: dict[str, Any]) -> str:
    text: str = sample["text"]
    return text
