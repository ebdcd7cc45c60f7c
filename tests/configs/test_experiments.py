"""The ready experiments check clean and fit where they say."""

import re
from pathlib import Path

import pytest

from primus.backends.prepare import prepare
from primus.commands.models import USABLE, gpus_of
from primus.experiment.paths import configs_dir, frameworks, shipped
from primus.job import Resources

ROOT = Path(__file__).parents[2]
NODE = 8
MEMORY = 192 * 2**30

EVERY = [f"{each}/{name}" for each in frameworks("experiments") for name in shipped("experiments", each)]
READY = [name for name in EVERY if not name.endswith("/tiny_llama")]
"""Those for a cluster."""

MEGATRON = [name for name in READY if name.startswith("megatron/")]


def text(name):
    return shipped("experiments", name.partition("/")[0])[name.partition("/")[2]].read_text()


def nodes(name):
    """As the first line of the file says it."""
    first = text(name).splitlines()[0]
    found = re.search(r"(one node|(\d+) nodes) of 8 × MI300X", first)
    assert found, f"the first line says what the experiment is for: {first}"
    return int(found[2] or 1)


@pytest.mark.parametrize("name", READY)
def test_an_experiment_is_clean_on_the_nodes_that_it_names(name):
    resources = Resources(nnodes=nodes(name), nproc_per_node=NODE, accelerator="amd")
    assert prepare(name, resources=resources, environ={}).problems == ()


@pytest.mark.parametrize("name", READY)
def test_an_experiment_fits_on_the_nodes_that_it_names_and_on_no_fewer(name):
    prepared, count = prepare(name, environ={}), NODE * nodes(name)
    assert prepared.backend.memory(prepared.usable(), count) <= USABLE * MEMORY
    assert gpus_of(prepared) == count or (nodes(name) == 1 and gpus_of(prepared) < count)


@pytest.mark.parametrize("name", MEGATRON)
def test_the_memory_line_of_an_experiment_is_true(name):
    from primus.backends.megatron.memory import estimate_memory
    from primus.backends.megatron.parameters import complete_values

    prepared = prepare(name, environ={})
    values = complete_values(prepared.usable().plain(), prepared.backend.schema())
    memory = estimate_memory(values, NODE * nodes(name))
    parts = [memory.weights, memory.gradients, memory.optimizer, memory.activations]
    parts += [memory.workspace, memory.total]
    weights, gradients, optimizer, activations, workspace, total = (f"{part / 2**30:.1f}" for part in parts)
    assert text(name).splitlines()[1] == (
        f"# Memory of a GPU (192 GiB): weights {weights} + gradients {gradients} + optimizer {optimizer} + "
        f"activations {activations} + workspace {workspace} = {total} GiB."
    )


@pytest.mark.parametrize("name", MEGATRON)
def test_an_experiment_trains_the_model_of_its_name(name):
    assert prepare(name, environ={}).usable().model == f"{name.partition('/')[2]}.yaml"


def test_every_megatron_model_has_an_experiment():
    models = {name for name in shipped("models", "megatron") if not name.endswith(("_base", "_v0.1"))}
    assert models == shipped("experiments", "megatron").keys()


def test_prepared_data_replaces_the_generated_numbers_through_the_environment():
    data = {
        "PRIMUS_MOCK_DATA": "false",
        "PRIMUS_TOKENIZED_DATA_PATH": "/data/text",
        "PRIMUS_TOKENIZER_TYPE": "HuggingFaceTokenizer",
        "PRIMUS_TOKENIZER_MODEL": "/data/tokenizer",
    }
    prepared = prepare("llama3_8B", environ=data, resources=Resources(nproc_per_node=NODE, accelerator="amd"))
    assert prepared.errors == []
    found = prepared.usable().plain()
    assert found["mock_data"] is False
    assert found["train_data_path"] == "/data/text"
    assert found["tokenizer_model"] == "/data/tokenizer"


def test_configs_are_where_the_package_finds_them():
    assert configs_dir() == ROOT / "configs"
