"""An experiment swept over values."""

from __future__ import annotations

import pytest

from primus.errors import UsageError
from primus.launch.slurm.sweep import expand, split


def test_without_an_array_there_is_one_task_without_values():
    (task,) = expand([])
    assert task.sets == []


def test_each_value_is_a_task_with_a_folder_of_its_own():
    tasks = expand(["lr=1e-4,3e-4"])
    assert [task.sets for task in tasks] == [["lr=1e-4"], ["lr=3e-4"]]
    assert [task.suffix for task in tasks] == ["lr-1e-4", "lr-3e-4"]


def test_several_keys_give_every_combination():
    tasks = expand(["training.lr=1,2", "seed=3,4"])
    assert [task.suffix for task in tasks] == ["lr-1-seed-3", "lr-1-seed-4", "lr-2-seed-3", "lr-2-seed-4"]


def test_commas_in_brackets_and_quotes_part_nothing():
    assert split("""[1,2],{a: 1, b: 2},"x,y",'z,', 5""") == ["[1,2]", "{a: 1, b: 2}", '"x,y"', "'z,'", "5"]


@pytest.mark.parametrize("text", ["lr", "=1", "lr=", "lr=1,,2", "lr=1,"])
def test_what_is_no_array_says_what_is_expected(text):
    with pytest.raises(UsageError, match="expected KEY=VALUE,VALUE"):
        expand([text])


def test_a_key_is_given_once():
    with pytest.raises(UsageError, match="lr is given twice"):
        expand(["lr=1", "lr=2"])


def test_values_that_would_share_a_folder_are_refused():
    with pytest.raises(UsageError, match="note=a b and note=a-b would share a folder"):
        expand(["note=a b,a-b"])


def test_too_many_tasks_are_refused():
    with pytest.raises(UsageError, match="1200 tasks; at most 1000"):
        expand([f"a={','.join(map(str, range(30)))}", f"b={','.join(map(str, range(40)))}"])
