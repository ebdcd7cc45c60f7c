"""Builds one rank of a layout in real processes over gloo, and prints what objects_megatron.py prints of it. Run by
test_objects.py as `objects_gloo.py RANK PORT LAYOUT`, once for each rank."""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import objects_megatron as objects

init_process_group = objects.dist.init_process_group


def over_gloo(backend: str, *, store: Any, rank: int, world_size: int) -> None:
    init_process_group("gloo", rank=rank, world_size=world_size)


def main(rank: int, port: str, name: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    objects.dist.init_process_group = over_gloo
    (case,) = (case for case in objects.layouts.CASES if f"{case.model}: {case.name}" == name)
    given = objects.tiny.LLAMA | objects.layouts.MODELS[case.model] | dict(case.values)
    _, _, real = objects.build(given, case.processes, rank)
    print(json.dumps(real))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    sys.stdout.flush()
    objects.dist.barrier()  # rank 0 holds the store that the others ask
    os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart
