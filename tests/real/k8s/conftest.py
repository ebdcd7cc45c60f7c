"""`primus k8s` called as from a shell, but in this process, which is many times as fast."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from primus.cli import main


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command line in an empty folder that is the home too, with hardly any environment."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
        clean |= {"HOME": str(tmp_path), "USER": "ann", "TMPDIR": str(tmp_path), **environment}
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(tmp_path)
            for name in set(os.environ) - set(clean):
                patch.delenv(name)
            for name, value in clean.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["primus", "k8s", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            with pytest.raises(SystemExit) as end:
                main()
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), out.getvalue(), err.getvalue())

    return run
