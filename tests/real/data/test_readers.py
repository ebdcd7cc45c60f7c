"""What `primus data prepare` makes, read by the frameworks that it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from primus.data.prepare import Request, prepare
from primus.data.progress import PlainProgress

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def texts() -> Sequence[str]:
    """Real text: sources of the standard library."""
    library = Path(sysconfig.get_path("stdlib"))
    return [path.read_text(encoding="utf-8") for path in sorted(library.glob("[a-d]*.py"))]


@pytest.fixture(scope="module")
def folder(texts: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """corpus.jsonl with the output for both frameworks, and what megatron.core's own builder makes of it."""
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    folder = tmp_path_factory.mktemp("corpus")
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    for format in ("megatron", "torchtitan"):
        request = Request(
            inputs=(str(corpus),),
            output=folder / format,
            format=format,
            tokenizer="byte",
            eod=None,
            key="text",
            globs=(),
            read_as=None,
            workers=2,
            on_error="stop",
            force=False,
        )
        with (folder / "log").open("w") as log:
            prepare(request, PlainProgress(log))
    builder = IndexedDatasetBuilder(str(folder / "builder.bin"), dtype=np.uint16)
    for text in texts:
        tokens = [*text.encode(), 256]
        builder.add_document(torch.tensor(tokens, dtype=torch.int32), [len(tokens)])
    builder.finalize(str(folder / "builder.idx"))
    return folder


def test_megatron_core_reads_back_what_was_written(folder: Path, texts: Sequence[str]) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    dataset = IndexedDataset(str(folder / "megatron"))

    assert len(dataset) == len(texts)
    assert list(dataset.document_indices) == list(range(len(texts) + 1))
    assert dataset.index.dtype == np.uint16
    for number, text in enumerate(texts):
        assert dataset[number].tolist() == [*text.encode(), 256]


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_the_files_are_those_of_megatron_cores_own_builder(folder: Path, suffix: str) -> None:
    assert (folder / f"megatron{suffix}").read_bytes() == (folder / f"builder{suffix}").read_bytes()


READ_WITH_TORCHTITAN = """
import json, sys
from primus.backends.torchtitan import cpu
cpu.install()
from torchtitan.components.tokenizer import HuggingFaceTokenizer
from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataset

tokenizer = HuggingFaceTokenizer(sys.argv[1] + "/tokenizer")
dataset = HuggingFaceTextDataset("c4_test", sys.argv[1] + "/corpus", tokenizer, seq_len=512)
tokens = [token for inputs, labels in dataset for token in (*inputs["input"].tolist(), labels[-1].item())]
facts = [tokenizer.eos_id, tokenizer.bos_id, tokenizer.get_vocab_size()]
print(json.dumps({"facts": facts, "tokens": tokens}))
"""


def test_torchtitan_reads_the_text_with_the_tokenizer(folder: Path, texts: Sequence[str]) -> None:
    command = [sys.executable, "-c", READ_WITH_TORCHTITAN, str(folder / "torchtitan")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout.splitlines()[-1])

    expected = [token for text in texts for token in (*text.encode(), 256)]
    assert read["facts"] == [256, None, 257]
    assert len(read["tokens"]) == len(expected) // 513 * 513
    assert read["tokens"] == expected[: len(read["tokens"])]
