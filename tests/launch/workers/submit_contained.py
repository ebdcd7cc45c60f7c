"""Submits a job of toy workers to a container, described by JSON in the first argument. The real tests run it."""

import json
import os
import sys
from pathlib import Path

from primus.errors import PrimusError
from primus.job import Job, Resources, Variable
from primus.launch.container.prepare import Preparation
from primus.launch.container.request import container_request
from primus.launch.local import submit

wanted = json.loads(sys.argv[1])
environment = {"TOY": wanted["toy"], **wanted.get("environment", {})}
job = Job(
    name="toy",
    backend="toy",
    module=wanted.get("module", "toy"),
    total_steps=3,
    environment=tuple(Variable(name=name, value=value, reason="the test's") for name, value in environment.items()),
    resources=Resources(**wanted.get("resources", {})),
    run_dir=Path(wanted["run_dir"]),
    files={"experiment.yaml": "toy: true\n"},
)
request = container_request(image=wanted["image"], runtime="podman", privileged=False, mounts=wanted["mounts"])
try:
    inside = Preparation(request, accelerator="cpu", environ=os.environ, dry_run=False)
    inside.require()
    container = inside.plan(job, {}, tuple(wanted.get("packages", ())))
    sys.exit(submit(job, argv=sys.argv, environ=os.environ, container=container).exit_status)
except PrimusError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(error.status)
