"""Submits a job of toy workers: `python submit_toy.py RUN_DIR NPROC [NNODES NODE_RANK ADDR PORT]`."""

import os
import sys
from pathlib import Path

from primus.job import Job, Resources
from primus.launch.local import submit

run_dir, nproc = Path(sys.argv[1]), int(sys.argv[2])
more = {}
if len(sys.argv) > 3:
    nnodes, node_rank, address, port = sys.argv[3:]
    more = {"nnodes": int(nnodes), "node_rank": int(node_rank), "master_addr": address, "master_port": int(port)}
job = Job(
    name="toy",
    backend="toy",
    module="toy",
    total_steps=3,
    resources=Resources(nproc_per_node=nproc, **more),
    run_dir=run_dir,
    files={"experiment.yaml": "toy: true\n"},
)
sys.exit(submit(job, argv=sys.argv, environ=os.environ))
