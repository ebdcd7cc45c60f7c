"""Every key that an experiment may set reaches torchtitan's own objects, and torchtitan reads it."""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan.flavors import families

pytestmark = pytest.mark.real

HERE = Path(__file__).parent

NOT_BY_NAME = {
    "dataloader": "handed on whole, by asdict()",
    "custom": "sizes; build_arguments.py proves them",
}


def other_value(key):
    """A value that differs from the default and fits the key."""
    if key.choices:
        kind = list if any(each.startswith("list") for each in key.types) else None
        value = next((each for each in key.choices if each != key.default), key.choices[0])
        return [value] if kind else value
    if "bool" in key.types:
        return not key.default
    if "int" in key.types or "float" in key.types:
        number = (key.default or 0) + (2 if key.default == -1 else 1)
        return min(number, key.maximum) if key.maximum is not None else number
    if "list[str]" in key.types:
        return ["something"]
    return [["layers.0"]] if "list" in key.types else "something"


def torchtitans():
    """The keys without those that Primus' worker reads itself."""
    return {name: key for name, key in BACKEND.schema().keys.items() if key.source != "Primus"}


@pytest.fixture(scope="module")
def reached(run_script):
    """What JobConfig and the models' arguments hold after every key was set to another value than its default."""
    keys = BACKEND.schema().keys
    values = {name: other_value(key) for name, key in torchtitans().items() if not name.startswith("model.custom.")}
    sizes = {
        family: {name: other_value(keys[f"model.custom.{name}"]) for name in data.sizes}
        for family, data in families().items()
    }
    said = run_script(HERE / "build_arguments.py", json.dumps([values, sizes]))
    config, arguments = json.loads(said.splitlines()[-1])
    return {"wanted": values, "config": config, "wanted sizes": sizes, "arguments": arguments}


def test_every_key_reaches_the_job_configuration(reached):
    taken = {"model.hf_assets_path": "/assets", "model.converters": ["something"]}
    assert reached["config"] | taken == reached["wanted"] | taken


def test_every_size_reaches_the_arguments_of_its_family(reached):
    assert reached["arguments"] == reached["wanted sizes"]


def test_torchtitan_reads_every_key_by_name():
    (folder,) = importlib.util.find_spec("torchtitan").submodule_search_locations
    names = {name for path in Path(folder).rglob("*.py") if is_used(path.relative_to(folder)) for name in read_in(path)}
    keys = [name.split(".") for name in torchtitans()]
    assert [parts for parts in keys if parts[-1] not in names and not set(parts) & NOT_BY_NAME.keys()] == []


def is_used(path):
    """Whether a module of torchtitan is one that its stock Trainer uses for a language model."""
    return path.parts[0] != "experiments" and path.parts[:2] not in (("models", "flux"), ("components", "ft"))


def read_in(path):
    """The attributes that a module reads."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
