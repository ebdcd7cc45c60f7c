"""A worker that behaves as $TOY says: `KIND`, or `KIND:RANK` while the other ranks wait to be stopped."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from primus.backends.worker import Worker, run
from primus.errors import MissingError


def train(worker: Worker) -> None:
    kind, _, rank = os.environ.get("TOY", "steps").partition(":")
    mine = not rank or int(rank) == worker.rank
    print(f"hello from rank {worker.rank}")
    (worker.run_dir.path / f"pid-{worker.rank}").write_text(str(os.getpid()))
    if rank and mine:
        wait_for_the_others(worker)
    (globals()[kind] if mine else wait_for_stop)(worker)


def wait_for_the_others(worker: Worker) -> None:
    others = [each for each in range(worker.world_size) if each != worker.rank]
    while not all((worker.run_dir.path / f"waiting-{other}").exists() for other in others):
        time.sleep(0.01)


def steps(worker: Worker) -> None:
    for step in range(1, 4):
        if worker.rank == 0:
            worker.record(step=step, loss=4.0 / step, lr=1e-3, tokens_per_second=12345.6, step_time=0.01)


def resume(worker: Worker) -> None:
    """Steps up to $LAST, after step $DONE."""
    done, last = int(os.environ["DONE"]), int(os.environ["LAST"])
    worker.begin(done)
    for step in range(done + 1, last + 1):
        worker.record(step=step, loss=1.0)


def hang(worker: Worker) -> None:
    """After the third step rank 0 waits for nothing, and the others for rank 0."""
    worker.begin(0)
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    wait_for_the_others(worker)
    for step in (1, 2, 3):
        worker.step_done(step)
    (hold_up if worker.rank == 0 else wait_for_rank_0)(worker)
    worker.step_done(4)
    never_stop(worker)


def hang_when_told(worker: Worker) -> None:
    """Like that, but the first step waits to be told to begin."""
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    while not (worker.run_dir.path / "begin").exists():
        time.sleep(0.01)
    hang(worker)


def hang_on_node_1(worker: Worker) -> None:
    worker.begin(0)
    for step in (1, 2, 3):
        worker.step_done(step)
    if worker.node_rank == 1:
        hold_up(worker)


def hold_up(worker: Worker) -> None:
    while not (worker.run_dir.path / "resume").exists():
        time.sleep(0.01)


def wait_for_rank_0(worker: Worker) -> None:
    hold_up(worker)


def hang_at_start(worker: Worker) -> None:
    never_stop(worker)


def save_for_ever(worker: Worker) -> None:
    worker.begin(0)
    for step in (1, 2, 3):
        worker.step_done(step)
    with worker.doing("saving"):
        never_stop(worker)


def wait_for_stop(worker: Worker) -> None:
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    while worker.stop_signal is None:
        time.sleep(0.01)
    print(f"saved after {worker.stop_signal.name}")


def save_slowly(worker: Worker) -> None:
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    while worker.stop_signal is None:
        time.sleep(0.01)
    time.sleep(0.5)
    print(f"saved after {worker.stop_signal.name}")


def never_stop(worker: Worker) -> None:
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    while True:
        time.sleep(0.01)


def raise_error(worker: Worker) -> None:
    raise ValueError("the loss is gone")


def raise_error_beside_a_hang(worker: Worker) -> None:
    if worker.rank == 1:
        wait_for_the_others(worker)
        raise_error(worker)
    never_stop(worker)


def refuse(worker: Worker) -> None:
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    wait_for_the_others(worker)
    raise MissingError("there is no checkpoint to resume")


def die(worker: Worker) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_the_disk(worker: Worker) -> None:
    while '"running"' not in worker.run_dir.status.read_text():
        time.sleep(0.01)
    while worker.run_dir.path.exists():  # the launcher may write a file meanwhile
        shutil.rmtree(worker.run_dir.path, ignore_errors=True)
    die(worker)


def crash(worker: Worker) -> None:
    ctypes.string_at(0)


def leave(worker: Worker) -> None:
    os._exit(7)


def leave_a_child(worker: Worker) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (worker.run_dir.path / "pid-child").write_text(str(child.pid))
    os._exit(7)


def flood(worker: Worker) -> None:
    for number in range(300_000):
        print(f"line {number} of a rank that talks too much")
    sys.stdout.write("and no newline at the end")


def show_place(worker: Worker) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT", "MARK"):
        print(f"{name}={os.environ.get(name)}")
    print(f"path0={sys.path[0]}", f"cwd={Path.cwd()}")


def diverge(worker: Worker) -> None:
    for step, loss in enumerate((float("nan"), float("inf"), float("-inf")), 1):
        worker.record(step=step, loss=loss)


def talk(worker: Worker) -> None:
    """Print until stopped, with a number in every line."""
    number = 0
    while worker.stop_signal is None:
        number += 1
        print(f"number {number} {'.' * 100}")
        time.sleep(0.0001)
    print(f"printed {number}")


def speak_alike(worker: Worker) -> None:
    (worker.run_dir.path / f"waiting-{worker.rank}").touch()
    wait_for_the_others(worker)
    for number in range(20):
        print(f"number {number} is the same on every rank")
        time.sleep(0.05)


def fail_alike(worker: Worker) -> None:
    try:
        raise KeyError("a key")
    except KeyError:
        raise ValueError(f"not on rank {worker.rank}") from None


def tell_secrets(worker: Worker) -> None:
    print(f"logging in with hf_{'aB3' * 10} and {os.environ['MY_TOKEN']}")


def fill_the_disk(worker: Worker) -> None:
    """Take all the room, print and report, make room, print and report again."""
    filler = take_all_room(worker)
    for step in range(1, 200):
        worker.record(step=step, loss=1.0)
        print("x" * 1000)
        print("y" * 1000, file=sys.stderr)
    filler.unlink()
    print("there is room again")
    worker.record(step=200, loss=1.0)


def refuse_on_a_full_disk(worker: Worker) -> None:
    take_all_room(worker)
    raise MissingError("there is no room for a checkpoint")


def take_all_room(worker: Worker) -> Path:
    filler = worker.run_dir.path / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return filler


def take_all_memory(worker: Worker) -> None:
    taken = []
    while True:
        taken.append(bytearray(16 << 20))


def show_environment(worker: Worker) -> None:
    (worker.run_dir.path / "environment.json").write_text(json.dumps(dict(os.environ)))


def load_yaml(worker: Worker) -> None:
    import yaml

    print(yaml.__file__)


def describe(worker: Worker) -> None:
    worker.describe_model(parameters=123, layers=2)


def list_modules(worker: Worker) -> None:
    print(*sys.modules)


if __name__ == "__main__":
    run(train)
