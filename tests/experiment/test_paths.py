from pathlib import Path

import pytest

from primus.errors import MissingError
from primus.experiment import load
from primus.experiment.load import find
from primus.experiment.paths import configs_dir, shown, stem


def test_a_shipped_experiment_is_found_by_name_from_anywhere(here):
    assert find("llama3_8B") == configs_dir() / "experiments/megatron/llama3_8B.yaml"
    assert find("llama3_8B.yaml") == find("llama3_8B")


def test_a_file_of_that_name_wins_over_the_shipped_one(write):
    write("llama3_8B", "")
    assert find("llama3_8B") == Path("llama3_8B")


def test_a_name_that_both_backends_have_means_megatron_unless_said_otherwise(here):
    megatron, torchtitan = (configs_dir() / "experiments" / name for name in ("megatron", "torchtitan"))
    assert find("tiny_llama", environ={}).parent == megatron
    assert find("tiny_llama", environ={"BACKEND": "torchtitan"}).parent == torchtitan
    assert find("torchtitan/tiny_llama", environ={}).parent == torchtitan
    assert load("tiny_llama", framework="torchtitan", environ={}).path.parent == torchtitan


@pytest.mark.parametrize(
    "name",
    [
        "examples/megatron/configs/llama2_7B-pretrain.yaml",
        "examples/megatron/configs/MI300X/llama2_7B-BF16-pretrain.yaml",
        "examples/megatron/configs/llama2_7b-pretrain.yaml",
    ],
)
def test_a_path_of_the_scripts_that_primus_replaces_leads_to_the_shipped_experiment(here, name):
    with pytest.raises(MissingError) as caught:
        load(name)
    assert str(caught.value) == (
        f"there is no file {name}. Primus ships an experiment for it: --exp megatron/llama2_7B"
    )


@pytest.mark.parametrize("folder", ["torchtitan", "torchtatin"])
def test_the_framework_in_such_a_path_counts(here, folder):
    with pytest.raises(MissingError, match="--exp torchtitan/llama3_8b"):
        load(f"examples/{folder}/configs/llama3_8b.toml")


def test_a_misspelt_name_gets_the_nearest_and_a_strange_one_the_list(here):
    with pytest.raises(MissingError, match=r"Did you mean llama3_8B\?"):
        load("lama3_8B", framework="megatron")
    with pytest.raises(MissingError, match=r"Shipped: megatron/deepseek_v2, .*megatron/tiny_llama"):
        load("zzzz", framework="megatron")


def test_paths_are_shown_from_the_working_directory_when_they_lie_below(here):
    assert shown(here / "a" / ".." / "b.yaml") == "b.yaml"
    assert shown(here.parent / "b.yaml") == str(here.parent / "b.yaml")
    assert shown(Path("../b.yaml")) == str(here.parent / "b.yaml")


def test_only_the_suffix_of_a_file_is_left_out_of_its_name():
    assert [stem(Path(name)) for name in ("llama3.1_8B", "a/llama3.1_8B.yaml", "x.toml")] == [
        "llama3.1_8B", "llama3.1_8B", "x",
    ]  # fmt: skip
