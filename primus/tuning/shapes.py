"""The shapes of a training run: dumps of many processes → problems with their calls; and gemm_shapes.jsonl.

Stage 1 merges its dumps here, stage 2 reads the file. Memory goes by distinct problems, not by lines.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from primus.errors import MissingError, PrimusError
from primus.run import write_text
from primus.tuning.count import count_lines
from primus.tuning.gemm import Gemm
from primus.tuning.line import COMMAND, PROFILE, Entry, TornLine, read_line

FILE_NAME = "gemm_shapes.jsonl"

_EXAMPLES = 5
"""Faulty lines of one dump that are shown with their place."""

_KNOWN_LINES = 65536
"""Texts of lines that are remembered with what they say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How a problem is used."""

    calls: int
    """Of all processes together."""

    ranks: int
    """Processes that use it."""


@dataclass(kw_only=True, slots=True)
class Shapes:
    """Problems with their use, and what was read to know it."""

    uses: dict[Gemm, Use] = field(default_factory=dict)
    files: int = 0
    lines: int = 0
    foreign: int = 0
    """Lines that are not hipBLASLt's."""

    torn: int = 0
    """Lines of hipBLASLt that are not whole."""

    unknown: Counter[str] = field(default_factory=Counter)
    """Options that are not known here: how many problems have each."""

    examples: list[str] = field(default_factory=list)
    """Some of the faulty lines: `file:line: what is wrong`."""

    def add(self, gemm: Gemm, use: Use) -> None:
        before = self.uses.get(gemm, Use(calls=0, ranks=0))
        self.uses[gemm] = Use(calls=before.calls + use.calls, ranks=before.ranks + use.ranks)
        if before.calls == 0:
            self.unknown.update({words[0] for words in gemm.extra})

    def merge(self, other: Shapes) -> None:
        """Add what another part of the same training run used."""
        for gemm, use in other.uses.items():
            self.add(gemm, use)
        self.files += other.files
        self.lines += other.lines
        self.foreign += other.foreign
        self.torn += other.torn
        self.examples += other.examples

    def heaviest(self) -> list[tuple[Gemm, Use]]:
        """By floating-point operations of all calls, the most first; the same order in every run."""
        return sorted(self.uses.items(), key=lambda each: (-each[0].flops * each[1].calls, repr(each[0])))


def read_dumps(paths: Sequence[Path], *, processes: int = 1) -> Shapes:
    """Merge the dumps of all processes of a training run: one file per process."""
    shapes = Shapes()
    parts = _in_processes(paths, processes) if processes > 1 and len(paths) > 1 else _one_by_one(paths)
    for part in parts:
        shapes.merge(part)
    return shapes


def find_dumps(folder: Path) -> list[Path]:
    """The dumps of a stage 1 folder: all files in it and in its node folders, but not our own merged file."""
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; stage 1 of `primus tune` writes the dumps there")
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl")


def write_shapes(path: Path, shapes: Shapes) -> None:
    """One object per line, the heaviest problem first. The file appears whole or not at all."""
    rows = ({"problem": gemm.to_json(), "calls": use.calls, "ranks": use.ranks} for gemm, use in shapes.heaviest())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def read_shapes(path: Path) -> Shapes:
    """What write_shapes wrote. Raises PrimusError with file and line when something else is there."""
    shapes = Shapes(files=1)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                shapes.lines = number
                shapes.add(*_read_row(line, f"{path}:{number}"))
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; stage 1 of `primus tune` writes it") from None
    except UnicodeDecodeError:
        raise PrimusError(f"{path}: this is not a text file") from None
    return shapes


def _read_row(line: str, where: str) -> tuple[Gemm, Use]:
    try:
        row = json.loads(line)
        if not isinstance(row, Mapping) or set(row) != {"problem", "calls", "ranks"}:
            raise ValueError("expected an object with problem, calls and ranks")
        return Gemm.from_json(row["problem"]), Use(calls=_count(row, "calls"), ranks=_count(row, "ranks"))
    except ValueError as error:
        raise PrimusError(f"{where}: {error}. Write the file again with `primus tune merge`.") from None


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row[name]
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
    return value


def _one_by_one(paths: Iterable[Path]) -> Iterator[Shapes]:
    reader = _Reader()
    return (reader.read(path) for path in paths)


def _in_processes(paths: Sequence[Path], processes: int) -> Iterator[Shapes]:
    """Each process keeps one reader, which knows the lines of the dumps before."""
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        yield from pool.map(_read_here, paths)


_here: list[_Reader] = []


def _read_here(path: Path) -> Shapes:
    if not _here:
        _here.append(_Reader())
    return _here[0].read(path)


class _Reader:
    """Reads dumps one after another. What a text of a line says is found out once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Entry] = {}

    def read(self, path: Path) -> Shapes:
        shapes = Shapes(files=1)
        launched: Counter[Gemm] = Counter()
        counted: Counter[Gemm] = Counter()
        faults: dict[bytes, str] = {}
        try:
            for text, times in count_lines(path):
                shapes.lines += times
                entry = self._entry(text, times, shapes, faults)
                if entry is not None:
                    (counted if entry.profile else launched)[entry.gemm] += entry.calls * times
        except OSError as error:
            raise PrimusError(f"{path}: {os.strerror(error.errno or 0)}") from None
        for gemm in {**launched, **counted}:
            # The profile at the end of a process counts the same calls once more.
            shapes.add(gemm, Use(calls=max(launched[gemm], counted[gemm]), ranks=1))
        shapes.examples = _places(path, faults)
        return shapes

    def _entry(self, text: bytes, times: int, shapes: Shapes, faults: dict[bytes, str]) -> Entry | None:
        known = self._known.get(text)
        if known is not None:
            return known
        try:
            entry = _read(text)
        except TornLine as error:
            shapes.torn += times
            if len(faults) < _EXAMPLES:
                faults[text] = f"torn: {error}"
            return None
        if entry is None:
            shapes.foreign += times
            return None
        if len(self._known) == _KNOWN_LINES:
            self._known.clear()
        self._known[text] = entry
        return entry


def _read(text: bytes) -> Entry | None:
    """A line without its end is the last one of a process that died while it wrote."""
    if text.endswith(b"\n"):
        return read_line(text)
    if text.startswith((COMMAND, PROFILE)) or COMMAND.startswith(text) or PROFILE.startswith(text):
        raise TornLine("the file ends in it")
    return None


def _places(path: Path, faults: Mapping[bytes, str]) -> list[str]:
    """Where the faulty lines stand first: a second look at the file, which few dumps need."""
    if not faults:
        return []
    found: dict[bytes, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line in faults and line not in found:
                found[line] = number
                if len(found) == len(faults):
                    break
    return [f"{path}:{number}: {faults[line]}" for line, number in found.items()]
