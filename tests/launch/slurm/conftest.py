"""Submissions that nothing has checked, for what is pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.experiment import load
from primus.launch.slurm.options import Options
from primus.launch.slurm.plan import plan, plan_examination
from primus.launch.slurm.sweep import expand

EXPERIMENT = """\
work_group: us
user_name: me
exp_name: toy
workspace: ./output
modules:
  pre_trainer:
    framework: megatron
    overrides: {train_iters: 5}
"""


@pytest.fixture
def submission(tmp_path, monkeypatch):
    """`submission(partition="main", arrays=[...])`: what would be submitted from /work."""
    (tmp_path / "toy.yaml").write_text(EXPERIMENT)

    def make(arrays=(), **fields):
        given = {
            "directory": Path("/work"),
            "tree": None,
            "environ": {"HF_TOKEN": "hf_secret", "HOME": "/home/me"},
            "train_options": (),
            "python": "/venv/bin/python",
        }
        given |= {name: fields.pop(name) for name in list(fields) if name in given}
        tasks = [(task, named(tmp_path / "toy.yaml", task)) for task in expand(arrays)]
        return plan(options=Options(**fields), tasks=tasks, run_id="RUN", **given)

    return make


def named(path, task):
    sets = [f"exp_name=toy-{task.suffix}"] if task.values else []
    return load(path, sets=[*sets, *task.sets], environ={})


@pytest.fixture
def examination():
    """`examination(nnodes=2, doctor_options=["--full"])`: an examination that would be submitted from /work."""

    def make(doctor_options=(), **fields):
        return plan_examination(
            options=Options(**fields),
            workspace=Path("output"),
            run_id="RUN",
            directory=Path("/work"),
            environ={"HOME": "/home/me"},
            doctor_options=doctor_options,
            python="/venv/bin/python",
        )

    return make
