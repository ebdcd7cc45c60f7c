"""What megatron's datasets need to know of a tokenizer: its size and its end-of-document token. The text itself was
turned into numbers by `primus data prepare`, so no tokenizer library is loaded here."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primus.backends.megatron.settings import TrainingSettings
from primus.errors import ExperimentError, MissingError, Problem

BYTES = 256
"""Values of a byte; the byte tokenizer's end of a document is the number after them."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A tokenizer as GPTDataset sees it."""

    vocab_size: int
    """Numbers that may stand in the data, the end of a document included."""

    eod: int
    pad: int = -1
    """No number of the data: datasets mask it."""

    unique_identifiers: OrderedDict[str, Any] = field(default_factory=OrderedDict)
    """Part of the name of a dataset's index cache."""


def tokenizer_of(settings: TrainingSettings) -> Tokenizer:
    """The tokenizer that the experiment names."""
    kind = settings.tokenizer_type
    if kind == "ByteTokenizer":
        return _tokenizer(kind, BYTES + 1, eod=BYTES)
    if kind == "NullTokenizer":
        if settings.vocab_size is None:
            raise _problem("tokenizer_type NullTokenizer needs vocab_size, the number of tokens without the last one")
        return _tokenizer(kind, settings.vocab_size + 1, eod=settings.vocab_size)
    if settings.tokenizer_model is None:
        raise _problem(f"tokenizer_type {kind} needs tokenizer_model, a folder with tokenizer.json")
    return _from_folder(Path(settings.tokenizer_model))


def vocabulary_size(settings: TrainingSettings, tokenizer: Tokenizer) -> int:
    """Rows of the embedding before padding: vocab_size of the experiment when it holds all tokens."""
    if settings.tokenizer_type == "NullTokenizer" or settings.vocab_size is None:
        return tokenizer.vocab_size
    if settings.vocab_size < tokenizer.vocab_size:
        raise _problem(
            f"vocab_size is {settings.vocab_size}, but the tokenizer has {tokenizer.vocab_size} tokens: "
            "leave vocab_size out, or raise it"
        )
    return settings.vocab_size


def _from_folder(folder: Path) -> Tokenizer:
    """A Hugging Face tokenizer folder: tokenizer.json has the tokens, tokenizer_config.json names the last one."""
    try:
        tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(
            f"{error.filename}: no such file. tokenizer_model must be a folder with tokenizer.json and "
            "tokenizer_config.json."
        ) from error
    numbers: dict[str, int] = _numbers(tokens["model"]["vocab"])
    numbers |= {token["content"]: token["id"] for token in tokens.get("added_tokens", [])}
    eos = config.get("eos_token")
    name = eos["content"] if isinstance(eos, dict) else eos
    if name not in numbers:
        raise _problem(f"{folder}: tokenizer_config.json has no eos_token that tokenizer.json knows")
    return _tokenizer(str(folder), max(numbers.values()) + 1, eod=numbers[name])


def _numbers(vocab: dict[str, int] | list[list[Any]]) -> dict[str, int]:
    """BPE keeps tokens by name, Unigram as a list of (token, score)."""
    return dict(vocab) if isinstance(vocab, dict) else {str(token): index for index, (token, _) in enumerate(vocab)}


def _tokenizer(name: str, size: int, *, eod: int) -> Tokenizer:
    identifiers = OrderedDict({"class": name, "vocab_size": size})
    return Tokenizer(vocab_size=size, eod=eod, unique_identifiers=identifiers)


def _problem(message: str) -> ExperimentError:
    return ExperimentError([Problem(message=message)])
