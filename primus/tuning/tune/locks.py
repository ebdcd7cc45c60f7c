"""What one tuner holds against all others: its folder, and each GPU that it measures on, whatever folder the other has.
The kernel lets go when the process ends, however it does. folder.py and tuner.py hold them."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from primus.errors import MissingError, UsageError
from primus.run import explained
from primus.tuning.tune.gpus import Gpu, physical

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})
"""What a file system answers that can't lock."""

_TOPOLOGY = Path("/sys/class/kfd/kfd/topology/nodes")

PLACE = "PRIMUS_TUNE_LOCKS"
"""Names a folder for the locks of GPUs: for tuners in several containers that share some, and it."""

_PLACES = (Path("/run/lock"), Path("/tmp"))

_EVERYBODY = stat.S_ISVTX | stat.S_IWOTH

_NOTE_BYTES = 4096


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold the folder of a tuning; UsageError while another tuner does."""
    with explained(f"can't make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "tune.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        other = _lock(file, f"process {os.getpid()}")
        if other is not None:
            raise UsageError(f"{folder}: another tuner is at work there ({other}). {_WAIT}")
        yield
    finally:
        os.close(file)


@contextmanager
def held_gpus(gpus: Sequence[Gpu], environ: Mapping[str, str], *, folder: Path) -> Iterator[None]:
    """Hold the GPUs on this machine; UsageError while another tuner, of any user, measures on one of them. `folder` is
    where ours writes, for the message that others see."""
    place, known = _place(environ), topology()
    with ExitStack() as stack:
        for gpu in gpus:
            name = physical(gpu, environ)
            name = known.get(name.lower(), name)
            file = _open(place / f"primus-tune-gpu-{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock")
            stack.callback(os.close, file)
            other = _lock(file, f"process {os.getpid()}, which writes {folder}")
            if other is not None:
                raise UsageError(
                    f"GPU {gpu.number} ({name} of this machine) is being tuned on by {other}: both would measure each "
                    f"other. {_WAIT}; or leave that GPU out with HIP_VISIBLE_DEVICES"
                )
        yield


_WAIT = "Wait for its end, or stop it: what it has tuned so far is kept"


def _place(environ: Mapping[str, str]) -> Path:
    """A folder of the machine, not of a user: the first that everybody may write to, so that all take the same."""
    named = environ.get(PLACE)
    if named:
        if not os.path.isdir(named):
            raise UsageError(f"{PLACE}={named}: no such folder")
        return Path(named)
    for place in _PLACES:
        if place.is_dir() and place.stat().st_mode & _EVERYBODY == _EVERYBODY:
            return place
    raise MissingError(
        f"none of {', '.join(map(str, _PLACES))} is a folder that everybody may write to: tuners of one machine keep "
        f"off each other's GPUs by files there. Name another with {PLACE}"
    )


def topology(nodes: Path = _TOPOLOGY) -> dict[str, str]:
    """By UUID, as ROCR_VISIBLE_DEVICES may have it, the number of each GPU; empty where the driver does not say."""
    found: dict[str, str] = {}
    count = 0
    for path in sorted(nodes.glob("*/properties"), key=lambda each: int(each.parent.name)):
        said = dict(re.findall(r"^(\w+) (\d+)$", path.read_text(), re.MULTILINE))
        if int(said.get("simd_count", 0)):  # the others are processors
            if int(said.get("unique_id", 0)):
                found[f"gpu-{int(said['unique_id']):016x}"] = str(count)
            count += 1
    return found


def _open(path: Path) -> int:
    """A file that all users may lock. The kernel refuses O_CREAT on one of another user in such a folder, and a link
    there may lead anywhere."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with _refusals(path):
        try:
            file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(file, 0o666)  # whatever the umask
        except FileExistsError:
            if path.is_symlink():
                raise UsageError(f"{path} is a link, and no file of a tuner: remove it") from None
            file = os.open(path, flags)
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        os.close(file)
        raise UsageError(f"{path} is not a file of a tuner: remove it")
    return file


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MissingError(f"can't lock {path}: {error.strerror}; name another folder with {PLACE}") from error


def _lock(file: int, note: str) -> str | None:
    """Hold the file and leave a note of who does; the note of another that holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(file, _NOTE_BYTES).decode(errors="replace").strip() or "an unknown process"
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    os.ftruncate(file, 0)
    os.write(file, f"{note}\n".encode())
    return None
