"""The commands of docs/checkouts.md work, on stand-ins for the checkouts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from primus.backends.torchtitan.source import root

PAGE = Path(__file__).parents[2] / "docs/checkouts.md"
STAND_IN = Path(__file__).parents[1] / "backends/megatron/stand_in"


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    (tmp_path / "Megatron-LM").symlink_to(STAND_IN)
    config = tmp_path / "torchtitan/torchtitan/config"
    config.mkdir(parents=True)
    shutil.copy(root() / "config/job_config.py", config)
    program = tmp_path / "bin/primus"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m primus "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    commands = re.findall(r"^```sh\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert len(commands) == 3
