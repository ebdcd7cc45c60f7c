"""From the bytes of a shard to its documents, with the place of each thing that is wrong. The writers call this in the
worker processes."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from primus.data.corpus import Segment, Shard
from primus.errors import Origin, Problem, did_you_mean

Report = Callable[[Problem], None]
"""Told of a damaged document; raises to stop, returns to leave the document out."""

_BLOCK = 1 << 22


def read_documents(shard: Shard, *, key: str, report: Report) -> Iterator[bytes]:
    """The documents of a shard as UTF-8, in order. Empty ones are left out."""
    for segment in shard.segments:
        if segment.source.reading == "jsonl":
            yield from _read_lines(segment, key, report)
        else:
            yield from _read_file(segment, report)


def is_text(segment: Segment, report: Report) -> bool:
    """Whether a text file is valid UTF-8, found without holding it in memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 0
    for block in read_blocks(segment):
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            report(_not_utf8(segment, lines + error.object.count(b"\n", 0, error.start) + 1, error))
            return False
        lines += block.count(b"\n")
    if decoder.getstate()[0]:
        report(_problem(segment, lines + 1, "the file ends in the middle of a character"))
        return False
    return True


def read_blocks(segment: Segment) -> Iterator[bytes]:
    """The bytes of a segment in pieces of a few MB."""
    with segment.source.path.open("rb") as file:
        file.seek(segment.start)
        left = segment.stop - segment.start
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


def _read_file(segment: Segment, report: Report) -> Iterator[bytes]:
    data = segment.source.path.read_bytes()
    try:
        data.decode()
    except UnicodeDecodeError as error:
        report(_not_utf8(segment, data.count(b"\n", 0, error.start) + 1, error))
    else:
        if data:
            yield data


def _read_lines(segment: Segment, key: str, report: Report) -> Iterator[bytes]:
    start, block = _whole_lines(segment)
    for number, line in enumerate(_split(block)):
        if not line or line.isspace():
            continue
        try:
            document = _text_of(line, key).encode()
        except (ValueError, RecursionError) as error:
            report(_problem(segment, _line_number(segment.source.path, start) + number, _explain(error)))
        else:
            if document:
                yield document


def _split(block: bytes) -> Sequence[str | bytes]:
    """The lines, as text when all of them are UTF-8: it is much faster to find that out for all at once."""
    try:
        return block.decode().split("\n")
    except UnicodeDecodeError:
        return block.split(b"\n")


def _whole_lines(segment: Segment) -> tuple[int, bytes]:
    """The lines that begin in the segment, and the offset of the first."""
    with segment.source.path.open("rb") as file:
        start = _line_start(file, segment.start)
        if start >= segment.stop:
            return start, b""
        block = file.read(segment.stop - start)
        return start, block if block.endswith(b"\n") else block + file.readline()


def _line_start(file: BinaryIO, offset: int) -> int:
    """Put the file at the first line that begins at `offset` or later."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    return offset - 1 + len(file.readline())


def _text_of(line: str | bytes, key: str) -> str:
    record: Any = json.loads(line.decode() if isinstance(line, bytes) else line)
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object was expected, this is {_KINDS[type(record)]}")
    if key not in record:
        raise ValueError(
            f"no key {key!r} in this object; its keys: {', '.join(record) or 'none'}.{did_you_mean(key, record)}"
        )
    text = record[key]
    if not isinstance(text, str):
        raise ValueError(f"{key!r} must be a string, it is {_KINDS[type(text)]}")
    return text


_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def _explain(error: ValueError | RecursionError) -> str:
    match error:
        case json.JSONDecodeError():
            return f"not valid JSON: {error.msg} (column {error.colno})"
        case UnicodeDecodeError():
            return f"not UTF-8: byte 0x{error.object[error.start]:02x} at column {error.start + 1}"
        case UnicodeEncodeError():
            return "half of a surrogate pair (\\ud800 to \\udfff) is no character"
        case RecursionError():
            return "nested too deeply for JSON"
    return str(error)


def _not_utf8(segment: Segment, line: int, error: UnicodeDecodeError) -> Problem:
    return _problem(segment, line, f"not UTF-8: byte 0x{error.object[error.start]:02x}")


def _problem(segment: Segment, line: int, message: str) -> Problem:
    return Problem(where=Origin(kind="file", name=segment.source.name, line=line), message=message)


def _line_number(path: Path, offset: int) -> int:
    """Number of the line that begins at `offset`; reads all before it, so for messages only."""
    number = 1
    with path.open("rb") as file:
        while offset and (block := file.read(min(offset, _BLOCK))):
            number += block.count(b"\n")
            offset -= len(block)
    return number
