"""What the tests of `primus data prepare` share: small corpora, and a reader of Megatron's format of its own."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from primus.data.prepare import Outcome, Request, prepare
from primus.data.progress import PlainProgress

TYPES = {4: np.int32, 8: np.uint16}


def read_indexed(prefix: Path) -> list[list[int]]:
    """The documents of PREFIX.bin and PREFIX.idx, read as their format is documented."""
    index = Path(f"{prefix}.idx").read_bytes()
    magic, version, code, sequences, ends = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, ends) == (b"MMIDIDX\0\0", 1, sequences + 1)
    lengths = np.frombuffer(index, np.int32, sequences, 34)
    places = np.frombuffer(index, np.int64, sequences, 34 + lengths.nbytes)
    documents = np.frombuffer(index, np.int64, ends, 34 + lengths.nbytes + places.nbytes)
    assert list(documents) == list(range(ends))
    assert 34 + lengths.nbytes + places.nbytes + documents.nbytes == len(index)
    data = Path(f"{prefix}.bin").read_bytes()
    found = [
        np.frombuffer(data, TYPES[code], length, place).tolist() for length, place in zip(lengths, places, strict=True)
    ]
    assert sum(map(len, found)) * np.dtype(TYPES[code]).itemsize == len(data)
    return found


def as_bytes(*texts: str) -> list[list[int]]:
    """What the byte tokenizer makes of documents."""
    return [[*text.encode(), 256] for text in texts]


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes a JSONL file: a str becomes an object with that text, bytes a line as they are."""

    def write(*lines: str | bytes, name: str = "corpus.jsonl", key: str = "text") -> Path:
        path = tmp_path / name
        path.write_bytes(
            b"".join((line if isinstance(line, bytes) else json.dumps({key: line}).encode()) + b"\n" for line in lines)
        )
        return path

    return write


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Outcome]:
    """Calls prepare() for tmp_path/out, with the defaults of the command; `log` takes what it says on the way."""

    def call(*inputs: Path | str, log: io.StringIO | None = None, **options: Any) -> Outcome:
        defaults: dict[str, Any] = {
            "output": tmp_path / "out",
            "format": "megatron",
            "tokenizer": "byte",
            "eod": None,
            "key": "text",
            "globs": (),
            "read_as": None,
            "workers": 2,
            "on_error": "stop",
            "force": False,
        }
        request = Request(inputs=tuple(map(str, inputs)), **(defaults | options))
        return prepare(request, PlainProgress(log or io.StringIO()))

    return call


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts corpora into shards of 200 bytes, so that small ones need many."""
    monkeypatch.setattr("primus.data.corpus.SEGMENT_BYTES", 200)
    monkeypatch.setattr("primus.data.megatron.MegatronFormat.shard_bytes", 200)
    monkeypatch.setattr("primus.data.torchtitan.TorchtitanFormat.shard_bytes", 200)


@pytest.fixture(scope="session")
def texts() -> Sequence[str]:
    """Text to train tokenizers with."""
    return [
        "The quick brown fox jumps over the lazy dog.",
        "Pack my box with five dozen liquor jugs.",
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
        "def main() -> None:\n    print('hello, world')\n",
    ]


@pytest.fixture(scope="session")
def huggingface(texts: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small Hugging Face tokenizer that truncates and pads, as many do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    folder = tmp_path_factory.mktemp("huggingface")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<end>"}, "bos_token": None}))
    return folder


@pytest.fixture(scope="session")
def sentencepiece(texts: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of a small SentencePiece tokenizer."""
    from sentencepiece import SentencePieceTrainer

    path = tmp_path_factory.mktemp("sentencepiece") / "tokenizer.model"
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=file, vocab_size=90, hard_vocab_limit=False, minloglevel=2
        )
    return path
