"""Contradictions in where the text comes from, and paths that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from primus.backends.assets import is_hub_name
from primus.backends.megatron.checks.rule import Facts, Rule
from primus.backends.megatron.corpus import END_MATTERS, mismatch
from primus.backends.megatron.tokenizer import BYTES, NUMBERS, Tokenizer, numbers, read_tokenizer, vocabulary_size
from primus.errors import ExperimentError, MissingError, Problem, Severity

PER_SPLIT = ("train_data_path", "valid_data_path", "test_data_path")
PATHS = ("data_path", *PER_SPLIT)

_REMEDIES = dict.fromkeys(PATHS, " `primus data prepare` makes .bin and .idx; the key takes their path without suffix.")


def prefixes(data: Any) -> list[str]:
    """The prefixes of a blend: weights and prefixes in turn, or prefixes alone, as a list or as one text."""
    words = data.split() if isinstance(data, str) else [str(word) for word in data or ()]
    paired = len(words) % 2 == 0 and words and all(_is_number(word) for word in words[::2])
    return words[1::2] if paired else words


def missing_files(facts: Facts, unusable: frozenset[str]) -> Iterator[Problem]:
    """Paths that are not here: the training may run on another machine."""
    data = [key for key in PATHS if key not in unusable]
    others = [key for key in ("tokenizer_model", "load") if key not in unusable and facts[key] is not None]
    paths = [(key, prefix + suffix) for key in data for prefix in prefixes(facts[key]) for suffix in (".bin", ".idx")]
    for key, path in paths + [(key, facts[key]) for key in others]:
        on_hub = key == "tokenizer_model" and is_hub_name(path)
        if not on_hub and "://" not in path and not Path(path).exists():
            yield _at(facts, key, f"{path} does not exist here.{_REMEDIES.get(key, '')}", severity="missing")


def other_tokenizers(facts: Facts, unusable: frozenset[str]) -> Iterator[Problem]:
    """Corpora whose numbers the model does not know, as far as the files that are here tell."""
    if not unusable.isdisjoint(("tokenizer_type", "tokenizer_model", "vocab_size", *END_MATTERS)):
        return
    try:
        tokenizer = _tokenizer_here(facts)
        if tokenizer is None:
            return
        vocabulary = vocabulary_size(facts.tokenizer_type, facts.vocab_size, tokenizer)
    except ExperimentError as error:
        key = facts.blame(("tokenizer_model", "tokenizer_type", "vocab_size"))
        yield from (_at(facts, key, problem.message) for problem in error.problems)
        return
    except MissingError as error:
        yield _at(facts, "tokenizer_model", str(error), severity="missing")
        return
    eod = tokenizer.eod if any(facts[key] for key in END_MATTERS) else None
    for key in PATHS if not facts.mock_data else ():
        for prefix in prefixes(facts[key]) if key not in unusable else ():
            wrong = mismatch(prefix, vocabulary=vocabulary, eod=eod)
            if wrong:
                yield _at(facts, key, wrong)


def _tokenizer_here(facts: Facts) -> Tokenizer | None:
    """The experiment's tokenizer, when nothing must be downloaded for it and the rules have nothing against it."""
    kind, model, size = facts.tokenizer_type, facts.tokenizer_model, facts.vocab_size
    if kind == "ByteTokenizer":
        return None if size is not None and size <= BYTES else numbers(kind, size)
    if kind == "NullTokenizer":
        return None if size is None else numbers(kind, size)
    return read_tokenizer(Path(model)) if model is not None and Path(model).exists() else None


def _at(facts: Facts, key: str, message: str, *, severity: Severity = "error") -> Problem:
    value = facts.value(key)
    return Problem(where=facts.place(key), key=value.path if value else key, message=message, severity=severity)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _mixed(f: Facts) -> bool:
    """Weights for some prefixes only. Reads PATHS."""
    return any(_is_number(prefix) for key in PATHS for prefix in prefixes(f[key]))


