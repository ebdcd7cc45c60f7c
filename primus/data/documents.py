"""From the bytes of a shard to its documents, with the place of each thing that is wrong. The writers call this in the
worker processes."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from primus.data.corpus import Segment, Shard
from primus.errors import Origin, Problem, did_you_mean

Report = Callable[[Problem], None]
"""Told of a damaged document; raises to stop, returns to leave the document out."""

_BLOCK = 1 << 20

_scan = json.JSONDecoder().raw_decode
"""Parses one value inside a longer text."""


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
    for number, (text, place, stop) in enumerate(_lines(block)):
        if text[place:stop].isspace() or place == stop:
            continue
        try:
            document = _text_of(_parse(text, place, stop), key).encode()
        except (ValueError, RecursionError) as error:
            report(_problem(segment, _line_number(segment.source.path, start) + number, _explain(error)))
        else:
            if document:
                yield document


def _lines(block: bytes) -> Iterator[tuple[str | bytes, int, int]]:
    """Each line as a text and its place in there: to decode all at once and cut nothing out is much faster. Where not
    all is UTF-8, bytes."""
    try:
        text = block.decode()
    except UnicodeDecodeError:
        yield from ((line, 0, len(line)) for line in block.split(b"\n"))
        return
    place = 0
    while place < len(text):
        stop = text.find("\n", place)
        stop = len(text) if stop < 0 else stop
        yield text, place, stop
        place = stop + 1


def _parse(text: str | bytes, place: int, stop: int) -> Any:
    """The JSON value of one line."""
    if isinstance(text, bytes):
        return json.loads(text.decode())
    try:
        record, end = _scan(text, place)
    except ValueError:
        end = -1
    return record if end == stop else json.loads(text[place:stop])


def _whole_lines(segment: Segment) -> tuple[int, bytes]:
    """The lines that begin in the segment, and the offset of the first."""
    with segment.source.path.open("rb") as file:
        start = _first_line(file, segment)
        if start >= segment.stop:
            return start, b""
        block = file.read(segment.stop - start)
        return start, block if block.endswith(b"\n") else block + file.readline()


def _first_line(file: BinaryIO, segment: Segment) -> int:
    """Put the file at the first line that begins in the segment; an offset behind the segment when there is none."""
    if segment.start == 0:
        return 0
    file.seek(segment.start - 1)
    rest = file.readline(segment.stop - segment.start + 1)
    return segment.start - 1 + len(rest) if rest.endswith(b"\n") else segment.stop


def _text_of(record: Any, key: str) -> str:
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object was expected, this is {_KINDS[type(record)]}")
    if key not in record:
        keys = ", ".join(record) or "none"
        raise ValueError(f"no key {key!r} in this object; its keys: {keys}.{did_you_mean(key, record)}")
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
