"""The script that runs in every pod, run by a real shell."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.launch.k8s.entry import encoded_entry, entry_script

PRIMUS = """#!/bin/sh
printf '%s\\0' "$@" > arguments
cp "$(eval echo \\${$#})" experiment 2>/dev/null
env > environment
exit "${WISH:-0}"
"""


@pytest.fixture
def pod(tmp_path: Path):
    """Runs a script in a folder with a `primus` that writes down what it was called with."""
    program = tmp_path / "bin" / "primus"
    program.parent.mkdir()
    program.write_text(PRIMUS)
    program.chmod(0o755)

    def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{program.parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", "-c", script], env={"PATH": path, "TMPDIR": str(tmp_path), **environment}, cwd="/",
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def arguments(folder: Path) -> list[str]:
    return (folder / "arguments").read_text().split("\0")[:-1]


def variables(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines() if "=" in line)


def test_the_experiment_arrives_as_it_was(workload, pod, tmp_path):
    text = "exp_name: 'ü \"quoted\" $(date) `x`'\n# é\n"

    done = pod(entry_script(workload(experiment=text, folder=str(tmp_path))))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "experiment").read_text() == text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=4))
def test_arguments_arrive_unchanged_whatever_they_hold(words):
    script = entry_script(_workload(arguments=tuple(words)))
    before = script.partition("if command -v primus")[0]

    done = subprocess.run(["/bin/sh", "-c", before + "printf '%s\\0' \"$@\""], capture_output=True, check=True)

    assert done.stdout.decode().split("\0")[:-1] == (words or [""])


def test_the_exit_status_is_that_of_the_training(workload, pod, tmp_path):
    assert pod(entry_script(workload(folder=str(tmp_path))), WISH="7").returncode == 7


@pytest.mark.parametrize(
    "place",
    [
        {"NNODES": "2", "NODE_RANK": "1"},
        {"PET_NNODES": "2", "PET_NODE_RANK": "1"},
        {"NNODES": "2", "JOB_COMPLETION_INDEX": "1"},
        {"NNODES": "2", "RANK": "1"},
    ],
)
def test_the_place_of_the_pod_is_understood_from_every_controller(place, workload, pod, tmp_path):
    address = {"MASTER_ADDR": "tiny-0.tiny", "MASTER_PORT": "29500"}

    pod(entry_script(workload(folder=str(tmp_path))), WORKLOAD_ID="tiny-00001", **place, **address)

    found = variables(tmp_path)
    assert (found["NNODES"], found["NODE_RANK"], found["MASTER_ADDR"]) == ("2", "1", "tiny-0.tiny")
    assert found["PRIMUS_RUN_ID"] == "tiny-00001"


def test_a_single_pod_needs_no_rendezvous(workload, pod, tmp_path):
    pod(entry_script(workload(folder=str(tmp_path))), MASTER_ADDR="localhost", MASTER_PORT="23456", GPUS_PER_NODE="0")

    found = variables(tmp_path)
    assert (found["NNODES"], found["NODE_RANK"]) == ("1", "0")
    assert not {"MASTER_ADDR", "MASTER_PORT", "GPUS_PER_NODE", "EXP", "BACKEND"} & found.keys()


def test_files_of_a_secret_become_variables_that_are_not_set_yet(workload, pod, tmp_path):
    folder = tmp_path / "secrets" / "team"
    folder.mkdir(parents=True)
    files = {"token": "hf_x\n", "WANDB_API_KEY": "a b", "OTHER_KEY": "x", "README.md": "no"}
    for name, text in files.items():
        (folder / name).write_text(text)
    script = entry_script(workload(folder=str(tmp_path), secrets=("team",)))

    done = pod(script.replace("/etc/secrets", str(folder.parent)), OTHER_KEY="mine")

    assert done.returncode == 0, done.stderr
    found = variables(tmp_path)
    assert (found["HF_TOKEN"], found["WANDB_API_KEY"], found["OTHER_KEY"]) == ("hf_x", "a b", "mine")
    assert "README.md" not in found


def test_a_secret_that_is_empty_changes_nothing(workload, pod, tmp_path):
    (tmp_path / "secrets" / "team").mkdir(parents=True)
    script = entry_script(workload(folder=str(tmp_path), secrets=("team", "gone")))

    assert pod(script.replace("/etc/secrets", str(tmp_path / "secrets"))).returncode == 0


def test_a_folder_that_the_pod_does_not_have_is_said(workload, pod):
    done = pod(entry_script(workload(folder="/nowhere/project")))

    assert done.returncode == 4
    assert "/nowhere/project, where the workload was created, is not there" in done.stderr


def test_an_image_without_primus_takes_the_shared_one(workload, tmp_path):
    source = Path(__file__).parents[3]
    script = entry_script(workload(folder=str(tmp_path), source=str(source), arguments=("--help",)))

    path = f"{_python_folder(tmp_path)}:/usr/bin:/bin"
    done = _without_primus(script, PATH=path)

    assert done.returncode == 0, done.stderr
    assert "Usage: python -m primus train" in done.stdout or "Usage: primus train" in done.stdout


def test_an_image_without_any_primus_is_said(workload, tmp_path):
    script = entry_script(workload(folder=str(tmp_path), source="/nowhere"))

    done = _without_primus(script, PATH=os.environ["PATH"])

    assert done.returncode == 4
    assert "no command primus" in done.stderr


def test_a_script_is_encoded_so_that_no_server_takes_it_for_something_else(workload):
    assert base64.b64decode(encoded_entry(workload())).decode() == entry_script(workload())


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_is_clean_to_shellcheck(workload, tmp_path):
    script = tmp_path / "entry.sh"
    script.write_text(entry_script(workload(arguments=("--set", "a='b c'"))))

    done = subprocess.run(["shellcheck", "-s", "sh", str(script)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def _without_primus(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", script.replace("command -v primus", "false")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _python_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "python"
    folder.mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    return folder


def _workload(**fields):
    from primus.launch.k8s.workload import Workload

    return Workload(
        name="tiny", exp="x", backend="megatron", experiment="", folder="/", source="/", image="i", cpu=1, gpu=0,
        memory="1Gi", ephemeral_storage="1Gi", ttl=0, **fields,
    )  # fmt: skip