def _shares(split: str) -> list[float]:
    """Parts of the data for training, validation and test; empty when the text says something else."""
    if not re.fullmatch(r"\s*\d*\.?\d+\s*(,\s*\d*\.?\d+\s*){0,2}", split):
        return []
    shares = [float(share) for share in split.split(",")]
    return shares + [0.0] * (3 - len(shares))


RULES = (
    Rule(
        keys=("mock_data", *PATHS),
        when=lambda f: f.mock_data and any(f[key] for key in PATHS),
        say="mock_data trains on generated numbers, but there is a data path as well: keep one.",
    ),
    Rule(
        keys=PATHS,
        when=lambda f: bool(f.data_path) and any(f[key] for key in PER_SPLIT),
        say="data_path (divided by split) and train_data_path, valid_data_path, test_data_path exclude each other.",
    ),
    Rule(
        keys=PER_SPLIT,
        when=lambda f: not f.train_data_path and bool(f.valid_data_path or f.test_data_path),
        say="valid_data_path and test_data_path need train_data_path.",
    ),
    Rule(
        keys=PATHS,
        when=_mixed,
        say="a blend is a list of prefixes, or of weight, prefix, weight, prefix …, with a weight for each.",
    ),
    Rule(
        keys=("split", "data_path"),
        when=lambda f: bool(f.data_path) and f.split is None,
        say="data_path needs split, the parts for training, validation and test, for instance 99,1,0.",
    ),
    Rule(
        keys=("split",),
        when=lambda f: f.split is not None and not sum(_shares(f.split)),
        say="split {split} must be up to three numbers, not all 0: training, validation, test, for instance 99,1,0.",
    ),
    Rule(
        keys=("eval_interval", "eval_iters", "split", "data_path"),
        when=lambda f: (
            bool(f.data_path)
            and f.eval_interval is not None
            and f.eval_iters > 0
            and f.split is not None
            and _shares(f.split)[1:2] == [0.0]
        ),
        say="eval_interval evaluates on the validation part, but split {split} has none: set eval_interval: null, or "
        "another split.",
    ),
    Rule(
        keys=("eval_interval", "eval_iters", "train_data_path", "valid_data_path"),
        when=lambda f: (
            bool(f.train_data_path) and f.eval_interval is not None and f.eval_iters > 0 and not f.valid_data_path
        ),
        say="eval_interval evaluates on valid_data_path, which is not set.",
    ),
    Rule(
        keys=("tokenizer_type", "vocab_size"),
        when=lambda f: f.tokenizer_type == "NullTokenizer" and f.vocab_size is None,
        say="tokenizer_type NullTokenizer needs vocab_size.",
    ),
    Rule(
        keys=("tokenizer_type", "tokenizer_model"),
        when=lambda f: f.tokenizer_type not in (None, *NUMBERS) and f.tokenizer_model is None,
        say="tokenizer_type {tokenizer_type} needs tokenizer_model: a folder with tokenizer.json, a SentencePiece "
        "model or a name on the Hugging Face Hub.",
    ),
    Rule(
        keys=("vocab_size", "tokenizer_type"),
        when=lambda f: f.tokenizer_type == "ByteTokenizer" and f.vocab_size is not None and f.vocab_size < 257,
        say="vocab_size {vocab_size} is too small for ByteTokenizer, which has 257 tokens.",
    ),
    Rule(
        keys=("dataloader_fast_cache_load", "data_cache_path", "data_path"),
        when=lambda f: f.dataloader_fast_cache_load and (f.data_cache_path is None or bool(f.data_path)),
        say="dataloader_fast_cache_load needs data_cache_path, and train_data_path instead of data_path.",
    ),
    Rule(
        keys=("dataloader_defer_npy_index_mmap", "data_cache_path"),
        when=lambda f: f.dataloader_defer_npy_index_mmap and f.data_cache_path is None,
        say="dataloader_defer_npy_index_mmap needs data_cache_path.",
    ),
)
