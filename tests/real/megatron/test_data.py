"""Which samples training reads: the parts of a blend by their weights, and index files that all processes share."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LLAMA, Start

from primus.errors import ExperimentError

pytestmark = pytest.mark.real

LETTERS = {"a": 0.5, "b": 0.3, "c": 0.2}
STEPS = 125
BATCH = 8


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of each letter: a sample tells where it is from."""
    folder = tmp_path_factory.mktemp("letters")
    for letter in LETTERS:
        (folder / f"{letter}.txt").write_text(letter * 20_000)
        command = [sys.executable, "-m", "primus", "data", "prepare", str(folder / f"{letter}.txt")]
        subprocess.run([*command, "--tokenizer", "byte", "--output", str(folder / letter)], check=True)
    return folder


@pytest.fixture
def group() -> Iterator[None]:
    """This process as the only one of a training."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def build(cache: Path, **values: Any) -> Any:
    from primus.backends.megatron import arguments, data
    from primus.backends.megatron.tokenizer import numbers

    data_keys = {"mock_data": None, "tokenizer_type": "ByteTokenizer", "train_iters": STEPS, "eval_interval": None}
    built = arguments.build(LLAMA | {"global_batch_size": BATCH} | data_keys | values, world_size=1, gpu=False)
    vocabulary = values.get("vocab_size", 257)
    return data.build_datasets(built, numbers("ByteTokenizer", None), vocabulary=vocabulary, cache=cache)


def sources(dataset: Any, count: int) -> Counter[str]:
    """How many of the first samples are of each letter."""
    return Counter(chr(int(dataset[index]["tokens"][0])) for index in range(count))


@pytest.mark.parametrize("key", ["data_path", "train_data_path"])
def test_blend_is_read_by_its_weights(key: str, corpora: Path, tmp_path: Path, group: None) -> None:
    blend = [part for letter, weight in LETTERS.items() for part in (weight, str(corpora / letter))]
    dataset = build(tmp_path, **{key: blend, "split": "100,0,0" if key == "data_path" else None}).train
    samples = STEPS * BATCH
    for count in (samples // 10, samples):  # at every point of the training, not only in the end
        found = sources(dataset, count)
        assert {letter: found[letter] / count for letter in LETTERS} == pytest.approx(LETTERS, abs=1.5 / count)


def test_index_files_are_built_once(corpora: Path, tmp_path: Path, group: None) -> None:
    values = {"data_path": str(corpora / "a"), "split": "100,0,0"}
    build(tmp_path, **values)
    built = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    assert built
    build(tmp_path, **values)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")} == built


def test_nodes_build_the_index_once_where_they_share_the_folder_and_once_each_where_not(
    corpora: Path, tmp_path: Path, train: Start
) -> None:
    blend = [0.5, str(corpora / "a"), 0.5, str(corpora / "b")]
    data = {"mock_data": None, "tokenizer_type": "ByteTokenizer", "vocab_size": None, "train_data_path": blend}
    values = {**data, "split": None, "train_iters": 2, "lr_warmup_iters": 0, "disable_last_saving": True}
    runs = [
        train(f"cache-{name}", processes=2, nodes=True, data_cache_path=str(tmp_path / name), **values)
        for name in ("shared", "own-${GROUP_RANK}")
    ]
    shared, *own = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("shared", "own-0", "own-1"))
    assert any(name.endswith("document_index.npy") for name in shared)
    assert own == [shared, shared]
    assert runs[0].metric("loss") == runs[1].metric("loss")


def test_corpus_of_a_larger_vocabulary_is_refused(corpora: Path, tmp_path: Path, group: None) -> None:
    with pytest.raises(ExperimentError, match="a tokenizer of 257 tokens, but the model knows 200"):
        build(tmp_path, data_path=str(corpora / "a"), split="100,0,0", vocab_size=200)
