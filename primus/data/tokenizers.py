"""The tokenizers that `primus data prepare` knows: bytes, a Hugging Face tokenizer, a SentencePiece model. The command
describes one (cheap, checked before any work); the worker processes load it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from primus.errors import MissingError, UsageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tokens = NDArray[np.uint16] | NDArray[np.int32]

BYTE_EOD = 256
"""The byte tokenizer's end of document; ids below it are the bytes themselves."""

EOD_NAME = "<|endoftext|>"
"""How the byte tokenizer's end of document is called where a name is needed."""

_EOD_NAMES = (EOD_NAME, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")
"""Looked for in this order when a Hugging Face tokenizer does not say which of its tokens ends a document."""

_BATCH_BYTES = 1 << 18
"""Text per call of a slow tokenizer: its result takes many times the memory of the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerInfo:
    """A tokenizer that exists, as checked before the work begins."""

    kind: Literal["byte", "huggingface", "sentencepiece"]
    path: Path | None = None
    """tokenizer.json or the model file."""

    digest: str = ""
    """Hash of that file, so that a resumed run can tell that it is the same."""

    vocab_size: int
    eod: int
    """Id of the token that ends a document."""

    eod_name: str = EOD_NAME

    @property
    def dtype(self) -> str:
        """The narrowest type that megatron.core stores token ids in."""
        return "uint16" if self.vocab_size < 65500 else "int32"

    def as_json(self) -> dict[str, Any]:
        """What the note beside the output says."""
        place = {"path": str(self.path), "sha256": self.digest} if self.path else {}
        return {"kind": self.kind, **place, "vocab_size": self.vocab_size, "eod": self.eod, "eod_name": self.eod_name}


class Tokenizer(Protocol):
    """Turns documents into token ids."""

    def encode(self, documents: Sequence[bytes]) -> tuple[Tokens, NDArray[np.int64]]:
        """The tokens of all documents, each closed by the end-of-document token, and the length of each."""
        ...


def describe(name: str, *, eod: str | None) -> TokenizerInfo:
    """Find out what `--tokenizer NAME` is: `byte`, a folder, a tokenizer.json or a SentencePiece .model."""
    if name == "byte":
        if eod is not None:
            raise UsageError(f"--eod {eod}: the byte tokenizer has its own end of document, {BYTE_EOD}")
        return TokenizerInfo(kind="byte", vocab_size=BYTE_EOD + 1, eod=BYTE_EOD)
    path = _tokenizer_file(Path(name))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".json":
        return _describe_huggingface(path, digest, eod)
    return _describe_sentencepiece(path, digest, eod)


def load(info: TokenizerInfo) -> Tokenizer:
    """The tokenizer itself; imports the package that it needs."""
    if info.path is None:
        return _ByteTokenizer()
    if info.kind == "huggingface":
        return _HuggingFaceTokenizer(info.path, info)
    return _SentencePieceTokenizer(info.path, info)


class _ByteTokenizer:
    """One token per byte of UTF-8. All documents are widened at once, with room for the end behind each."""

    def encode(self, documents: Sequence[bytes]) -> tuple[Tokens, NDArray[np.int64]]:
        import numpy as np

        lengths = np.fromiter((len(document) + 1 for document in documents), np.int64, len(documents))
        tokens = np.frombuffer(b"\0".join((*documents, b"")), np.uint8).astype(np.uint16)
        tokens[np.cumsum(lengths) - 1] = BYTE_EOD
        return tokens, lengths


class _BatchTokenizer:
    """What the tokenizers of others share: batches in, lists of ids out."""

    def __init__(self, info: TokenizerInfo) -> None:
        self._info = info

    def encode(self, documents: Sequence[bytes]) -> tuple[Tokens, NDArray[np.int64]]:
        import numpy as np

        lengths: list[int] = []
        parts: list[Any] = [np.empty(0, self._info.dtype)]
        for batch in _batches(documents):
            for ids in self._encode_batch(batch):
                lengths.append(len(ids) + 1)
                parts.append(np.asarray([*ids, self._info.eod], self._info.dtype))
        return np.concatenate(parts), np.asarray(lengths, np.int64)

    def _encode_batch(self, texts: list[str]) -> Sequence[Sequence[int]]:
        raise NotImplementedError


class _HuggingFaceTokenizer(_BatchTokenizer):
    def __init__(self, path: Path, info: TokenizerInfo) -> None:
        super().__init__(info)
        self._tokenizer = _open_huggingface(path)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def _encode_batch(self, texts: list[str]) -> Sequence[Sequence[int]]:
        return [entry.ids for entry in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


class _SentencePieceTokenizer(_BatchTokenizer):
    def __init__(self, path: Path, info: TokenizerInfo) -> None:
        super().__init__(info)
        self._processor = _open_sentencepiece(path)

    def _encode_batch(self, texts: list[str]) -> Sequence[Sequence[int]]:
        ids: Sequence[Sequence[int]] = self._processor.encode(texts, out_type=int, num_threads=1)
        return ids


def _batches(documents: Iterable[bytes]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document.decode())
        size += len(document)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tokenizer_file(path: Path) -> Path:
    if path.is_dir():
        for name in ("tokenizer.json", "tokenizer.model"):
            if (path / name).is_file():
                return (path / name).resolve()
        raise MissingError(f"{path}: this folder has no tokenizer.json and no tokenizer.model")
    if not path.exists():
        raise MissingError(f"--tokenizer {path}: no such file or folder; `byte` needs none")
    if path.suffix not in (".json", ".model"):
        raise UsageError(
            f"--tokenizer {path}: expected `byte`, a folder, a tokenizer.json or a SentencePiece .model file"
        )
    return path.resolve()


def _open_huggingface(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer as Native
    except ImportError as error:
        raise MissingError("a tokenizer.json needs the package tokenizers: pip install 'primus[data]'") from error
    text = path.read_text(encoding="utf-8")
    try:
        return Native.from_str(text)
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise UsageError(f"{path}: not a tokenizer that the package tokenizers can read: {error}") from error


def _describe_huggingface(path: Path, digest: str, eod: str | None) -> TokenizerInfo:
    vocabulary: dict[str, int] = _open_huggingface(path).get_vocab(with_added_tokens=True)
    name = eod or _eos_of_config(path.with_name("tokenizer_config.json"))
    if name is None:
        name = next((known for known in _EOD_NAMES if known in vocabulary), None)
    if name is None:
        raise UsageError(f"{path} does not say which token ends a document; name it with --eod")
    if name not in vocabulary:
        raise UsageError(f"{path} has no token {name} for the end of a document.{did_you_mean(name, vocabulary)}")
    size = max(vocabulary.values()) + 1
    return TokenizerInfo(
        kind="huggingface", path=path, digest=digest, vocab_size=size, eod=vocabulary[name], eod_name=name
    )


def _eos_of_config(path: Path) -> str | None:
    """`eos_token` of a tokenizer_config.json: a string, or an object with the string in it."""
    if not path.is_file():
        return None
    try:
        token = json.loads(path.read_text(encoding="utf-8")).get("eos_token")
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path}: not a tokenizer configuration: {error}") from error
    name = token.get("content") if isinstance(token, dict) else token
    return name if isinstance(name, str) else None


def _open_sentencepiece(path: Path) -> Any:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise MissingError("a .model file needs the package sentencepiece: pip install 'primus[data]'") from error
    try:
        return SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path}: not a SentencePiece model: {error}") from error


def _describe_sentencepiece(path: Path, digest: str, eod: str | None) -> TokenizerInfo:
    processor = _open_sentencepiece(path)
    eod_id: int = processor.eos_id() if eod is None else processor.piece_to_id(eod)
    if eod_id < 0:
        raise UsageError(f"{path} has no token for the end of a document; name one with --eod")
    name: str = processor.id_to_piece(eod_id)
    if eod is not None and name != eod:
        raise UsageError(f"{path} has no token {eod}")
    size: int = processor.vocab_size()
    return TokenizerInfo(kind="sentencepiece", path=path, digest=digest, vocab_size=size, eod=eod_id, eod_name=name)
