"""docs/slurm.md names options, variables and files that there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from primus.launch.slurm.options import Options, problems
from primus.launch.slurm.record import JobFiles
from primus.launch.slurm.site import settle

PAGE = (Path(__file__).parents[2] / "docs/slurm.md").read_text(encoding="utf-8")
ELSEWHERE = {"--switches"}
"""Options of sbatch in an example."""

COMMANDS = re.findall(r"^```sh\n(primus slurm submit .*)\n```", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def help_text():
    text = ""
    for verb in ("submit", "status", "list", "logs", "cancel"):
        command = [sys.executable, "-m", "primus", "slurm", verb, "--help"]
        text += subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "200"}).stdout
    return text


def test_every_option_of_the_page_exists(help_text):
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE)) - ELSEWHERE
    assert len(named) > 30
    assert not [option for option in named if not re.search(rf"{option}\b", help_text)]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_that_submits_works(command):
    words = [sys.executable, "-m", *command.removesuffix(" --wait").split(), "--dry-run"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert "--nodes=8" in done.stdout


def test_the_page_shows_each_command_that_looks_at_jobs(tmp_path):
    commands = re.findall(r"^primus slurm (status|list|logs|cancel)(.*)$", PAGE, re.MULTILINE)
    assert {verb for verb, _ in commands} == {"status", "list", "logs", "cancel"}
    for verb, arguments in commands:
        words = [sys.executable, "-m", "primus", "slurm", verb, *arguments.split()]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": "/nonexistent"}
        )
        if verb == "list":
            assert done.stdout == "No jobs.\n"
        else:
            assert "SLURM knows no job 4711, or not any more (not asked: squeue is not on the PATH" in done.stderr
            assert done.returncode == 4


def test_the_file_of_the_page_is_one(tmp_path):
    (text,) = re.findall(r"^```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "slurm.toml").write_text(text)
    options, origins = settle({}, {}, {"PRIMUS_SLURM_CONFIG": str(tmp_path / "slurm.toml")})
    assert options.account == "research"
    assert not problems(options, origins)
    named = re.findall(r"^(\w+) =", text, re.MULTILINE)
    assert set(named) <= set(Options.__dataclass_fields__)


def test_the_files_of_a_job_are_called_so():
    files = JobFiles(Path("/run"))
    every = [files.record, files.script, files.environment, files.experiment, files.attempts, files.log]
    for path in [*every, files.node_log(0)]:
        assert f"`{path.relative_to('/run')}`" in PAGE
