import importlib.util
import sys

import pytest

from primus.experiment import yaml_nodes
from primus.experiment.leaf import Source
from primus.experiment.model import Section, Value
from primus.experiment.yaml_file import parse_yaml


def read(text: str, **environ: str) -> tuple[Section, list[str]]:
    source = Source("f.yaml", environ, [])
    return parse_yaml(text, source), [str(problem) for problem in source.problems]


def plain(tree):
    return {name: plain(node) if isinstance(node, Section) else node.data for name, node in tree.items()}


def values(text: str, **environ: str):
    tree, problems = read(text, **environ)
    assert problems == []
    return plain(tree)


def problems(text: str, **environ: str) -> list[str]:
    return read(text, **environ)[1]


def test_plain_scalars_are_typed_and_quoted_ones_are_text():
    assert values("a: 1e-5\nb: '1e-5'\nc: \"true\"\nd: no\ne: |\n  5\n") == {
        "a": 1e-5, "b": "1e-5", "c": "true", "d": "no", "e": "5\n",
    }  # fmt: skip


def test_every_value_has_the_line_of_its_key_and_its_path():
    tree, _ = read("# first\na:\n  b:\n    - 1\n    - 2\n  c: {d: x}\n")
    b, d = tree["a"]["b"], tree["a"]["c"]["d"]
    assert (str(b.origin), b.path, b.data) == ("f.yaml:3", "a.b", [1, 2])
    assert (str(d.origin), d.path) == ("f.yaml:6", "a.c.d")


def test_variables_type_a_plain_scalar_by_its_result():
    assert values("a: ${X:5}\nb: '${X:5}'\nc: 1${X:5}\nd: ${Y}\n", Y="1e-3") == {"a": 5, "b": "5", "c": 15, "d": 1e-3}


def test_a_variable_set_to_nothing_gives_empty_text_not_null():
    assert values("a: ${X}\nb: ${Y:}\n", X="") == {"a": "", "b": ""}


def test_a_value_names_its_variables():
    tree, _ = read("a: ['${X:1}', '${Y:2}']\nb: 3\n")
    assert tree["a"].origin.variables == ("X", "Y")
    assert tree["b"].origin.variables == ()


def test_names_of_an_experiment_are_text_even_when_they_look_like_numbers():
    assert values("exp_name: 0123\nuser_name: ${U:1e5}\nother: 0123\n") == {
        "exp_name": "0123", "user_name": "1e5", "other": 123,
    }  # fmt: skip


def test_a_duplicate_key_is_an_error_with_both_lines():
    assert problems("a:\n  b: 1\n  c: 2\n  b: 3\n") == ["f.yaml:4: a.b: set twice: the first is in line 2"]


def test_the_same_key_in_two_sections_is_fine():
    assert values("a: {x: 1}\nb: {x: 2}\n") == {"a": {"x": 1}, "b": {"x": 2}}


def test_an_alias_repeats_its_anchor_under_its_own_path():
    tree, _ = read("a: &x {p: 1}\nb: *x\n")
    assert plain(tree["b"]) == {"p": 1}
    assert tree["b"]["p"].path == "b.p"


def test_keys_of_the_mapping_win_over_merged_ones_wherever_they_stand():
    text = "base: &b {x: 1, y: 1}\none: {<<: *b, x: 2}\ntwo: {x: 2, <<: *b}\n"
    assert values(text)["one"] == values(text)["two"] == {"x": 2, "y": 1}


def test_the_first_of_several_merged_mappings_wins():
    assert values("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n")["c"] == {"x": 1, "y": 2}


