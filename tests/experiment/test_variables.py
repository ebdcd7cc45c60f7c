import pytest

from primus.experiment.variables import escape, expand


def test_a_variable_is_replaced_and_named():
    assert expand("${A}/${B}/${A}", {"A": "x", "B": "y"}) == ("x/y/x", ("A", "B"))


def test_the_default_stands_in_for_an_unset_variable_only():
    assert expand("${A:7}${B:9}", {"B": "1"}) == ("71", ("A", "B"))


def test_the_default_may_be_empty_or_have_colons_and_dashes():
    assert expand("${A:}|${B:-1}|${C:a:b}", {})[0] == "|-1|a:b"


def test_a_variable_set_to_nothing_is_not_replaced_by_the_default():
    assert expand("${A:7}", {"A": ""})[0] == ""


def test_an_unset_variable_without_default_is_an_error_with_the_remedy():
    with pytest.raises(ValueError, match=r"DATA is not set; set it, or write \$\{DATA:default\}"):
        expand("${DATA}", {})


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A:${B}}", "${A", "${A-x}"])
def test_a_malformed_reference_is_an_error(text):
    with pytest.raises(ValueError, match="malformed variable"):
        expand(text, {"A": "1", "B": "2"})


@pytest.mark.parametrize("text", ["$HOME", "a$b", "100$", "$$", "{A}"])
def test_other_dollars_are_plain_text(text):
    assert expand(text, {}) == (text, ())


@pytest.mark.parametrize("text", ["${A}", "$${A}", "$$${A}", "a ${ b", "${A:${B}}"])
def test_escaped_text_comes_back_unchanged(text):
    assert expand(escape(text), {"A": "no"}) == (text, ())


def test_a_variable_that_is_not_utf_8_is_an_error():
    with pytest.raises(ValueError, match="A is not valid UTF-8"):
        expand("${A}", {"A": "\udcff"})
