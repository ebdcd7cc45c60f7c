"""Counts the lines of a dump. Training repeats itself: a stretch of lines that came before is compared, not read again.

shapes.py uses it; benchmarks/tuning_parse.py measures it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

_CHUNK = 1 << 19
"""Bytes read at a time: they stay in the processor's cache while they are counted."""

_LONGEST = 1 << 13
"""Bytes of a stretch, about; it is compared in one go."""

_SHORTEST = 1 << 9
"""Bytes from which on a stretch is worth remembering."""

_MEMORY = 1 << 23
"""Bytes of all stretches that are remembered."""

_PATIENCE = 16
"""Where nothing repeats itself, so many times _MEMORY is counted line by line before stretches are tried again."""

_CHOICE = 4
"""Stretches at most that are tried at one place."""

_DISTINCT = 1 << 16
"""Different lines that are held before they are handed on."""


class _Stretch:
    """Lines that came one after another."""

    __slots__ = ("counts", "followers", "hits", "text")

    def __init__(self, lines: list[bytes]) -> None:
        self.text = b"\n".join(lines) + b"\n"
        self.counts = Counter(lines)
        self.hits = 0
        self.followers: list[_Stretch] = []
        """Those that came after it, the latest first."""


class LineCounter:
    """Counts lines by their text. What one file taught it makes the next one faster."""

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()
        self._loose: list[bytes] = []
        """Lines since the last stretch, or the last file's end."""

        self._loose_bytes = 0
        self._patience = 0
        """Bytes to count line by line before stretches are tried again."""

        self.unfinished = b""
        self._forget()

    def _forget(self) -> None:
        self._start = self._last = _Stretch([])
        """Stands before the first stretch of a file."""

        self._stretches: list[_Stretch] = []
        self._beginning: dict[bytes, list[_Stretch]] = {}
        """The latest of them by their first line."""

        self._held = self._matched = 0
        """Bytes of all stretches, and of all that was equal to one."""

    def count(self, path: Path) -> Iterator[tuple[bytes, int]]:
        """Each line of a file without its end, and how often it is there; the same line may come several times.

        What stands after the last end of a line is left in `unfinished`.
        """
        self._last = self._start
        rest = b""
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                data = rest + chunk if rest else chunk
                rest = data[self._take(data) :]
                if len(self._counts) > _DISTINCT:
                    yield from self._hand_on()
        end = rest.rfind(b"\n")
        if end >= 0:
            self._counts.update(rest[:end].split(b"\n"))
        self.unfinished = rest[end + 1 :]
        self._settle()
        yield from self._hand_on()

    def _take(self, data: bytes) -> int:
        """Count lines from the beginning of `data`. Returns where the rest begins."""
        end = data.rfind(b"\n") + 1
        if not end:
            # No dump has such a line: its parts count as lines, so that it is not gathered in memory.
            self._counts[data[:_LONGEST]] += len(data) > _MEMORY
            return len(data) if len(data) > _MEMORY else 0
        if self._held > _MEMORY:
            self._patience = 0 if self._matched > self._held else _PATIENCE * _MEMORY
            self._settle()
            self._forget()
        if self._patience > 0:
            self._patience -= end
            for line, times in Counter(BytesIO(data[:end])).items():
                self._counts[line[:-1]] += times
            return end
        return self._compare(data, end)

    def _compare(self, data: bytes, end: int) -> int:
        """Walk along stretches. One that may go on behind the end of `data` is left for the next time."""
        position, matches = 0, data.startswith
        while position < end - 2 * _LONGEST:
            for stretch in self._last.followers:
                if matches(stretch.text, position):
                    break
            else:
                line = data[position : data.index(b"\n", position)]
                for stretch in self._beginning.get(line, ()):
                    if matches(stretch.text, position):
                        self._remember()
                        _put_first(stretch, self._last.followers)
                        break
                else:
                    self._add_loose(line)
                    position += len(line) + 1
                    continue
            stretch.hits += 1
            self._last = stretch
            position += len(stretch.text)
            self._matched += len(stretch.text)
        return position

    def _add_loose(self, line: bytes) -> None:
        self._loose.append(line)
        self._loose_bytes += len(line) + 1
        if self._loose_bytes >= _LONGEST // 2:
            self._remember()

    def _remember(self) -> None:
        """Make a stretch of the loose lines."""
        lines, size = self._loose, self._loose_bytes
        self._counts.update(lines)
        self._loose, self._loose_bytes = [], 0
        if not _SHORTEST <= size <= _LONGEST:
            return
        self._held += size
        stretch = _Stretch(lines)
        self._stretches.append(stretch)
        _put_first(stretch, self._beginning.setdefault(lines[0], []))
        _put_first(stretch, self._last.followers)
        self._last = stretch

    def _settle(self) -> None:
        """Count the lines of all stretches that were met again."""
        self._counts.update(self._loose)
        self._loose, self._loose_bytes = [], 0
        for stretch in self._stretches:
            for line, times in stretch.counts.items() if stretch.hits else ():
                self._counts[line] += times * stretch.hits
            stretch.hits = 0

    def _hand_on(self) -> Iterator[tuple[bytes, int]]:
        counts, self._counts = self._counts, Counter()
        return iter(counts.items())


def _put_first(stretch: _Stretch, others: list[_Stretch]) -> None:
    others.insert(0, stretch)
    del others[_CHOICE:]
