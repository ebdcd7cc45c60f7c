import pytest

from primus.suggest import edits, nearest


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("", "", 0), ("a", "", 1), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abxc", 1), ("kitten", "sitting", 3),
     ("ab", "ba", 1), ("abcd", "badc", 2)],
)  # fmt: skip
def test_edits_are_counted_in_both_directions(one, other, count):
    assert edits(one, other, 5) == edits(other, one, 5) == count


def test_beyond_the_limit_the_count_stops():
    assert edits("abcdef", "uvwxyz", 2) == 3
    assert edits("a", "abcdef", 2) == 3


def test_the_nearest_name_comes_first():
    assert nearest("learning_rte", ["learning_rate", "learning_rates", "lr"])[0] == "learning_rate"


def test_nothing_is_suggested_when_nothing_is_near():
    assert nearest("zebra", ["learning_rate", "lr"]) == []
    assert nearest("", ["lr", "abc"]) == []


def test_case_and_dashes_do_not_count():
    assert nearest("Micro-Batch-Size", ["micro_batch_size", "global_batch_size"])[0] == "micro_batch_size"


def test_a_misspelt_section_is_nearer_than_the_right_key_of_another():
    assert nearest("trainng.steps", ["validation.steps", "training.steps"])[0] == "training.steps"


def test_the_right_key_without_or_with_a_wrong_section_is_found():
    assert nearest("steps", ["training.steps", "lr"]) == ["training.steps"]
    assert nearest("model.steps", ["training.steps", "lr"]) == ["training.steps"]
