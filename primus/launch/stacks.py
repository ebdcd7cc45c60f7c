"""Python stacks of worker processes, from outside: asked for with py-spy where that is installed, else with the signal
that makes a worker write its own. stall.py uses it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from primus.backends.heartbeat import STACKS_SIGNAL, Heartbeat
from primus.launch.supervise import descendants

_THREAD = re.compile(r"^(?:Current thread|Thread) .*$", re.MULTILINE)
"""Begins the stack of a thread, with both tools."""

_MAIN = re.compile(r'^Current thread|"MainThread"')

_OWN_THREADS = ("primus/backends/heartbeat.py", "primus/backends/log.py")
"""Threads of Primus itself: no news to anybody."""

_FRAMES = 12
"""Innermost frames of a thread that are shown."""


class Request:
    """Stacks that were asked for and will be there soon."""

    def __init__(self, places: Mapping[int, Path], beats: Mapping[int, Heartbeat], tell: Callable[[int], None]) -> None:
        """`places` are the files that the ranks write to, `tell` passes a signal on to all workers of this node."""
        self._places = places
        self._begin = {rank: _size(path) for rank, path in places.items()}
        self._sizes: dict[int, int] = {}
        self._spies: dict[int, subprocess.Popen[bytes]] = {}
        self._beats, self._tell = beats, tell
        program = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
        ours = descendants(os.getpid())
        for rank, beat in beats.items():
            if program and beat.pid in ours:
                self._spies[rank] = _spy(program, beat.pid, places[rank])
        if len(self._spies) < len(beats):
            tell(STACKS_SIGNAL)

    def is_complete(self) -> bool:
        """Whether every stack has come; ask now and then."""
        running = [rank for rank, spy in self._spies.items() if spy.poll() is None]
        if any(spy.poll() for spy in self._spies.values()):  # py-spy may not look into them
            self._spies.clear()
            self._tell(STACKS_SIGNAL)
            return False
        sizes = {rank: _size(self._places[rank]) for rank in self._beats}
        settled = sizes == self._sizes and all(sizes[rank] > self._begin[rank] for rank in sizes)
        self._sizes = sizes
        return settled and not running

    def take(self) -> dict[int, str]:
        """The stacks that are there, by rank."""
        for spy in self._spies.values():
            if spy.poll() is None:
                spy.kill()
                spy.wait()
        return {rank: readable(_from(path, self._begin[rank])) for rank, path in self._places.items()}


def readable(dump: str) -> str:
    """A dump of either tool without what differs from process to process: addresses, ids, and Primus' own threads."""
    heads = list(_THREAD.finditer(dump))
    ends = [*(head.start() for head in heads), len(dump)][1:]
    main, others = "", []
    for head, end in zip(heads, ends, strict=True):
        frames = [line.strip() for line in dump[head.end() : end].splitlines() if line.startswith(" ")]
        if not frames or any(own in frame for own in _OWN_THREADS for frame in frames):
            continue
        more = [f"… {len(frames) - _FRAMES} more"] if len(frames) > _FRAMES else []
        text = "\n".join(frames[:_FRAMES] + more)
        if _MAIN.search(head[0]):
            main = text
        else:
            others.append(text)
    alike = [
        f"{others.count(text)} more thread{'s' * (others.count(text) > 1)}:\n{text}" for text in sorted(set(others))
    ]
    return "\n".join(filter(None, [main, *alike]))


def fold(stacks: Mapping[int, str]) -> list[tuple[Sequence[int], str]]:
    """Each stack once, with the ranks that have it; the rarest first, which is the likeliest to be the cause."""
    groups: dict[str, list[int]] = {}
    for rank, stack in sorted(stacks.items()):
        if stack:
            groups.setdefault(stack, []).append(rank)
    return sorted(((ranks, stack) for stack, ranks in groups.items()), key=lambda group: (len(group[0]), group[0]))


def _spy(program: str, pid: int, place: Path) -> subprocess.Popen[bytes]:
    with place.open("ab") as output:
        return subprocess.Popen(
            [program, "dump", "--nonblocking", "--full-filenames", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _from(path: Path, begin: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
