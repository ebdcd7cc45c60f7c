"""Text in, training data out: from the options of `primus data prepare` to the published output. commands/data.py calls
prepare(); everything unfinished stays in a `.partial` folder beside the output, from which the same call goes on."""

from __future__ import annotations

import errno
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal

from primus.data.corpus import (
    CorpusError,
    Reading,
    Shard,
    Source,
    check_unchanged,
    copy_of_stdin,
    cut,
    find_sources,
    fingerprint,
)
from primus.data.files import read_note
from primus.data.formats import Counts, Format
from primus.data.journal import Journal, is_interrupted, work_folder
from primus.data.megatron import MegatronFormat
from primus.data.pool import SHOWN, Pool
from primus.data.progress import Progress
from primus.data.tokenizers import describe
from primus.data.torchtitan import TorchtitanFormat
from primus.errors import MissingError, UsageError

FORMATS: dict[str, type[MegatronFormat] | type[TorchtitanFormat]] = {
    "megatron": MegatronFormat,
    "torchtitan": TorchtitanFormat,
}

VERSION = 1
"""Of this package's output; another one makes everything anew."""

STDIN = "-"

_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked for."""

    inputs: tuple[str, ...]
    """Files, folders, or `-` alone for standard input."""

    output: Path
    format: Literal["megatron", "torchtitan"]
    tokenizer: str
    eod: str | None
    key: str
    globs: tuple[str, ...]
    read_as: Reading | None
    """How to read every file; None goes by its name."""

    workers: int
    on_error: Literal["stop", "skip"]
    """What to do about a damaged document."""

    force: bool
    """Replace an output that is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it."""

    note: Mapping[str, Any]
    """What the note beside the output says."""

    parts: tuple[Path, ...]
    fresh: bool
    """False when the output was there already, made from the same text in the same way."""

    examples: tuple[str, ...] = ()
    """The first damaged documents that were left out."""


def prepare(request: Request, progress: Progress) -> Outcome:
    """Do what `request` asks for. What is done when it raises or is killed is kept for the next call."""
    _check_names(request)
    tokenizer = describe(request.tokenizer, eod=request.eod)
    target: Format = FORMATS[request.format](request.output, tokenizer=tokenizer, key=request.key)
    try:
        with work_folder(target.work):
            return _prepare(request, target, progress)
    except OSError as error:
        raise _explain(error, target) from error


def _prepare(request: Request, target: Format, progress: Progress) -> Outcome:
    sources = _sources(request, target)
    plan = _plan(request, target, sources)
    if not is_interrupted(target.work, plan):
        note = read_note(target.note)
        if note is not None and _is_current(note, plan, request, target):
            return Outcome(note=note, parts=target.parts, fresh=False)
        _check_output(request, target)
    shards = cut(sources, shard_bytes=target.shard_bytes)
    examples: list[str] = []
    with Journal(target.work, plan, sync=target.sync) as journal:
        _check_journal(request, target, journal)
        if not journal.finished:
            progress.begin(_beginning(journal, shards), total=_size(shards), done=_size(shards[: journal.shards]))
            examples = _work(request, target, shards, journal, progress)
            _complete(target, journal, sources, plan)
        target.publish()
        journal.discard()
    return Outcome(note=read_note(target.note) or {}, parts=target.parts, fresh=True, examples=tuple(examples))


def _check_names(request: Request) -> None:
    if STDIN in request.inputs and len(request.inputs) > 1:
        raise UsageError("standard input (-) can't be mixed with files")
    if request.output.suffix in (".bin", ".idx"):
        raise UsageError(f"--output {request.output}: leave {request.output.suffix} out, it is added")
    if request.format == "megatron" and request.output.is_dir():
        raise UsageError(
            f"--output {request.output} is a folder; give a name in it, such as {request.output / 'corpus'}"
        )
    for item in request.inputs:
        if item != STDIN and request.output.resolve().is_relative_to(Path(item).resolve()):
            raise UsageError(f"--output {request.output} lies in the input {item}; the next run would read it")
    if find_spec("numpy") is None:
        raise MissingError("the package numpy is missing: pip install 'primus[data]'")


def _sources(request: Request, target: Format) -> list[Source]:
    if request.inputs != (STDIN,):
        return find_sources([Path(item) for item in request.inputs], globs=request.globs, read_as=request.read_as)
    copy = target.work / "stdin"
    digest = _copy(sys.stdin.buffer, copy)
    return [copy_of_stdin(copy, digest=digest, reading=request.read_as or "jsonl")]


def _copy(stream: BinaryIO, path: Path) -> str:
    """Standard input can't be divided among processes, nor read again."""
    digest = hashlib.blake2b()
    with path.open("wb") as file:
        while block := stream.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _plan(request: Request, target: Format, sources: Sequence[Source]) -> dict[str, Any]:
    """All that decides what the output will be: an interrupted run with the same plan can go on."""
    corpus = {"files": len(sources), "bytes": sum(source.size for source in sources), "sha256": fingerprint(sources)}
    shape = {"version": VERSION, "shard_bytes": target.shard_bytes}
    return {**shape, **target.facts(), "key": request.key, "sources": corpus}


