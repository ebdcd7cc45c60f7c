from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.experiment import toml_parser
from primus.experiment.leaf import Source
from primus.experiment.model import Section
from primus.experiment.toml_file import parse_toml
from primus.experiment.toml_scan import scan


def read(text: str, **environ: str) -> tuple[Section, list[str]]:
    source = Source("f.toml", environ, [])
    return parse_toml(text, source), [str(problem) for problem in source.problems]


def lines(text: str) -> dict[str, int]:
    tree, problems = read(text)
    assert problems == []
    return {value.path: value.origin.line for value in leaves(tree)}


def leaves(tree):
    for node in tree.values():
        yield from leaves(node) if isinstance(node, Section) else [node]


def test_values_keep_their_toml_types():
    tree, problems = read('a = 1\nb = 1.5\nc = "1"\nd = true\ne = [1, 2]\n[f]\ng = "x"\n')
    assert problems == []
    assert [tree[name].data for name in "abcde"] == [1, 1.5, "1", True, [1, 2]]
    assert tree["f"]["g"].data == "x"


def test_every_key_has_its_line():
    text = """\
# comment = 1
top = 1

[training]   # a comment with [brackets]
steps = 10
"quoted key" = 1
'x' = "a # b"
deep.er.key = 2

[ a . "b" ]
list = [
    1, # one
    [2, "]"],
    {x = 1},
]
after = 1
inline = { p = 1, q = { r = "}" }, s.t = [ 1 ] }
text = \"\"\"
steps = 99
\\\\\"\"\"
raw = '''
[not.a.header]
x = '1'
'''
last = 1979-05-27 07:32:00Z
"""
    found = scan(text).lines
    expected = {
        "top": 2, "training.steps": 5, "training.quoted key": 6, "training.x": 7, "training.deep.er.key": 8,
        "a.b.list": 11, "a.b.after": 16, "a.b.inline.p": 17, "a.b.inline.q.r": 17, "a.b.inline.s.t": 17,
        "a.b.text": 18, "a.b.raw": 21, "a.b.last": 25,
    }  # fmt: skip
    assert {path: found[tuple(path.split("."))] for path in expected} == expected


def test_sections_and_arrays_of_tables_have_the_line_of_their_header():
    text = "[a.b]\nx = 1\n\n[[c]]\ny = 1\n[c.d]\nz = 1\n[[c]]\ny = 2\n[a]\nw = 1\n"
    tree, problems = read(text)
    assert problems == []
    assert (tree["a"].origin.line, tree["a"]["b"].origin.line, tree["c"].origin.line) == (1, 1, 4)
    assert tree["c"].data == [{"y": 1, "d": {"z": 1}}, {"y": 2}]
    assert lines(text)["a.w"] == 11


def test_windows_line_ends_do_not_shift_the_lines():
    assert lines("a = 1\r\n\r\n[b]\r\nc = 2\r\n") == {"a": 1, "b.c": 4}


def test_variables_in_text_are_replaced_and_it_stays_text():
    tree, problems = read('steps = "${STEPS:10}"\nlist = ["${X}"]\n', X="y")
    assert problems == []
    assert (tree["steps"].data, tree["steps"].origin.variables) == ("10", ("STEPS",))
    assert (tree["list"].data, tree["list"].origin.variables) == (["y"], ("X",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = \n", "f.toml:2: not valid TOML: Invalid value"),
        ("a = 1\na = 2\n", "f.toml:2: not valid TOML: Cannot overwrite a value"),
        ("[a", "f.toml:1: not valid TOML: "),
        ("a = 01\n", "f.toml:1: not valid TOML: "),
        ("a = " + "9" * 5000, "not valid TOML"),
        ("a = 2020-01-01", "f.toml:1: a: 2020-01-01 is a date or a time; write it as text, in quotes"),
        ('"a.b" = 1\n', "f.toml:1: the key 'a.b' is empty or has a dot in it"),
        ('a = "${NOPE}"', "f.toml:1: a: the environment variable NOPE is not set"),
        ("a = " + "[" * 100_000, "f.toml: nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, expected):
    assert any(problem.startswith(expected) or expected in problem for problem in read(text)[1])


names = st.text(alphabet="ab-_ .\"'#=[]é\\", min_size=1, max_size=4)
scalars = (
    st.integers(-9, 9)
    | st.booleans()
    | st.text(alphabet="ab#=[]{}\"'\n\\,. ", max_size=6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates(min_value=date(1980, 1, 1))
)
data = st.dictionaries(
    names,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)),
    max_size=4,
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def render(value, spread: bool) -> str:
    """A value as TOML; lists over several lines and text in several styles when `spread`."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(name)} = {render(each, False)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        gap = "\n # a ] comment\n" if spread else " "
        return f"[{gap}" + f",{gap}".join(render(each, spread) for each in value) + "]"
    if isinstance(value, str):
        simple = "'" not in value and not value.startswith("\n")
        return f"'''{value}'''" if spread and simple else quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(data, st.booleans())
def test_every_leaf_of_any_document_gets_the_line_that_it_was_written_in(document, spread):
    text, expected = "# start\n\n", {}

    def add(table, path):
        nonlocal text
        for name, value in table.items():
            if not (isinstance(value, dict) and value):
                expected[(*path, name)] = text.count("\n") + 1
                text += f"  {quoted(name)} = {render(value, spread)} # [end]\n"
        for name, value in table.items():
            if isinstance(value, dict) and value:
                text += f"\n[ {' . '.join(quoted(part) for part in (*path, name))} ] # x = 1\n"
                add(value, (*path, name))

    add(document, ())
    toml_parser.loads(text)
    found = scan(text).lines
    assert {path: found.get(path) for path in expected} == expected
