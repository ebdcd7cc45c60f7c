"""The log of one node: what its launcher did, with the time, beside what the agent and its workers say.
attend.py and terminal.py write it."""

from __future__ import annotations

import os
from pathlib import Path

from primus.redact import redact_text
from primus.run import utc_now


class NodeLog:
    """Appends to the node's log; making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, text: str) -> None:
        """Write one thing down, in a single write, so that notes and their lines do not mix."""
        now = utc_now()
        lines = "".join(f"{now} {line}\n" for line in redact_text(text).splitlines())
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(file, lines.encode(errors="backslashreplace"))
            finally:
                os.close(file)
        except OSError:  # a disk that is full or gone does not end training; the terminal has shown the note
            return
