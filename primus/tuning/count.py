"""Counts the lines of a dump by their text, at about the speed of reading them. shapes.py uses it;
benchmarks/tuning_parse.py measures it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

_CHUNK = 1 << 18
"""Bytes read at a time: they stay in the processor's cache while they are counted."""

_LONGEST = 1 << 20
"""Bytes of a line at most; what has longer ones is no dump, and its lines are cut."""

_DISTINCT = 1 << 16
"""Different lines that are held before they are handed on."""


def count_lines(path: Path) -> Iterator[tuple[bytes, int]]:
    """Each line with its end, and how often it is there; the same one may come several times.

    The last line has no end when the file stops in the middle of it.
    """
    counts: Counter[bytes] = Counter()
    begun = b""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            first = chunk.find(b"\n") + 1
            if not first:
                begun += chunk
                if len(begun) > _LONGEST:
                    yield begun + b"\n", 1
                    begun = b""
                continue
            counts[begun + chunk[:first]] += 1
            lines = BytesIO(chunk)
            lines.seek(first)
            counts.update(lines)
            begun = chunk[chunk.rfind(b"\n") + 1 :]
            # It was counted as a line, which it will only be with the next chunk.
            counts.pop(begun, None)
            if len(counts) > _DISTINCT:
                yield from counts.items()
                counts.clear()
    yield from counts.items()
    if begun:
        yield begun, 1
