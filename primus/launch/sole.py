"""One run of an experiment at a time, since its runs share checkpoints/. `primus train` holds the experiment's folder
with sole_run() for as long as it runs."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from primus.errors import UsageError
from primus.run import explained

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})
"""What a file system answers that can't lock, as a network file system may be mounted."""


def lock_path(folder: Path) -> Path:
    """The file that is locked; it stays, with the name of the last run."""
    return folder / "run.lock"


@contextmanager
def sole_run(folder: Path, run_id: str) -> Iterator[None]:
    """Hold the experiment's folder; UsageError while another run holds it. The kernel lets go when this process ends,
    however it does."""
    with explained(f"can't make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(lock_path(folder), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(file, folder)
        with explained(f"can't write {lock_path(folder)}"):
            os.truncate(file, 0)
            os.write(file, f"{run_id}\n".encode())
        yield
    finally:
        os.close(file)


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        other = os.read(file, 256).decode().strip()
        raise UsageError(
            f"another run of this experiment is going on: {folder / 'runs' / other}. Runs of one experiment share its "
            "checkpoints: wait for its end, or give this one a folder of its own with --set exp_name=NAME"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
