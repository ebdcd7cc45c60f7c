"""Builds all ranks of a layout in real processes over gloo, and prints what objects_megatron.py prints of each. Run by
test_objects.py as `objects_gloo.py LAYOUT`."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import objects_megatron as objects
from ranks import meeting

init_process_group = objects.dist.init_process_group


def over_gloo(backend: str, *, store: Any, rank: int, world_size: int) -> None:
    init_process_group("gloo", rank=rank, world_size=world_size)


def main(name: str) -> None:
    (case,) = (case for case in objects.layouts.CASES if f"{case.model}: {case.name}" == name)
    os.environ |= meeting(case.processes)
    objects.dist.init_process_group = over_gloo
    with TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(case.processes)]
        children = []
        for rank, file in enumerate(files):
            child = os.fork()
            if not child:
                be_rank(rank, case, file)
            children.append(child)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        if any(statuses):
            raise SystemExit("a process failed")
        print(json.dumps([json.loads(file.read_text()) for file in files]))


def be_rank(rank: int, case: Any, file: Path) -> None:
    given = objects.tiny.LLAMA | objects.layouts.MODELS[case.model] | dict(case.values)
    _, _, real = objects.build(given, case.processes, rank)
    file.write_text(json.dumps(real))
    sys.stdout.flush()
    os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart


if __name__ == "__main__":
    main(sys.argv[1])
