"""What megatron is told of a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron import tokenizer as module
from primus.backends.megatron.settings import TrainingSettings
from primus.backends.megatron.tokenizer import Tokenizer, vocabulary_size
from primus.errors import ExperimentError, MissingError

WORKER: Any = None
"""Nothing here is downloaded."""


def tokenizer_of(**values: Any) -> Tokenizer:
    return module.tokenizer_of(TrainingSettings(train_iters=1, micro_batch_size=1, seq_length=8, **values), WORKER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face tokenizer of three tokens and one that was added."""
    tokens = {"model": {"vocab": {"a": 0, "b": 1, "c": 2}}, "added_tokens": [{"content": "<eos>", "id": 5}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokens))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<eos>"}}))
    return tmp_path


@pytest.fixture(scope="module")
def sentencepiece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a SentencePiece model of 40 tokens, as Llama 2 has one."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "text").write_text("the quick brown fox jumps over the lazy dog\n" * 50)
    trainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=40,
        model_type="bpe",
        minloglevel=2,
    )
    return folder


def test_bytes_and_the_end_of_a_document() -> None:
    tokenizer = tokenizer_of(tokenizer_type="ByteTokenizer")
    assert (tokenizer.vocab_size, tokenizer.eod) == (257, 256)


def test_numbers_and_one_more_for_the_end() -> None:
    tokenizer = tokenizer_of(tokenizer_type="NullTokenizer", vocab_size=1000)
    assert (tokenizer.vocab_size, tokenizer.eod) == (1001, 1000)
    assert vocabulary_size("NullTokenizer", 1000, tokenizer) == 1001


def test_numbers_need_their_count() -> None:
    with pytest.raises(ExperimentError, match="needs vocab_size"):
        tokenizer_of(tokenizer_type="NullTokenizer")


@pytest.mark.parametrize("kind", ["HuggingFaceTokenizer", "Llama3Tokenizer", "DeepSeekV3Tokenizer", None])
def test_folder_says_its_tokens_and_the_last_of_a_document(kind: str | None, folder: Path) -> None:
    for place in (folder, folder / "tokenizer.json"):
        tokenizer = tokenizer_of(tokenizer_type=kind, tokenizer_model=str(place))
        assert (tokenizer.vocab_size, tokenizer.eod) == (6, 5)


@pytest.mark.parametrize("kind", ["SentencePieceTokenizer", "Llama2Tokenizer", "HuggingFaceTokenizer"])
def test_sentencepiece_model_says_its_tokens_and_the_last_of_a_document(kind: str, sentencepiece_folder: Path) -> None:
    for place in (sentencepiece_folder, sentencepiece_folder / "tokenizer.model"):
        tokenizer = tokenizer_of(tokenizer_type=kind, tokenizer_model=str(place))
        assert (tokenizer.vocab_size, tokenizer.eod) == (40, 2)


def test_file_that_is_no_sentencepiece_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    (tmp_path / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(MissingError, match=r"tokenizer\.model is no SentencePiece model"):
        tokenizer_of(tokenizer_type="Llama2Tokenizer", tokenizer_model=str(tmp_path))


def test_model_may_have_more_rows_than_tokens_but_not_fewer(folder: Path) -> None:
    kind = "HuggingFaceTokenizer"
    tokenizer = tokenizer_of(tokenizer_type=kind, tokenizer_model=str(folder))
    assert vocabulary_size(kind, 10, tokenizer) == 10
    with pytest.raises(ExperimentError, match="vocab_size is 4, but the tokenizer has 6 tokens"):
        vocabulary_size(kind, 4, tokenizer)


def test_folder_without_a_tokenizer_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"has no tokenizer\.json and no tokenizer\.model"):
        tokenizer_of(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(tmp_path))


def test_folder_without_the_tokenizer_s_configuration_is_missing(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(MissingError, match=r"tokenizer_config\.json: no such file"):
        tokenizer_of(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(folder))


def test_folder_must_name_the_end_of_a_document(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ExperimentError, match="no eos_token"):
        tokenizer_of(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(folder))


def test_name_on_the_hub_is_downloaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def from_hub(repository: str, *rest: Any, **options: Any) -> Path:
        asked.append(repository)
        return folder

    monkeypatch.setattr(module, "from_hub", from_hub)
    tokenizer = tokenizer_of(tokenizer_type="Llama3Tokenizer", tokenizer_model="meta-llama/Llama-3.1-8B")
    assert asked == ["meta-llama/Llama-3.1-8B"]
    assert tokenizer.vocab_size == 6
