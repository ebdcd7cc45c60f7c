"""From words on the command line to a checked experiment and its backend."""

from __future__ import annotations

import pytest

from primus.backends.prepare import prepare
from primus.errors import ExperimentError
from primus.job import Resources


@pytest.fixture
def written(tmp_path):
    """Writes an experiment and returns its path."""

    def write(framework="megatron", **overrides):
        lines = [f"      {key}: {value}" for key, value in overrides.items()]
        path = tmp_path / "x.yaml"
        path.write_text(
            f"modules:\n  pre_trainer:\n    framework: {framework}\n    overrides:\n" + "\n".join(lines) + "\n"
        )
        return str(path)

    return write


def test_a_shipped_experiment_is_usable():
    prepared = prepare("megatron/llama3_8B", environ={})
    assert prepared.backend.name == "megatron"
    assert prepared.errors == []
    assert prepared.usable().find("num_layers").data == 32


def test_the_schemas_and_the_backends_problems_come_together(written):
    prepared = prepare(written(micro_batch_szie=4, num_layers="many"), environ={})
    text = "\n".join(str(problem) for problem in prepared.errors)
    assert "micro_batch_szie" in text  # an unknown key
    assert "num_layers" in text  # a wrong type
    assert "hidden_size" in text  # not set: the backend's own check
    with pytest.raises(ExperimentError) as caught:
        prepared.usable()
    assert list(caught.value.problems) == prepared.errors


def test_a_key_of_the_other_backend_is_known_as_such(written):
    prepared = prepare(written(training="{steps: 4}"), environ={})
    assert any("torchtitan" in problem.message for problem in prepared.errors)


def test_topology_is_checked_when_the_resources_are_known():
    experiment = "megatron/llama3_8B"
    sets = ["tensor_model_parallel_size=3"]
    alone = prepare(experiment, sets=sets, environ={})
    placed = prepare(experiment, sets=sets, environ={}, resources=Resources(nproc_per_node=8, accelerator="amd"))
    assert len(placed.errors) > len(alone.errors)


def test_warnings_do_not_make_an_experiment_unusable():
    prepared = prepare("megatron/llama3_8B", sets=["disable_wandb=false"], environ={})
    assert prepared.errors == []
    assert prepared.usable() is prepared.experiment