def test_a_quoted_merge_key_is_an_ordinary_key():
    assert values("a: {'<<': 1}\n") == {"a": {"<<": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [1]\nb: {<<: *x}\n", "f.yaml:1: b: `<<` takes a mapping or a list of mappings"),
        ("a: &x {b: *x}\n", "f.yaml:1: a.b: contains itself through an anchor"),
        ("a: &x [*x]\n", "f.yaml:1: a: contains itself through an anchor"),
        ("a: &x {<<: *x}\n", "f.yaml:1: a: contains itself through an anchor"),
        ("a: *nowhere\n", "f.yaml:1: *nowhere has no anchor &nowhere before it"),
    ],
)
def test_bad_anchors_and_merges_are_errors(text, expected):
    assert expected in problems(text)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("1", 'the key 1 is not text; quote it: "1"'),
        ("true", "the key true is not text"),
        ("1e-5", "the key 1e-5 is not text"),
        ("null", "the key null is not text"),
        ("? [a]\n", "a key must be text, not a list"),
        ("a.b", "the key 'a.b' has a dot in it; write `a:` and, indented below it, `b:`"),
        ('""', "the key '' is empty"),
    ],
)
def test_keys_that_are_not_plain_names_are_errors(key, reason):
    [problem] = problems(f"{key}: 1\n")
    assert reason in problem


def test_words_that_yaml_1_1_made_booleans_are_good_keys():
    assert values("on: 1\nno: 2\ny: 3\n") == {"on": 1, "no": 2, "y": 3}


def test_standard_tags_are_honoured_and_others_refused():
    assert values("a: !!str 5\nb: !!float 1\nc: !!int '7'\nd: ! 5\n") == {"a": "5", "b": 1.0, "c": 7, "d": "5"}
    assert problems("a: !!python/object:os.system x\n") == [
        "f.yaml:1: a: the tag !!python/object:os.system is not supported here"
    ]
    assert problems("a: !!int x\n") == ["f.yaml:1: a: 'x' is not a value of the tag !!int"]
    assert problems("a: !mine [1]\n") == ["f.yaml:1: a: the tag !mine is not supported here"]


def test_several_documents_are_an_error():
    assert problems("a: 1\n---\nb: 2\n") == ["f.yaml:2: a second document (`---`) starts here; keep one per file"]


def test_one_document_with_markers_is_fine():
    assert values("%YAML 1.2\n---\na: 1\n...\n") == {"a": 1}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\n\n"])
def test_nothing_is_an_empty_section(text):
    assert values(text) == {}


@pytest.mark.parametrize("text", ["- 1\n", "word\n", "'quoted'\n"])
def test_a_document_that_is_no_mapping_is_an_error(text):
    assert "expected keys and values" in problems(text)[0]


def test_a_syntax_error_has_its_line():
    assert problems("a: 1\nb: [1, 2\nc: 3\n")[0].startswith("f.yaml:3: not valid YAML: ")


def test_tabs_get_their_own_hint():
    assert problems("a:\n\tb: 1\n")[0].endswith("; indent with spaces, not tabs")


def test_a_control_character_is_named_with_its_line():
    [problem] = problems("a: 1\nb: \x07\n")
    assert problem.startswith("f.yaml:2: ")
    assert "U+0007" in problem or "control characters" in problem


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "a: " + "{b: " * 60 + "}" * 60])
def test_nesting_without_end_is_an_error_not_a_crash(text):
    assert "nested more than 50 levels" in problems(text)[0]


def test_aliases_that_multiply_without_end_are_an_error():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    assert "once the aliases are followed" in problems("\n".join(lines))[0]


def test_all_problems_of_a_file_are_found_at_once():
    assert len(problems("a: ${X}\nb: !x 1\n1: 2\nc: 1\nc: 2\n")) == 4


def test_without_libyaml_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "yaml.cyaml", None)
    spec = importlib.util.find_spec("primus.experiment.yaml_nodes")
    pure = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pure)
    assert pure._Parser is not yaml_nodes._Parser
    text = "a: &x 1e-5\nb: ['2', *x, !!str 3]\nc: {<<: {d: y}, e: }\n"
    assert repr(pure.compose(text)) == repr(yaml_nodes.compose(text))


def test_a_section_carries_its_origin():
    tree, _ = read("a: 1\nb:\n  c: 2\n")
    assert isinstance(tree["b"], Section)
    assert isinstance(tree["b"]["c"], Value)
    assert (str(tree["b"].origin), tree["b"].path) == ("f.yaml:2", "b")
