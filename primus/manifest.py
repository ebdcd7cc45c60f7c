"""What manifest.json says about a run: how it was started, with which code, packages and environment, so that it can
be understood and repeated later. Launchers call it once the workers run."""

from __future__ import annotations

import hashlib
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from primus import __version__
from primus.job import Job
from primus.redact import redact_argv, redact_environment, redact_text

_GIT_TIMEOUT = 20.0
"""Seconds; a diff of a large tree on a slow file system is not worth more."""


def manifest(job: Job, *, command: Sequence[str], environment: Mapping[str, str], started: str) -> dict[str, Any]:
    """Everything about one launch of `job` but its results. `command` is the user's, `environment` the workers'."""
    return {
        "run": job.run_dir.name,
        "started": started,
        "command": redact_argv(command),
        "working_directory": str(Path.cwd()),
        "host": socket.gethostname(),
        "name": job.name,
        "backend": job.backend,
        "worker": redact_argv(["python", "-m", job.module, *job.worker_args]),
        "resources": asdict(job.resources) | {"world_size": job.resources.world_size},
        "total_steps": job.total_steps,
        "primus": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "packages": packages(),
        "git": {"working_directory": git_state(Path.cwd()), "primus": git_state(Path(__file__).parent)},
        "environment": redact_environment(environment),
    }


def packages() -> dict[str, str]:
    """Every installed distribution with its version; imports none."""
    found = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name and name not in found:  # the first on the path is the one that is imported
            found[name] = distribution.version
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def git_state(folder: Path) -> dict[str, Any] | None:
    """Revision of the checkout that holds `folder`, and a hash of what was changed in it since; None outside of one."""
    if shutil.which("git") is None:
        return None
    revision = _git(folder, "rev-parse", "HEAD")
    diff = _git(folder, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
    if revision is None or diff is None:
        return None
    remote = _git(folder, "remote", "get-url", "origin")
    return {
        "revision": revision.decode().strip(),
        "remote": redact_text(remote.decode().strip()) if remote else None,
        "dirty": bool(diff),
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
    }


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Output of a git command, or None when git refuses or takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=_GIT_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
