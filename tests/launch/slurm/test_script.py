"""The job script: the same text for the same submission, and every value in it means itself to the shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primus.launch.slurm.script import Script, client_environment, environment_file, passed_names, render

HERE = Path(__file__).parent
GOLDEN = {
    "job": {"nnodes": 2, "nproc_per_node": 8, "master_port": 12345},
    "survivor": {
        "nnodes": 2,
        "time": "1:00:00",
        "max_requeues": 3,
        "exclude_failed_nodes": True,
        "chain": 2,
        "save_before": 300,
        "lost_timeout": 300,
    },
    "array": {"arrays": ["lr=1e-4,3e-4"]},
}

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_script_is_the_golden_one(submission, name):
    """PRIMUS_WRITE_GOLDEN=1 writes it."""
    made = submission(**GOLDEN[name])
    home = str(made.runs[0].experiment.path.parent)
    assert_golden(name, shown(made).replace(home, "HERE"))


def test_the_script_of_an_examination_is_the_golden_one(examination):
    made = examination(nnodes=2, doctor_options=["--full", "--data", "/my data"], lost_timeout=300)
    assert_golden("doctor", shown(made))


def shown(made):
    """The command line, the runs and the script."""
    lines = [" ".join(made.command), *(f"{run.path} {' '.join(run.task.sets)}".rstrip() for run in made.runs)]
    return "\n".join([*(f"# {line}" for line in lines), made.script])


def assert_golden(name, text):
    path = HERE / "golden" / f"{name}.sh"
    if os.environ.get("PRIMUS_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.skipif(
    not shutil.which("shellcheck") and not os.environ.get("CI"), reason="needs shellcheck: scripts/test_packages.sh"
)
@pytest.mark.parametrize("name", [*GOLDEN, "doctor"])
def test_shellcheck_finds_nothing(submission, examination, name, tmp_path):
    made = examination(nnodes=2, lost_timeout=300) if name == "doctor" else submission(**GOLDEN[name])
    (tmp_path / "job.sh").write_text(made.script)
    done = subprocess.run(["shellcheck", "job.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@settings(max_examples=40)
@given(run=TEXT, directory=TEXT, word=TEXT)
def test_every_value_means_itself_to_the_shell(run, directory, word):
    script = Script(run=Path("/r" + run), directory=Path("/d" + directory), code=Path("/c" + word), train=["p", word])
    head = render(script).partition("part=")[0]
    show = 'printf "%s\\0" "$run" "$directory" "$code" "${train[@]}"'
    done = subprocess.run(["bash", "-c", f"{head}\n{show}"], capture_output=True, check=True)
    expected = [str(script.run), str(script.directory), str(script.code), "p", word]
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(text) for text in expected]
    assert not done.stderr


@settings(max_examples=40)
@given(values=st.dictionaries(st.from_regex(r"MY_[A-Z_]{1,8}", fullmatch=True), TEXT, max_size=4))
def test_the_environment_arrives_unchanged(values):
    show = "env -0"
    script = f"{environment_file(values)}{show}"
    done = subprocess.run(["bash", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    found = dict(line.split(b"=", 1) for line in done.stdout.split(b"\0") if line)
    assert {name: found[name.encode()] for name in values} == {n: os.fsencode(v) for n, v in values.items()}


def test_the_script_does_not_grow_with_the_nodes(submission):
    assert len(submission(nnodes=4096).script) == len(submission(nnodes=2).script)


def test_what_belongs_to_the_session_or_is_settled_stays_here():
    environ = {
        **dict.fromkeys(("SLURM_JOB_ID", "SBATCH_PARTITION", "PWD", "SHLVL", "TMPDIR", "SSH_AUTH_SOCK", "UID"), "1"),
        **dict.fromkeys(("EXP", "NNODES", "NODE_RANK", "GPUS_PER_NODE", "MASTER_ADDR", "PRIMUS_RUN_ID"), "1"),
        **dict.fromkeys(("BASH_FUNC_module%%", "with-dash"), "1"),
        **dict.fromkeys(("HF_TOKEN", "DATA_PATH", "NCCL_DEBUG", "PRIMUS_X", "PATH"), "1"),
    }
    assert passed_names(environ) == ["DATA_PATH", "HF_TOKEN", "NCCL_DEBUG", "PATH", "PRIMUS_X"]


def test_sbatch_gets_only_what_it_reads():
    environ = dict.fromkeys(("PATH", "SLURM_CONF", "SBATCH_CLUSTERS", "HF_TOKEN", "SBATCH_EXPORT", "SLURM_JOB_ID"), "1")
    assert client_environment(environ) == dict.fromkeys(("PATH", "SLURM_CONF", "SBATCH_CLUSTERS"), "1")


def test_percent_signs_of_a_path_are_not_replaced_by_slurm(submission):
    made = submission(directory=Path("/work/50%j"))
    (output,) = [word for word in made.command if word.startswith("--output=")]
    assert "/work/50%%j/" in output


def test_an_array_finds_its_run_by_its_index(submission, tmp_path):
    made = submission(arrays=["lr=1,2"], directory=tmp_path)
    links = made.first.runs
    links.mkdir(parents=True)
    (links / "1").symlink_to(tmp_path / "second run")
    head = made.script.partition("part=")[0]
    done = subprocess.run(
        ["bash", "-c", f'{head}\necho "$run"'],
        env={"SLURM_ARRAY_TASK_ID": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{tmp_path}/second run\n"
