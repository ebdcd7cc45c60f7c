"""The shell script that each pod of a workload runs: a few quoted assignments, then entry.sh. Pure."""

from __future__ import annotations

import base64
import gzip
import shlex
from pathlib import Path

from primus.launch.k8s.workload import Workload

_SCRIPT = Path(__file__).with_name("entry.sh")


def entry_script(workload: Workload) -> str:
    """The whole script. Its exit status is that of the training."""
    packed = gzip.compress(workload.experiment.encode(), mtime=0)
    assignments = {
        "primus_folder": workload.folder,
        "primus_source": workload.source,
        "primus_secrets": " ".join(workload.secrets),
        "primus_experiment": base64.b64encode(packed).decode(),
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in assignments.items()]
    return "\n".join([*lines, shlex.join(("set", "--", *workload.arguments)), "", _SCRIPT.read_text()])


def encoded_entry(workload: Workload) -> str:
    """The script in base64: a server encodes only what does not look encoded already, so it is always done here."""
    return base64.b64encode(entry_script(workload).encode()).decode()
