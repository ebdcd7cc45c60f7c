"""Megatron-Core's format: PREFIX.bin with all tokens and PREFIX.idx with the place of each document, as
megatron.core.datasets.indexed_dataset reads them. All workers write into one file, each where it claimed room."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from primus.data.corpus import CorpusError, Shard
from primus.data.documents import Report, is_text, read_blocks, read_documents
from primus.data.files import beside, sync_file, write_at, write_note
from primus.data.formats import Claim, Counts
from primus.data.tokenizers import BYTE_EOD, TokenizerInfo, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_TYPE_CODES = {"int32": 4, "uint16": 8}
"""Numbers that the index file has for the types of a token."""

_TOKEN_BYTES = {"int32": 4, "uint16": 2}
_LENGTH_BYTES = 4
_LONGEST = 2**31 - 1
"""The index holds the length of a document as a signed 32-bit number."""

_STREAMED = 1 << 26
"""With one token per byte, a text file of this size or more need not fit into memory."""

_CHUNK = 1 << 18
"""Documents per step while the index is written."""


class MegatronFormat:
    """PREFIX.bin, PREFIX.idx and the note PREFIX.json."""

    shard_bytes = 1 << 20

    def __init__(self, output: Path, *, tokenizer: TokenizerInfo, key: str) -> None:
        self._tokenizer = tokenizer
        self._key = key
        self.work = beside(output, ".partial")
        self.note = beside(output, ".json")
        self.parts: tuple[Path, ...] = (beside(output, ".bin"), beside(output, ".idx"))
        self._tokens, self._lengths, self._index, self._new_note = (
            self.work / name for name in ("tokens", "lengths", "index", "note")
        )

    def facts(self) -> dict[str, Any]:
        return {"format": "megatron", "tokenizer": self._tokenizer.as_json(), "dtype": self._tokenizer.dtype}

    def writer(self) -> _MegatronWriter:
        return _MegatronWriter(self._tokens, self._lengths, tokenizer=self._tokenizer, key=self._key)

    def rewind(self, done: Counts) -> None:
        sizes = {
            self._tokens: done.tokens * _TOKEN_BYTES[self._tokenizer.dtype],
            self._lengths: done.documents * _LENGTH_BYTES,
        }
        for path, size in sizes.items():
            path.touch()
            os.truncate(path, size)

    def sync(self) -> None:
        for path in (self._tokens, self._lengths):
            sync_file(path)

    def finish(self, total: Counts, note: Mapping[str, Any]) -> None:
        with self._index.open("wb") as index:
            code = _TYPE_CODES[self._tokenizer.dtype]
            index.write(_MAGIC + struct.pack("<QBQQ", _VERSION, code, total.documents, total.documents + 1))
            self._write_tables(index)
        write_note(self._new_note, note)
        for path in (self._tokens, self._index, self._new_note):
            sync_file(path)

    def publish(self) -> None:
        """Without an index there is no data set: it goes first and comes last, so an old one never meets new tokens."""
        bin_path, idx_path = self.parts
        if self._tokens.exists():
            self.note.unlink(missing_ok=True)
            idx_path.unlink(missing_ok=True)
            self._tokens.replace(bin_path)
        if self._index.exists():
            self._index.replace(idx_path)
        if self._new_note.exists():
            self._new_note.replace(self.note)

    def _write_tables(self, index: BinaryIO) -> None:
        """Length of each document, then the byte where it begins, then the number of documents up to each."""
        import numpy as np

        for lengths in self._read_lengths():
            index.write(lengths.data)
        place = 0
        for lengths in self._read_lengths():
            ends = place + np.cumsum(lengths, dtype=np.int64) * _TOKEN_BYTES[self._tokenizer.dtype]
            index.write(np.concatenate((np.asarray([place], np.int64), ends[:-1])).data)
            place = int(ends[-1])
        count = 0
        for lengths in self._read_lengths():
            index.write(np.arange(count, count + len(lengths), dtype=np.int64).data)
            count += len(lengths)
        index.write(struct.pack("<q", count))

    def _read_lengths(self) -> Iterator[NDArray[Any]]:
        import numpy as np

        with self._lengths.open("rb") as file:
            while data := file.read(_CHUNK * _LENGTH_BYTES):
                yield np.frombuffer(data, np.int32)


class _MegatronWriter:
    """Puts shards into the common files; lives in one worker process."""

    def __init__(self, tokens: Path, lengths: Path, *, tokenizer: TokenizerInfo, key: str) -> None:
        self._tokens = os.open(tokens, os.O_WRONLY)
        self._lengths = os.open(lengths, os.O_WRONLY)
        self._info = tokenizer
        self._tokenizer = load(tokenizer)
        self._key = key

    def write(self, shard: Shard, report: Report, claim: Claim) -> Counts:
        import numpy as np

        if self._is_streamed(shard):
            return self._stream(shard, report, claim)
        documents = list(read_documents(shard, key=self._key, report=report))
        tokens, lengths = self._tokenizer.encode(documents)
        if len(lengths):
            _check_length(shard, int(lengths.max()))
        counts = Counts(documents=len(lengths), tokens=len(tokens), text_bytes=sum(map(len, documents)))
        before = claim(counts)
        write_at(self._tokens, tokens.data.cast("B"), before.tokens * tokens.itemsize)
        write_at(self._lengths, lengths.astype(np.int32).data.cast("B"), before.documents * _LENGTH_BYTES)
        return counts

    def _is_streamed(self, shard: Shard) -> bool:
        is_file = len(shard.segments) == 1 and shard.segments[0].source.reading == "text"
        return is_file and self._info.kind == "byte" and shard.size >= _STREAMED

    def _stream(self, shard: Shard, report: Report, claim: Claim) -> Counts:
        import numpy as np

        segment = shard.segments[0]
        valid = is_text(segment, report)
        counts = Counts(documents=1, tokens=shard.size + 1, text_bytes=shard.size) if valid else Counts()
        _check_length(shard, counts.tokens)
        before = claim(counts)
        if valid:
            place = before.tokens * _TOKEN_BYTES["uint16"]
            for block in read_blocks(segment):
                tokens = np.frombuffer(block, np.uint8).astype(np.uint16)
                write_at(self._tokens, tokens.data.cast("B"), place)
                place += tokens.nbytes
            write_at(self._tokens, struct.pack("<H", BYTE_EOD), place)
            write_at(self._lengths, struct.pack("<i", counts.tokens), before.documents * _LENGTH_BYTES)
        return counts


def _check_length(shard: Shard, longest: int) -> None:
    if longest > _LONGEST:
        name = shard.segments[0].source.name
        raise CorpusError(
            f"{name}: a document of {longest:,} tokens; Megatron's format holds {_LONGEST:,} at most. Split it"
        )
