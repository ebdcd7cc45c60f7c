"""Which text goes in: the files behind the inputs of `primus data prepare`, and how they are cut into shards, the unit
of work and of resuming. prepare.py calls this; nothing here opens a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from primus.errors import ExitStatus, MissingError, PrimusError, UsageError

Reading = Literal["jsonl", "text"]
"""`jsonl`: every line is a JSON object and a document; `text`: the whole file is one document."""

SEGMENT_BYTES = 1 << 20
"""Of a JSONL file, held in memory at once; a text file is one segment."""

_READINGS: dict[str, Reading] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_COMPRESSED = {".gz": "zcat", ".zst": "zstdcat", ".xz": "xzcat", ".bz2": "bzcat"}


class CorpusError(PrimusError):
    """The text itself is damaged, or changes while it is read."""

    status = ExitStatus.EXPERIMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file of the corpus, as it was when the work began."""

    path: Path
    name: str
    """What messages call it."""

    size: int
    modified: int
    """Time of the last change, in nanoseconds."""

    digest: str = ""
    """Hash of the content, for standard input only: there the time says nothing."""

    reading: Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """The documents of a source that begin in the bytes [start, stop)."""

    source: Source
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Consecutive segments that one worker handles in one go."""

    index: int
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        return sum(segment.stop - segment.start for segment in self.segments)


def find_sources(inputs: Sequence[Path], *, globs: Sequence[str], read_as: Reading | None) -> list[Source]:
    """The files behind `inputs`, folders searched through in sorted order; `globs` choose among a folder's files."""
    sources = [_describe(path, read_as) for item in inputs for path in _files(item, globs)]
    seen: set[Path] = set()
    for source in sources:
        if source.path in seen:
            raise UsageError(f"{source.name} is named twice among the inputs")
        seen.add(source.path)
    return sources


def copy_of_stdin(path: Path, *, digest: str, reading: Reading) -> Source:
    """The source for standard input, which was copied to `path`."""
    facts = path.stat()
    return Source(
        path=path, name="standard input", size=facts.st_size, modified=facts.st_mtime_ns, digest=digest, reading=reading
    )


def cut(sources: Iterable[Source], *, shard_bytes: int) -> list[Shard]:
    """Shards of about `shard_bytes`, or of one larger text file. They do not depend on the number of workers."""
    shards: list[Shard] = []
    group: list[Segment] = []
    size = 0
    for segment in _segments(sources):
        group.append(segment)
        size += segment.stop - segment.start
        if size >= shard_bytes:
            shards.append(Shard(index=len(shards), segments=tuple(group)))
            group, size = [], 0
    if group:
        shards.append(Shard(index=len(shards), segments=tuple(group)))
    return shards


def fingerprint(sources: Iterable[Source]) -> str:
    """A hash over place, size and time of all sources."""
    whole = hashlib.sha256()
    for source in sources:
        identity = source.digest or f"{source.path}\0{source.modified}"
        whole.update(f"{identity}\0{source.size}\0{source.reading}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def check_unchanged(sources: Iterable[Source]) -> None:
    """Raise when a file was changed while it was read."""
    for source in sources:
        facts = source.path.stat()
        if (facts.st_size, facts.st_mtime_ns) != (source.size, source.modified):
            raise CorpusError(f"{source.name} was changed while it was read; run the command again")


def _files(item: Path, globs: Sequence[str]) -> Iterator[Path]:
    if not item.exists():
        raise MissingError(f"{item}: no such file or folder")
    if not item.is_dir():
        yield item
        return
    found = [path for path in _walk(item) if not globs or any(_matches(path, item, glob) for glob in globs)]
    if not found:
        wanted = f" that matches {' or '.join(globs)}" if globs else ""
        raise MissingError(f"{item}: no file{wanted} in this folder")
    yield from found


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _matches(path: Path, folder: Path, glob: str) -> bool:
    """As in .gitignore: a pattern with a slash is held against the path below the folder, another against the name."""
    return fnmatch(str(path.relative_to(folder)) if "/" in glob else path.name, glob)


def _describe(path: Path, read_as: Reading | None) -> Source:
    if path.suffix in _COMPRESSED:
        raise UsageError(
            f"{path} is compressed; pipe it in: {_COMPRESSED[path.suffix]} {path} | primus data prepare - …"
        )
    if not path.is_file():
        raise UsageError(f"{path} is neither a file nor a folder")
    facts = path.stat()
    return Source(
        path=path.resolve(),
        name=str(path),
        size=facts.st_size,
        modified=facts.st_mtime_ns,
        reading=read_as or _READINGS.get(path.suffix, "text"),
    )


def _segments(sources: Iterable[Source]) -> Iterator[Segment]:
    for source in sources:
        step = SEGMENT_BYTES if source.reading == "jsonl" else max(source.size, 1)
        for start in range(0, source.size, step):
            yield Segment(source=source, start=start, stop=min(start + step, source.size))
