"""Two processes that measure together what a single one can't: forks of the process that has the backend."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch.distributed as dist
from ranks import meeting

Rows = list[dict[str, Any]]


def measure(rows: Callable[[], Rows]) -> Rows:
    """What `rows` finds in two processes over gloo. Experts get uneven shares of the tokens: the mean of both is it."""
    place = meeting(2)
    with TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(2)]
        children = []
        for rank, file in enumerate(files):
            child = os.fork()
            if not child:
                os.environ |= place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                dist.init_process_group("gloo")
                file.write_text(json.dumps(rows()))
                dist.barrier()
                os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart
            children.append(child)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        if any(statuses):
            raise SystemExit("a process of the pair failed")
        one, other = (json.loads(file.read_text()) for file in files)
    return [row | {"real": (row["real"] + same["real"]) // 2} for row, same in zip(one, other, strict=True)]
