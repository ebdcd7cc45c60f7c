"""A worker that meets the fault that $TOY names, or behaves as toy.py says for that name."""

import mmap
import os
import resource
import socket
import sys
from pathlib import Path

import toy

from primus.backends.worker import Worker, run


def train(worker: Worker) -> None:
    kind = os.environ["TOY"]
    print(f"hello from rank {worker.rank}")
    (globals().get(kind) or getattr(toy, kind))(worker)


def abort(worker: Worker) -> None:
    os.abort()


def use_a_file_that_became_shorter(worker: Worker) -> None:
    path = worker.run_dir.path / "data"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        os.truncate(path, 0)
        print(data[0])


def allocate_beyond_the_limit(worker: Worker) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    bytearray(1 << 30)


def use_all_memory(worker: Worker) -> None:
    kept = []
    while True:
        kept.append(os.urandom(1 << 20))


def fill_the_disk(worker: Worker) -> None:
    with (worker.run_dir.path / "data").open("wb", buffering=0) as file:
        while True:
            if file.write(bytes(1 << 16)) < 1 << 16:  # the last that there was room for
                file.write(b"and more")


def write_where_it_may_not(worker: Worker) -> None:
    Path(os.environ["READ_ONLY"], "file").write_text("text")


def leave_by_sys_exit(worker: Worker) -> None:
    sys.exit(9)


def read_what_is_not_there(worker: Worker) -> None:
    Path("/no/such/data.bin").read_bytes()


def take_a_taken_port(worker: Worker) -> None:
    from torch.distributed import TCPStore

    with socket.create_server(("", 0)) as server:
        TCPStore("127.0.0.1", server.getsockname()[1], 2, is_master=True)


def fail_on_node_1(worker: Worker) -> None:
    if worker.node_rank == 1:
        raise ValueError("the loss is gone")
    toy.wait_for_stop(worker)


def lose_a_peer(worker: Worker) -> None:
    """Rank 1 dies in the middle of a collective of all."""
    from torch import distributed, zeros

    distributed.init_process_group("gloo")
    distributed.barrier()
    if worker.rank == 1:
        raise ValueError("the loss is gone")
    distributed.all_reduce(zeros(1))


if __name__ == "__main__":
    run(train)
