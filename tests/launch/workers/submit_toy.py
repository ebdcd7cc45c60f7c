"""Submits a job of toy workers, described by JSON in the first argument. The tests of launch run it."""

import json
import os
import sys
from pathlib import Path

from primus.job import Job, Resources
from primus.launch import supervise
from primus.launch.attempt import Agreed
from primus.launch.care import Care
from primus.launch.local import submit
from primus.launch.rendezvous import agree

wanted = json.loads(sys.argv[1])
job = Job(
    name="toy",
    backend="toy",
    module=wanted.get("module", "toy"),
    total_steps=3,
    resources=Resources(**wanted["resources"]),
    run_dir=Path(wanted["run_dir"]),
    attempt=wanted.get("attempt", 1),
    console_ranks=tuple(wanted.get("console_ranks", (0,))),
    files={"experiment.yaml": "toy: true\n"},
)
care = Care(**wanted.get("care", {}))
supervise.ECHO = wanted.get("echo", supervise.ECHO)
link = None
if wanted.get("meet"):
    _, link = agree(job.resources, digest="toy", decide=lambda: Agreed(run_id="toy"), timeout=60)
sys.exit(submit(job, argv=sys.argv, environ=os.environ, care=care, link=link).exit_status)