def _is_current(note: Mapping[str, Any], plan: Mapping[str, Any], request: Request, target: Format) -> bool:
    same = all(note.get(name) == value for name, value in plan.items()) and all(path.exists() for path in target.parts)
    return same and not request.force and (request.on_error == "skip" or not note["skipped"])


def _check_output(request: Request, target: Format) -> None:
    there = [path for path in target.parts if path.exists() and not _is_empty_folder(path)]
    if not there:
        return
    if read_note(target.note) is None:
        raise UsageError(f"{there[0]} exists and was not made by this command; remove it, or choose another --output")
    if not request.force:
        raise UsageError(f"{there[0]} exists, made from other text or with other options; --force replaces it")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _check_journal(request: Request, target: Format, journal: Journal) -> None:
    if journal.total.skipped and request.on_error == "stop":
        raise UsageError(
            f"the interrupted run left out {journal.total.skipped} damaged documents with --on-error skip; "
            f"go on with it, or remove {target.work} to start again"
        )


def _beginning(journal: Journal, shards: Sequence[Shard]) -> str:
    if journal.differences:
        return f"Starting from the beginning: the interrupted run had other {' and '.join(journal.differences)}"
    if journal.shards:
        return f"Going on after {journal.total.documents:,} documents of an interrupted run"
    return ""


def _size(shards: Sequence[Shard]) -> int:
    return sum(shard.size for shard in shards)


def _work(request: Request, target: Format, shards: Sequence[Shard], journal: Journal, progress: Progress) -> list[str]:
    """Run all shards that the journal does not have; the first damaged documents that were left out."""
    target.rewind(journal.total)
    examples: list[str] = []
    early: dict[int, Counts] = {}
    pool = Pool(
        target.writer,
        shards,
        first=journal.shards,
        before=journal.total,
        workers=request.workers,
        skip=request.on_error == "skip",
    )
    with pool, progress:
        for result in pool.results():
            early[result.index] = result.counts
            while journal.shards in early:
                journal.add(early.pop(journal.shards))
            examples += map(str, result.problems[: SHOWN - len(examples)])
            progress.advance(shards[result.index].size)
    return examples


def _complete(target: Format, journal: Journal, sources: Sequence[Source], plan: Mapping[str, Any]) -> None:
    check_unchanged(sources)
    if not journal.total.documents:
        journal.discard()
        raise CorpusError("there is no text in the input")
    target.finish(journal.total, {**plan, **asdict(journal.total)})
    journal.finish()


def _explain(error: OSError, target: Format) -> MissingError:
    place = error.filename or target.work
    kept = (
        f" What is done is kept in {target.work}: the same command goes on from there." if target.work.exists() else ""
    )
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return MissingError(f"no space left for {place}.{kept}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return MissingError(f"no permission for {place}.{kept}")
    return MissingError(f"{place}: {error.strerror or error}.{kept}")
