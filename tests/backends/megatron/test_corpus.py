"""A corpus and an experiment that do not fit are found before the launch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.errors import Problem
from primus.experiment import Experiment
from primus.job import Resources

Make = Callable[..., Experiment]

DATA: dict[str, Any] = {"mock_data": None, "data_path": [0.5, "a", 0.5, "b"], "split": "99,1,0"}


@pytest.fixture
def check(experiment: Make, tmp_path: Path) -> Callable[..., list[Problem]]:
    """Problems of an experiment whose corpora `a` and `b` are of 1000 tokens, of which the last ends a document."""

    def check(**changes: Any) -> list[Problem]:
        asked = experiment(**DATA | changes)
        note = {"tokenizer": {"kind": "huggingface", "vocab_size": 1000, "eod": 999}}
        for name in ("a", "b"):
            for suffix in (".bin", ".idx"):
                (tmp_path / f"{name}{suffix}").touch()
            (tmp_path / f"{name}.json").write_text(json.dumps(note))
        return BACKEND.check(asked, Resources(nproc_per_node=1))

    return check


def test_numbers_beyond_the_vocabulary_are_an_error_with_both_figures(check: Callable[..., list[Problem]]) -> None:
    found = check(tokenizer_type="NullTokenizer", vocab_size=500)
    assert [(problem.severity, problem.key.rpartition(".")[2]) for problem in found] == [("error", "data_path")] * 2
    assert "a was prepared with a tokenizer of 1000 tokens, but the model knows 501" in found[0].message


def test_vocabulary_that_holds_them_is_fine(check: Callable[..., list[Problem]]) -> None:
    assert check(tokenizer_type="NullTokenizer", vocab_size=999) == []


def test_another_end_of_a_document_is_an_error_where_it_matters(check: Callable[..., list[Problem]]) -> None:
    more = {"tokenizer_type": "NullTokenizer", "vocab_size": 1200}
    assert check(**more) == []
    found = check(**more, reset_position_ids=True)
    assert "in which 999 ends a document; the experiment's tokenizer ends one with 1200" in found[0].message


def test_tokenizer_that_is_here_is_read(check: Callable[..., list[Problem]], tmp_path: Path) -> None:
    tokens = {"model": {"vocab": {"a": 0, "<eos>": 1}}}
    (tmp_path / "tok").mkdir()
    (tmp_path / "tok" / "tokenizer.json").write_text(json.dumps(tokens))
    (tmp_path / "tok" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<eos>"}))
    found = check(tokenizer_type="HuggingFaceTokenizer", tokenizer_model="tok")
    assert "but the model knows 2" in found[0].message


def test_corpus_without_a_note_is_taken_as_it_is(check: Callable[..., list[Problem]], tmp_path: Path) -> None:
    for name in ("c.bin", "c.idx"):
        (tmp_path / name).touch()
    assert check(data_path="c") == []


def test_tokenizer_that_is_not_read_is_warned_of(check: Callable[..., list[Problem]]) -> None:
    found = check(tokenizer_type="NullTokenizer", vocab_size=1200, tokenizer_model="meta-llama/Llama-3.1-8B")
    assert [problem.severity for problem in found] == ["warning"]
    assert "tokenizer_model has no effect with tokenizer_type NullTokenizer" in found[0].message


def test_unknown_type_is_answered_with_the_choices(experiment: Make) -> None:
    from primus.experiment import resolve

    problems = resolve(experiment(tokenizer_type="GPT2BPETokenizer"), BACKEND.schema())[1]
    assert "HuggingFaceTokenizer" in problems[0].message
