"""Three processes in step, of which the last is slow at its own work. Run by test_runs.py."""

import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from primus.metrics.monitor import Monitor

RANKS, SLOW = 3, 2


def work(rank: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    monitor = Monitor(
        tokens_per_step=1,
        devices=RANKS,
        flops_per_token=None,
        precision="fp32",
        device=torch.device("cpu"),
        reports=rank == 0,
    )
    for step in range(1, 6):
        monitor.step_begins()
        time.sleep(0.3 if rank == SLOW else 0.05)
        monitor.waits_from_here()
        dist.barrier()
        monitor.step_done()
        monitor.report(step, loss=1.0)
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    processes.spawn(work, (free,), RANKS)
