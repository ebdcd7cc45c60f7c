from primus.errors import Origin
from primus.experiment.merge import merge, merge_all
from primus.experiment.model import Section, Value


def tree(name: str, content: dict, path: str = "") -> Section:
    origin = Origin(kind="file", name=name)
    items = {
        key: tree(name, node, key) if isinstance(node, dict) else Value(data=node, origin=origin, path=key)
        for key, node in content.items()
    }
    return Section(origin, path, items)


def plain(section: Section) -> dict:
    return {name: plain(node) if isinstance(node, Section) else node.data for name, node in section.items()}


def test_the_upper_tree_wins_and_sections_are_merged():
    merged = merge(tree("a", {"x": 1, "s": {"p": 1, "q": 1}}), tree("b", {"s": {"q": 2}, "y": 2}), [])
    assert plain(merged) == {"x": 1, "s": {"p": 1, "q": 2}, "y": 2}


def test_a_list_is_replaced_whole():
    assert plain(merge(tree("a", {"x": [1, 2]}), tree("b", {"x": [3]}), [])) == {"x": [3]}


def test_a_value_remembers_everything_that_it_replaced():
    value = merge_all([tree(name, {"x": name}) for name in "abc"], [])["x"]
    chain = []
    while value is not None:
        chain.append(value.origin.name)
        value = value.replaced
    assert chain == ["c", "b", "a"]


def test_neither_tree_is_changed():
    lower, upper = tree("a", {"s": {"p": 1}}), tree("b", {"s": {"p": 2}})
    merge(lower, upper, [])
    assert (plain(lower), plain(upper)) == ({"s": {"p": 1}}, {"s": {"p": 2}})


def test_a_section_over_a_value_and_the_reverse_are_problems():
    problems = []
    merge(tree("a", {"x": 1, "y": {"p": 1}, "z": {"p": 1}}), tree("b", {"x": {"p": 1}, "y": 2, "z": None}), problems)
    assert [str(problem) for problem in problems] == [
        "b: x: is a section here, but a single value in a",
        "b: y: is a single value here, but a section in a",
        "b: z: is empty here, but a section in a: remove the line, or write {} for no changes",
    ]
