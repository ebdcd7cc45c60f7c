"""Space and speed of the folders that training uses, measured with a short file of our own. host.py calls it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from primus.doctor.host_system import read

_BLOCK = 16 << 20
_QUICK, _FULL = 64 << 20, 1 << 30
"""Bytes of the file."""

_SECONDS = 3.0
"""Writing ends after so long, whatever is written by then."""

_SMALL_WRITES = 8


def folder_facts(use: str, folder: Path, *, full: bool) -> dict[str, Any]:
    """Space, file system and speed of a folder, or of the nearest one above that exists. What may not be written is not
    measured, nor is data that is not there."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    space = os.statvfs(place)
    facts: dict[str, Any] = {
        "use": use,
        "path": str(folder),
        "exists": place == folder.absolute(),
        "free_gib": round(space.f_bavail * space.f_frsize / 2**30, 2),
        "total_gib": round(space.f_blocks * space.f_frsize / 2**30, 2),
        "free_files": space.f_favail if space.f_files else None,
        **_mount(place),
        "writable": os.access(place, os.W_OK | os.X_OK),
    }
    size = _FULL if full else _QUICK
    measurable = facts["writable"] and (facts["exists"] or use != "data")
    if measurable and space.f_bavail * space.f_frsize > 4 * size:
        facts |= _speed(place, size)
    return facts


def _mount(place: Path) -> dict[str, str]:
    """Mount point and kind of the file system that holds a folder."""
    best, kind = "", ""
    real = os.path.realpath(place)
    for line in read(Path("/proc/self/mounts")).splitlines():
        _, point, its_kind, *_ = line.split()
        inside = point == "/" or real == point or real.startswith(f"{point}/")
        if inside and len(point) >= len(best):
            best, kind = point, its_kind
    return {"mount": best, "file_system": kind}


def _speed(place: Path, size: int) -> dict[str, float]:
    """Megabytes per second of writing until the disk has it, and of reading what is not in memory; milliseconds until
    the disk has a small piece."""
    path = place / f".primus-doctor-{os.getpid()}-{os.urandom(4).hex()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        path.unlink()  # nothing is left behind, however this ends
        written, write_seconds = _write(file, size)
        small = _small_writes(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        read_bytes, read_seconds = _read_all(file)
    finally:
        os.close(file)
    return {
        "write_mb": round(written / write_seconds / 1e6, 1),
        "read_mb": round(read_bytes / read_seconds / 1e6, 1),
        "sync_ms": round(small * 1e3, 2),
    }


def _write(file: int, size: int) -> tuple[int, float]:
    block = os.urandom(_BLOCK)  # no file system can compress it
    begin, written = time.monotonic(), 0
    while written < size and time.monotonic() - begin < _SECONDS:
        written += os.write(file, block)
        os.fdatasync(file)  # each time, so that a slow disk does not take long at the end
    return written, time.monotonic() - begin


def _small_writes(file: int) -> float:
    times = []
    for _ in range(_SMALL_WRITES):
        begin = time.monotonic()
        os.write(file, b"primus")
        os.fsync(file)
        times.append(time.monotonic() - begin)
    return sorted(times)[len(times) // 2]


def _read_all(file: int) -> tuple[int, float]:
    os.lseek(file, 0, os.SEEK_SET)
    begin, count = time.monotonic(), 0
    while time.monotonic() - begin < _SECONDS and (block := os.read(file, _BLOCK)):
        count += len(block)
    return count, time.monotonic() - begin
