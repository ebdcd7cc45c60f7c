"""Layer patterns are read as Megatron reads them, and nothing else is."""

import pytest

from primus.backends.megatron.patterns import expand_pattern, read_pattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("([0]*3+[1]*2)", [0, 0, 0, 1, 1]),
        ("[0, 1, 1]", [0, 1, 1]),
        ("2*[0]+[1]", [0, 0, 1]),
        ("([1]+[0])*2", [1, 0, 1, 0]),
        ("2", 2),
        (" [1] ", [1]),
        (3, 3),
        ([0, 1], [0, 1]),
    ],
)
def test_a_pattern_gives_its_numbers(text, pattern):
    assert read_pattern(text) == pattern


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[0",
        "__import__('os')",
        "[True]",
        "[0]*[1]",
        "[[0]]",
        "1+1",
        "[0]-[1]",
        "[0.5]",
        "[0]\0",
        "+".join(["[0]"] * 5000),
    ],
)
def test_anything_else_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match="is no pattern"):
        read_pattern(text)


def test_a_pattern_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="at most 100,000"):
        read_pattern("[0]*1000000000")


def test_an_integer_marks_one_layer_in_n():
    assert expand_pattern(2, 5) == [1, 0, 1, 0, 1]
    assert expand_pattern("1", 3) == [1, 1, 1]


def test_a_pattern_of_another_length_is_refused():
    with pytest.raises(ValueError, match="for 2 layers, but num_layers is 3"):
        expand_pattern("[0, 1]", 3)


def test_an_integer_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        expand_pattern(0, 3)
