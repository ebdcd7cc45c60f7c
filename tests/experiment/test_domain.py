import math

import pytest

from primus.experiment import Key
from primus.experiment.domain import bounds, expected, fit


def key(*types: str, **more) -> Key:
    return Key(name="k", types=types, **more)


@pytest.mark.parametrize(
    ("types", "data"),
    [
        (("bool",), True),
        (("int",), 3),
        (("float",), 0.5),
        (("str",), "x"),
        (("none", "int"), None),
        (("list",), [1, "a"]),
        (("list[int]",), [1, 2]),
        (("list[str]",), []),
        (("table",), {"a": 1}),
        (("int", "str"), "x"),
    ],
)
def test_a_value_of_the_right_type_is_taken_as_it_is(types, data):
    assert fit(key(*types), data) is data


@pytest.mark.parametrize(
    ("types", "data", "message"),
    [
        (("bool",), 1, "expected true or false, got 1"),
        (("int",), True, "expected a whole number, got true"),
        (("int",), 1.5, "expected a whole number, got 1.5"),
        (("int",), 1e6, "expected a whole number, got 1000000.0; write 1000000"),
        (("int",), "5", 'expected a whole number, got the text "5"; remove the quotes'),
        (("int",), "ten", "expected a whole number, got the text ten"),
        (("float",), "1e-4", 'expected a number, got the text "1e-4"; remove the quotes'),
        (("float",), None, "expected a number, got null"),
        (("float", "none"), "x", "expected a number or null, got the text x"),
        (("str",), 5, "expected text, got 5; put it in quotes if you mean the text"),
        (("str",), False, "expected text, got false; put it in quotes if you mean the text"),
        (("str",), None, "expected text, got null"),
        (("list[int]",), [1, "a"], "expected a list of whole numbers, got [1, a]"),
        (("list[int]",), [True], "expected a list of whole numbers, got [true]"),
        (("list[str]", "str"), [1], "expected a list of texts or text, got [1]"),
        (("table",), 5, "expected a section, got 5"),
        (("int",), {"a": 1}, "expected a whole number, got a section"),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_was_expected(types, data, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fit(key(*types), data)
    assert str(caught.value) == message


def test_a_whole_number_becomes_a_float_where_only_floats_are_taken():
    assert (fit(key("float"), 1), type(fit(key("float"), 1))) == (1.0, float)
    assert type(fit(key("int", "float"), 1)) is int
    assert [type(item) for item in fit(key("list[float]"), [1, 0.5])] == [float, float]


def test_an_integer_too_large_for_a_float_is_refused_not_a_crash():
    with pytest.raises(ValueError, match="expected a number"):
        fit(key("float"), 10**399)


@pytest.mark.parametrize(
    ("types", "more", "data", "message"),
    [
        (("str",), {"choices": ("adam", "sgd")}, "adm", "expected one of adam, sgd, got adm. Did you mean adam?"),
        (("str", "none"), {"choices": ("a", "b")}, "zzz", "expected one of a, b or null, got zzz."),
        (("int",), {"choices": (1, 2)}, 3, "expected one of 1, 2, got 3."),
        (("list[str]",), {"choices": ("a", "b")}, ["a", "zzz"], "expected a list of a, b, got zzz."),
        (("int",), {"minimum": 1}, 0, "expected at least 1, got 0"),
        (("float",), {"minimum": 0, "exclusive_minimum": True}, 0.0, "expected more than 0, got 0.0"),
        (("float",), {"minimum": 0, "maximum": 1}, 2.0, "expected at least 0 and at most 1, got 2.0"),
        (("float",), {"minimum": 0}, math.nan, "expected at least 0, got .nan"),
        (("list[int]",), {"minimum": 0}, [1, -1], "expected at least 0, got -1"),
    ],
)
def test_a_value_outside_of_its_domain_is_refused(types, more, data, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fit(key(*types, **more), data)
    assert str(caught.value) == message


def test_null_and_switches_need_not_be_among_the_choices():
    assert fit(key("str", "none", choices=("a",)), None) is None
    assert fit(key("str", "bool", choices=("a",)), False) is False


def test_true_is_not_the_choice_1():
    with pytest.raises(ValueError, match="expected"):
        fit(key("int", "bool", choices=(1, True)), 0)
    assert fit(key("int", choices=(1,)), 1) == 1


def test_quoted_text_from_variables_is_read_where_text_is_not_taken():
    assert fit(key("float"), "1e-4", from_variables=True) == 1e-4
    assert fit(key("bool"), "false", from_variables=True) is False
    assert fit(key("list[int]"), ["1", "2"], from_variables=True) == [1, 2]
    assert fit(key("str"), "1e-4", from_variables=True) == "1e-4"
    with pytest.raises(ValueError, match="got the text ten"):
        fit(key("int"), "ten", from_variables=True)
    with pytest.raises(ValueError, match='got the text ""'):
        fit(key("int", "none"), "", from_variables=True)


def test_what_a_key_takes_in_words():
    assert expected(key("str", "bool", choices=("a", "b"))) == "one of a, b or true or false"
    assert expected(key("str", choices=("a",))) == "only a"
    assert bounds(key("int", minimum=1, maximum=8)) == "at least 1 and at most 8"
    assert bounds(key("int")) == ""
