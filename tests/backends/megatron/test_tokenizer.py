"""What megatron is told of a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron.settings import TrainingSettings
from primus.backends.megatron.tokenizer import tokenizer_of, vocabulary_size
from primus.errors import ExperimentError, MissingError


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings(train_iters=1, micro_batch_size=1, seq_length=8, **values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face tokenizer of three tokens and one that was added."""
    tokens = {"model": {"vocab": {"a": 0, "b": 1, "c": 2}}, "added_tokens": [{"content": "<eos>", "id": 5}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokens))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<eos>"}}))
    return tmp_path


def test_bytes_and_the_end_of_a_document() -> None:
    tokenizer = tokenizer_of(settings(tokenizer_type="ByteTokenizer"))
    assert (tokenizer.vocab_size, tokenizer.eod) == (257, 256)


def test_numbers_and_one_more_for_the_end() -> None:
    values = settings(tokenizer_type="NullTokenizer", vocab_size=1000)
    tokenizer = tokenizer_of(values)
    assert (tokenizer.vocab_size, tokenizer.eod) == (1001, 1000)
    assert vocabulary_size(values, tokenizer) == 1001


def test_numbers_need_their_count() -> None:
    with pytest.raises(ExperimentError, match="needs vocab_size"):
        tokenizer_of(settings(tokenizer_type="NullTokenizer"))


def test_folder_says_its_tokens_and_the_last_of_a_document(folder: Path) -> None:
    tokenizer = tokenizer_of(settings(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(folder)))
    assert (tokenizer.vocab_size, tokenizer.eod) == (6, 5)


def test_model_may_have_more_rows_than_tokens_but_not_fewer(folder: Path) -> None:
    values = {"tokenizer_type": "HuggingFaceTokenizer", "tokenizer_model": str(folder)}
    more, fewer = settings(**values, vocab_size=10), settings(**values, vocab_size=4)
    assert vocabulary_size(more, tokenizer_of(more)) == 10
    with pytest.raises(ExperimentError, match="vocab_size is 4, but the tokenizer has 6 tokens"):
        vocabulary_size(fewer, tokenizer_of(fewer))


def test_folder_without_a_tokenizer_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"tokenizer\.json: no such file"):
        tokenizer_of(settings(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(tmp_path)))


def test_folder_must_name_the_end_of_a_document(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ExperimentError, match="no eos_token"):
        tokenizer_of(settings(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=str(folder)))
