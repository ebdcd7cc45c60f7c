"""Worker processes that turn shards into output, and the hub that hands out shards and places. prepare.py runs it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import TracebackType

from primus.data.corpus import CorpusError, Shard
from primus.data.formats import Counts, Writer
from primus.errors import MissingError, PrimusError, Problem
from primus.lifeline import end_with_parent

SHOWN = 3
"""Damaged documents that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A shard is written."""

    index: int
    counts: Counts
    problems: tuple[Problem, ...]
    """The first damaged documents that were left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Claim:
    index: int
    counts: Counts


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failed:
    index: int
    error: PrimusError | OSError


class Pool:
    """Runs `shards` from `first` on in `workers` processes, which all die with this one."""

    def __init__(
        self,
        make_writer: Callable[[], Writer],
        shards: Sequence[Shard],
        *,
        first: int,
        before: Counts,
        workers: int,
        skip: bool,
    ) -> None:
        self._shards = shards
        self._next_shard = first
        self._next_claim = first
        self._before = before
        self._claims: dict[int, tuple[Connection, Counts]] = {}
        self._running: dict[Connection, int] = {}
        self._processes: dict[Connection, ForkProcess] = {}
        for _ in range(min(workers, len(shards) - first)):
            connection, process = _start(make_writer, shards, skip)
            self._processes[connection] = process

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, process in self._processes.items():
            if kind is None:
                connection.send(None)
            else:
                process.kill()
            process.join()
            connection.close()

    def results(self) -> Iterator[Finished]:
        """Each shard as it gets done, in any order. Raises the first failure in the order of the corpus."""
        failed: _Failed | None = None
        for connection in self._processes:
            self._hand_out(connection)
        while self._running and (failed is None or min(self._running.values()) < failed.index):
            ready = wait(list(self._running))
            for connection in [one for one in self._running if one in ready]:
                message = self._receive(connection)
                match message:
                    case _Claim():
                        self._claims[message.index] = (connection, message.counts)
                        self._grant()
                    case Finished():
                        self._running.pop(connection)
                        if failed is None:
                            self._hand_out(connection)
                        yield message
                    case _Failed():
                        self._running.pop(connection)
                        if failed is None or message.index < failed.index:
                            failed = message
        if failed is not None:
            raise failed.error

    def _hand_out(self, connection: Connection) -> None:
        if self._next_shard < len(self._shards):
            connection.send(self._next_shard)
            self._running[connection] = self._next_shard
            self._next_shard += 1

    def _grant(self) -> None:
        """Tell every worker its place for which all before it have claimed theirs."""
        while self._next_claim in self._claims:
            connection, counts = self._claims.pop(self._next_claim)
            connection.send(self._before)
            self._before += counts
            self._next_claim += 1

    def _receive(self, connection: Connection) -> _Claim | Finished | _Failed:
        try:
            message: _Claim | Finished | _Failed = connection.recv()
        except EOFError:
            process = self._processes[connection]
            process.join()
            raise _explain_death(process.exitcode) from None
        return message


def _start(make_writer: Callable[[], Writer], shards: Sequence[Shard], skip: bool) -> tuple[Connection, ForkProcess]:
    """A forked process has the shards already, and starts in milliseconds. The command has no threads yet."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, os.getpid(), make_writer, shards, skip), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _serve(
    connection: Connection,
    parent: int,
    make_writer: Callable[[], Writer],
    shards: Sequence[Shard],
    skip: bool,
) -> None:
    """The life of a worker process: write shards until the hub says that there are no more."""
    _die_with(parent)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    worker = _Worker(connection, skip=skip)
    writer = make_writer()
    while (index := connection.recv()) is not None:
        worker.do(writer, shards[index])


class _Worker:
    """One worker's side of the talk with the hub."""

    def __init__(self, connection: Connection, *, skip: bool) -> None:
        self._connection = connection
        self._skip = skip
        self._index = 0
        self._skipped = 0
        self._problems: list[Problem] = []

    def do(self, writer: Writer, shard: Shard) -> None:
        self._index, self._skipped, self._problems = shard.index, 0, []
        try:
            counts = replace(writer.write(shard, self._report, self._claim), skipped=self._skipped)
        except (PrimusError, OSError) as error:
            self._connection.send(_Failed(index=shard.index, error=error))
        else:
            self._connection.send(Finished(index=shard.index, counts=counts, problems=tuple(self._problems)))

    def _report(self, problem: Problem) -> None:
        if not self._skip:
            raise CorpusError(str(problem))
        self._skipped += 1
        if len(self._problems) < SHOWN:
            self._problems.append(problem)

    def _claim(self, counts: Counts) -> Counts:
        self._connection.send(_Claim(index=self._index, counts=counts))
        before: Counts = self._connection.recv()
        return before


def _die_with(parent: int) -> None:
    """Ctrl-C is the parent's business, and nothing may go on writing when the parent is gone, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _explain_death(status: int | None) -> Exception:
    if status is not None and status < 0:
        reason = " (out of memory?)" if status == -signal.SIGKILL else ""
        name = signal.Signals(-status).name
        return MissingError(f"a worker process was killed by {name}{reason}; the same command goes on")
    return RuntimeError(f"a worker process failed with exit status {status}")
