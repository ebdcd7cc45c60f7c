"""Laws that hold for any input, searched for counterexamples by hypothesis."""

from __future__ import annotations

import contextlib
import itertools
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from primus.errors import Origin, PrimusError
from primus.experiment import Experiment, Value, check, dump, load
from primus.experiment.leaf import Source
from primus.experiment.merge import merge
from primus.experiment.model import Section
from primus.experiment.yaml_file import parse_yaml

names = st.text(alphabet="abcxyz_01-", min_size=1, max_size=3)
any_text = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | any_text
    | st.sampled_from(
        ["null", "1e-5", "0x1", "${X}", "$${", "- a", "a: b", "#", "a #b", "<<", "~", "---", "\x85", "\ufeff"]
    )
)
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def tree(content: dict, origin: str = "t") -> Section:
    where = Origin(kind="file", name=origin)
    items = {
        name: tree(node, origin) if isinstance(node, dict) else Value(data=node, origin=where, path=name)
        for name, node in content.items()
    }
    return Section(where, "", items)


trees = st.recursive(
    st.dictionaries(names, st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(names, st.integers(0, 3) | inner, max_size=3),
    max_leaves=8,
)


@given(trees, trees, trees)
def test_merging_is_associative_with_all_that_values_remember(one, two, three):
    a, b, c = tree(one, "a"), tree(two, "b"), tree(three, "c")
    left_problems, right_problems = [], []
    left = merge(merge(a, b, left_problems), c, left_problems)
    right = merge(a, merge(b, c, right_problems), right_problems)
    assert bool(left_problems) == bool(right_problems)
    if not left_problems:
        assert left == right


@given(trees)
def test_merging_a_tree_over_nothing_or_nothing_over_it_changes_nothing(content):
    assert merge(tree({}), tree(content), []) == merge(tree(content), tree({}), []) == tree(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laws")


OPTIONS = ["lr=1e-4", "a.b=2", "a.c=[1, 2]", "z=null", "exp_name=x", "modules.pre_trainer.overrides.y=no"]


@pytest.mark.parametrize("order", list(itertools.permutations(OPTIONS))[::40], ids=str)
def test_the_order_of_unrelated_options_does_not_matter(folder, order):
    path = folder / "order.yaml"
    path.write_text("modules: {pre_trainer: {framework: megatron, overrides: {lr: 1, a: {b: 1}}}}")
    one, other = load(path, sets=OPTIONS, environ={}), load(path, sets=order, environ={})
    assert one.plain() == other.plain()
    assert one.folder == other.folder


def experiment(values: dict, exp_name: str, folder: Path) -> Experiment:
    return Experiment(
        path=folder / "x.yaml",
        framework="megatron",
        work_group="g",
        user_name="u",
        exp_name=exp_name,
        workspace="./output",
        model="m",
        header={},
        values=tree(values),
    )


def same(one: object, other: object) -> bool:
    """Equal, with types, and nan equal to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


exp_names = any_text.filter(lambda n: n.strip() == n and n.isprintable() and n not in ("", ".", "..")).filter(
    lambda n: "/" not in n and "\\" not in n
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(names, data, max_size=4), exp_name=exp_names)
@example(values={"a": {"b": {}}, "c": [], "d": [{}]}, exp_name="0123")
@example(values={"null": "null", "1": 1, "-": "-", "<<": {"a": 1}}, exp_name="null")
def test_what_is_shown_loads_as_the_same_experiment(folder, values, exp_name):
    shown = experiment(values, exp_name, folder)
    path = folder / "shown.yaml"
    path.write_text(dump(shown), encoding="utf-8")
    again = load(path, environ={})
    assert same(again.plain(), shown.plain())
    assert (again.folder, again.model, again.framework) == (shown.folder, "m", "megatron")


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?,\n \t<~=$\\0", max_size=60))
def test_any_text_as_yaml_gives_a_tree_or_problems(text):
    source = Source("f.yaml", {}, [])
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    result = parse_yaml(text, source)
    assert result is not None or source.problems


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=80)
    | st.text(alphabet="ab:-[]{}&*!|>'\"#?,.\n =$\\0", max_size=60).map(str.encode)
    | any_text.map(lambda text: b"modules: {pre_trainer: {overrides: {a: " + text.encode() + b"}}}"),
    suffix=st.sampled_from([".yaml", ".toml"]),
    option=st.text(max_size=12) | st.text(alphabet="ab.=[]{}'\"$:, 1", max_size=12),
)
def test_any_file_and_any_option_give_an_experiment_or_an_error(folder, schema, content, suffix, option):
    path = folder / f"any{suffix}"
    path.write_bytes(content)
    for sets in ([], [option], [f"a={option}"]):
        with contextlib.suppress(PrimusError):
            loaded = load(path, sets=sets, environ={"A": "1"})
            check(loaded, schema)
            assert load_again(loaded, folder).plain().keys() == loaded.plain().keys()


def load_again(loaded: Experiment, folder: Path) -> Experiment:
    path = folder / "again.yaml"
    path.write_text(dump(loaded), encoding="utf-8")
    return load(path, environ={})
