"""The store in which the workers of all nodes find each other, torch's TCPStore. It is a process beside the agent of
node 0, which listens for it before any worker runs: so nobody else takes the port, no worker waits for torch to be
imported here, and what one asks meanwhile is answered then."""

from __future__ import annotations

import signal
import sys

from primus.lifeline import die_with_parent


def serve(descriptor: int, port: int) -> None:
    """Be the store until this process is killed."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=descriptor)
    while store is not None:
        signal.pause()


if __name__ == "__main__":
    die_with_parent()
    serve(*map(int, sys.argv[1:]))
