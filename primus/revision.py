"""What a git checkout holds: its revision, what was changed in it since, and what git does not know. The manifest of a
run keeps it, so that one can tell later which code ran."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.redact import redact_log, redact_text

BUDGET = 20.0
"""Seconds for all questions about one checkout; a large tree on a slow file system is not worth more."""

LARGEST_DIFF = 4 << 20
"""Bytes of a diff that are kept."""

MOST_UNTRACKED = 200
"""Files without a revision that are named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A checkout as it is now."""

    root: Path
    commit: str
    remote: str | None
    diff: bytes
    """Against the commit; empty when nothing was changed."""

    untracked: tuple[str, ...]
    """Files that git does not know and is not told to ignore."""

    def facts(self) -> dict[str, Any]:
        """For the manifest, without the diff itself."""
        return {
            "root": str(self.root),
            "revision": self.commit,
            "remote": redact_text(self.remote) if self.remote else None,
            "dirty": bool(self.diff),
            "diff_sha256": hashlib.sha256(self.diff).hexdigest() if self.diff else None,
            "untracked": [redact_text(name) for name in self.untracked[:MOST_UNTRACKED]],
            "untracked_count": len(self.untracked),
        }

    def readable_diff(self) -> str:
        """The diff without secrets, cut where it is too long. One that nothing was taken out of can be applied."""
        text = redact_log(self.diff[:LARGEST_DIFF]).decode(errors="backslashreplace")
        left_out = len(self.diff) - LARGEST_DIFF
        return text if left_out <= 0 else f"{text}\n[{left_out:,} more bytes are left out]\n"


def revision_of(folder: Path) -> Revision | None:
    """The checkout that holds `folder`; None outside of one, without git, and when git does not answer in time."""
    if shutil.which("git") is None:
        return None
    git = _Git(folder)
    head = git("rev-parse", "HEAD", "--show-toplevel")
    if head is None:
        return None
    commit, _, root = head.decode(errors="surrogateescape").strip().partition("\n")
    git.folder = Path(root)
    diff = git("diff", "HEAD", "--binary", "--no-color", "--no-ext-diff", "--no-textconv")
    if diff is None:
        return None
    remote = git("remote", "get-url", "origin")
    untracked = git("ls-files", "--others", "--exclude-standard", "-z") or b""
    return Revision(
        root=Path(root),
        commit=commit,
        remote=remote.decode(errors="replace").strip() if remote else None,
        diff=diff,
        untracked=tuple(name.decode(errors="replace") for name in untracked.split(b"\0") if name),
    )


class _Git:
    """Asks git about one folder, for BUDGET seconds in all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._end = time.monotonic() + BUDGET

    def __call__(self, *arguments: str) -> bytes | None:
        """Output of a command, or None when git refuses or takes too long."""
        left = max(0.1, self._end - time.monotonic())
        argv = ["git", "-C", str(self.folder), "--no-optional-locks", *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None
