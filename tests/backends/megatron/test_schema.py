"""The checked-in schema says what the installed megatron-core says."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from types import ModuleType

import pytest

from primus.experiment import Schema

SCRIPTS = Path(__file__).parents[3] / "scripts"
TYPES = {"bool", "int", "float", "str", "list", "list[int]", "list[float]", "list[str]", "none"}


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/generate_megatron_schema.py as a module; it needs megatron-core installed, and imports nothing of it."""
    if util.find_spec("megatron") is None:
        pytest.skip("megatron-core is not installed")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return __import__("generate_megatron_schema")


def test_schema_equals_what_the_generator_makes_of_the_installed_package(schema: Schema, generator: ModuleType) -> None:
    fresh = generator.generate()
    tables = [(schema.keys, fresh.keys), (schema.answers, fresh.answers)]
    moved = {
        "new": [name for old, new in tables for name in new if name not in old],
        "gone": [name for old, new in tables for name in old if name not in new],
        "changed": [name for old, new in tables for name in old if name in new and old[name] != new[name]],
    }
    assert not any(moved.values()), f"run scripts/generate_megatron_schema.py: {moved}"
    assert schema.version == fresh.version == f"megatron-core {metadata.version('megatron-core')}"


def test_generator_names_a_field_without_help_or_answer(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    described = {name: row for name, row in generator._described().items() if name != "hidden_size"}
    monkeypatch.setattr(generator, "_described", lambda: described)
    with pytest.raises(ValueError, match=r"no help in megatron_keys.yaml.*: hidden_size$"):
        generator.generate()


def test_generator_names_a_row_without_a_field(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    described = {**generator._described(), "hiden_size": {"help": "x", "group": "model"}}
    monkeypatch.setattr(generator, "_described", lambda: described)
    with pytest.raises(ValueError, match=r"in megatron_keys.yaml, but no key: hiden_size"):
        generator.generate()


def test_every_key_has_types_help_group_and_source(schema: Schema) -> None:
    for key in schema.keys.values():
        assert set(key.types) <= TYPES, key.name
        assert len(key.types) > 1, f"{key.name}: null alone is no type"
        assert key.help.endswith((".", ")")), key.name
        assert "\n" not in key.help, key.name
        assert len(key.help) < 160, key.name
        assert key.group, key.name
        assert key.source, key.name


def test_every_default_is_of_its_own_key_s_domain(schema: Schema) -> None:
    from primus.experiment.domain import fit

    for key in schema.keys.values():
        assert fit(key, key.default) == key.default, key.name


@pytest.mark.parametrize(
    ("name", "types", "default", "source"),
    [
        ("num_layers", ("int", "none"), None, "TransformerConfig.num_layers"),
        ("norm_epsilon", ("float", "none"), 1e-5, "TransformerConfig.layernorm_epsilon"),
        ("kv_lora_rank", ("int", "none"), 512, "MLATransformerConfig.kv_lora_rank"),
        ("train_iters", ("int", "none"), None, "TrainingSettings.train_iters"),
        ("lr", ("float", "none"), None, "OptimizerConfig.lr"),
        ("overlap_grad_reduce", ("bool", "none"), False, "DistributedDataParallelConfig.overlap_grad_reduce"),
        ("seq_length", ("int", "none"), None, "TrainingSettings.seq_length, GPTDatasetConfig.sequence_length"),
        ("initial_loss_scale", ("float", "none"), 2**32, "OptimizerConfig.initial_loss_scale"),
        ("no_persist_layer_norm", ("bool", "none"), True, "TransformerConfig.persist_layer_norm"),
    ],
)
def test_keys_carry_what_the_package_says(
    schema: Schema, name: str, types: tuple[str, ...], default: object, source: str
) -> None:
    key = schema.keys[name]
    assert (key.types, key.default, key.source) == (types, default, source)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("normalization", {"LayerNorm", "RMSNorm"}),
        ("attention_backend", {"flash", "fused", "unfused", "local", "auto"}),
        ("recompute_granularity", {"full", "selective"}),
        ("moe_token_dispatcher_type", {"allgather", "alltoall", "flex"}),
        ("lr_decay_style", {"constant", "linear", "cosine", "inverse-square-root", "WSD"}),
        ("optimizer", {"adam", "sgd"}),
        ("exp_avg_dtype", {"fp32", "fp16", "bf16", "fp8"}),
    ],
)
def test_enumerations_list_their_choices(schema: Schema, name: str, choices: set[str]) -> None:
    assert set(schema.keys[name].choices or ()) == choices


def test_reading_the_schema_imports_nothing_heavy() -> None:
    code = (
        "import sys; from primus.backends.megatron import BACKEND; BACKEND.schema(); "
        "print(sorted({'torch', 'numpy', 'megatron', 'rich', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
