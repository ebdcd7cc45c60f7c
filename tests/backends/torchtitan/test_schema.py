"""The checked-in schema and table of models say what the installed torchtitan says."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan import flavors as flavors_module

SCRIPTS = Path(__file__).parents[3] / "scripts"
FLAVORS = Path(flavors_module.__file__).with_name("flavors.json")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/generate_torchtitan_schema.py as a module; it reads torchtitan's source and imports nothing of it."""
    if util.find_spec("torchtitan") is None:
        pytest.skip("torchtitan is not installed")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return __import__("generate_torchtitan_schema")


def test_schema_equals_what_the_generator_makes_of_the_installed_package(generator):
    schema, (fresh, _) = BACKEND.schema(), generator.generate()
    tables = [(schema.keys, fresh.keys), (schema.answers, fresh.answers)]
    moved = {
        "new": [name for old, new in tables for name in new if name not in old],
        "gone": [name for old, new in tables for name in old if name not in new],
        "changed": [name for old, new in tables for name in old if name in new and old[name] != new[name]],
    }
    assert not any(moved.values()), f"run scripts/generate_torchtitan_schema.py: {moved}"
    assert schema.version == fresh.version


def test_models_equal_what_the_generator_makes_of_the_installed_package(generator):
    _, fresh = generator.generate()
    assert json.loads(FLAVORS.read_text()) == json.loads(json.dumps(fresh)), "run scripts/generate_torchtitan_schema.py"


def test_every_leaf_of_torchtitans_configuration_is_a_key_or_answered(generator):
    schema = BACKEND.schema()
    leaves = generator.source.read_job_config(generator.source.root())
    assert [leaf.name for leaf in leaves if leaf.name not in schema.keys | schema.answers] == []


def test_a_line_without_a_key_is_an_error_of_the_generator(generator, monkeypatch):
    described = generator._read("torchtitan_keys.yaml")
    described["training"]["training.step"] = {"help": "Steps."}
    monkeypatch.setattr(generator, "_read", lambda name: described if "keys" in name else generator.yaml.safe_load(""))
    monkeypatch.setattr(generator, "_answers", dict)
    with pytest.raises(ValueError, match=r"training\.step is described, and no key"):
        generator.generate()


def test_generating_imports_no_torch(generator):
    import subprocess
    import sys

    code = "import sys, generate_torchtitan_schema as g; g.generate(); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_key_has_help_in_one_line():
    for key in BACKEND.schema().keys.values():
        assert key.help, key.name
        assert "\n" not in key.help


def test_sizes_name_the_families_that_have_them():
    key = BACKEND.schema().keys["model.custom.hidden_dim"]
    assert key.help.endswith("Default: 3072 (qwen3).")
