"""What megatron's datasets need to know of a tokenizer: its size and its end-of-document token. The text itself was
turned into numbers by `primus data prepare`. The loop calls tokenizer_of(), the checks before a launch look as well."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primus.backends.assets import from_hub, is_hub_name
from primus.errors import ExperimentError, MissingError, Problem

if TYPE_CHECKING:
    from primus.backends.megatron.settings import TrainingSettings
    from primus.backends.worker import Worker

BYTES = 256
"""Values of a byte; the byte tokenizer's end of a document is the number after them."""

NUMBERS = ("NullTokenizer", "ByteTokenizer")
"""Types that need no files. With all others tokenizer_model decides, whatever their name."""

_FILES = ("tokenizer.json", "tokenizer.model")
_WANTED = "a folder with tokenizer.json and tokenizer_config.json, or with tokenizer.model"


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


def tokenizer_of(settings: TrainingSettings, worker: Worker) -> Tokenizer:
    """The tokenizer that the experiment names; from the Hub when it names one there."""
    model = settings.tokenizer_model
    if settings.tokenizer_type in NUMBERS:
        return numbers(settings.tokenizer_type, settings.vocab_size)
    if model is None:
        raise _problem(f"tokenizer_type {settings.tokenizer_type} needs tokenizer_model: {_WANTED}")
    if not Path(model).exists() and is_hub_name(model):
        patterns = (*_FILES, "tokenizer_config.json")
        return read_tokenizer(from_hub(model, patterns, worker, needs=_FILES, key="tokenizer_model"))
    return read_tokenizer(Path(model))


def numbers(kind: str, vocab_size: int | None) -> Tokenizer:
    """A tokenizer without files: bytes, or as many numbers as the experiment says and one for the end of a document."""
    if kind == "ByteTokenizer":
        return _tokenizer(kind, BYTES + 1, eod=BYTES)
    if vocab_size is None:
        raise _problem(f"tokenizer_type {kind} needs vocab_size, the number of tokens without the last one")
    return _tokenizer(kind, vocab_size + 1, eod=vocab_size)


def read_tokenizer(place: Path) -> Tokenizer:
    """The tokenizer in a folder, a tokenizer.json or a SentencePiece model."""
    if place.is_dir():
        found = [place / name for name in _FILES if (place / name).is_file()]
        if not found:
            raise MissingError(f"tokenizer_model: {place} has no {' and no '.join(_FILES)}.")
        place = found[0]
    if place.suffix == ".model":
        return _read_sentencepiece(place)
    return _read_huggingface(place)


def vocabulary_size(kind: str | None, vocab_size: int | None, tokenizer: Tokenizer) -> int:
    """Rows of the embedding before padding: vocab_size of the experiment when it holds all tokens."""
    if kind == "NullTokenizer" or vocab_size is None:
        return tokenizer.vocab_size
    if vocab_size < tokenizer.vocab_size:
        raise _problem(
            f"vocab_size is {vocab_size}, but the tokenizer has {tokenizer.vocab_size} tokens: "
            "leave vocab_size out, or raise it"
        )
    return vocab_size


def _read_huggingface(file: Path) -> Tokenizer:
    """tokenizer.json has the tokens, tokenizer_config.json beside it names the last one of a document."""
    tokens, config = _json(file), _json(file.with_name("tokenizer_config.json"))
    ids: dict[str, int] = _ids(tokens["model"]["vocab"])
    ids |= {token["content"]: token["id"] for token in tokens.get("added_tokens", [])}
    eos = config.get("eos_token")
    name = eos["content"] if isinstance(eos, dict) else eos
    if name not in ids:
        raise _problem(f"{file.parent}: tokenizer_config.json has no eos_token that {file.name} knows")
    return _tokenizer(str(file), max(ids.values()) + 1, eod=ids[name])


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file. tokenizer_model must be {_WANTED}.") from error


def _ids(vocab: dict[str, int] | list[list[Any]]) -> dict[str, int]:
    """BPE keeps tokens by name, Unigram as a list of (token, score)."""
    return dict(vocab) if isinstance(vocab, dict) else {str(token): index for index, (token, _) in enumerate(vocab)}


def _read_sentencepiece(file: Path) -> Tokenizer:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise MissingError(f"tokenizer_model: {file} needs a package: pip install sentencepiece") from error
    try:
        processor: Any = SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError) as error:
        raise MissingError(f"tokenizer_model: {file} is no SentencePiece model: {error}") from error
    if processor.eos_id() < 0:
        raise _problem(f"{file} has no token for the end of a document")
    return _tokenizer(str(file), processor.vocab_size(), eod=processor.eos_id())


def _tokenizer(name: str, size: int, *, eod: int) -> Tokenizer:
    identifiers = OrderedDict({"class": name, "vocab_size": size})
    return Tokenizer(vocab_size=size, eod=eod, unique_identifiers=identifiers)


def _problem(message: str) -> ExperimentError:
    return ExperimentError([Problem(message=message)])
