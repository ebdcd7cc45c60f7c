"""What the tests of experiments share: files in a temporary folder, and a small schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent, indent

import pytest

from primus.errors import ExperimentError
from primus.experiment import Answer, Experiment, Key, Schema, load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that messages show short paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(here: Path) -> Callable[[str, str], Path]:
    """Write a file below the working directory; returns its path."""

    def write(name: str, text: str) -> Path:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write


@pytest.fixture
def overrides(write: Callable[[str, str], Path]) -> Callable[..., Experiment]:
    """Load an experiment that consists of these overrides."""

    def load_overrides(
        text: str, *, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None, framework: str = "megatron"
    ) -> Experiment:
        head = f"modules:\n  pre_trainer:\n    framework: {framework}\n    overrides:\n"
        write("x.yaml", head + indent(dedent(text), "      "))
        return load("x.yaml", sets=sets, environ=environ or {})

    return load_overrides


@pytest.fixture
def problems_of(write: Callable[[str, str], Path]) -> Callable[..., list[str]]:
    """The problems of loading a file with this text, as printed."""

    def problems(
        text: str, *, name: str = "x.yaml", sets: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> list[str]:
        write(name, text)
        with pytest.raises(ExperimentError) as caught:
            load(name, sets=sets, environ=environ or {})
        return [str(problem) for problem in caught.value.problems]

    return problems


@pytest.fixture
def schema() -> Schema:
    """A small backend with flat keys, sections, and an answer of every kind."""
    keys = [
        Key(name="lr", types=("float", "none"), minimum=0, exclusive_minimum=True),
        Key(name="micro_batch_size", types=("int",), default=1, minimum=1),
        Key(name="optimizer", types=("str",), choices=("adam", "sgd")),
        Key(name="bf16", types=("bool",), default=False),
        Key(name="data_path", types=("str", "list[str]", "none")),
        Key(name="window", types=("list[int]", "none"), minimum=-1),
        Key(name="weights", types=("list[float]",)),
        Key(name="norm_epsilon", types=("float",)),
        Key(name="extra", types=("table",)),
        Key(name="training.steps", types=("int",), minimum=1),
        Key(name="training.seq_len", types=("int",)),
        Key(name="quantize.float8.enable", types=("bool",)),
        Key(name="quantize.float8.recipe", types=("str", "none")),
    ]
    answers = {
        "layernorm_epsilon": Answer(action="renamed", message="An older name.", to="norm_epsilon"),
        "training.length": Answer(action="renamed", message="Was renamed.", to="training.sequence"),
        "training.sequence": Answer(action="renamed", message="Again.", to="training.seq_len"),
        "no_bf16": Answer(action="renamed", message="The opposite.", to="bf16", values=((True, False), (False, True))),
        "float8": Answer(action="renamed", message="Has moved.", to="quantize.float8"),
        "turbo": Answer(action="warn", message="Only speed is lost.", harmless=(None, False)),
        "wandb": Answer(action="warn", message="Not supported."),
        "lora": Answer(action="refuse", message="Fine-tuning is not supported."),
        "sliding": Answer(action="refuse", message="The model would differ.", harmless=(0,)),
    }
    return Schema(backend="small", version="small 1", keys={key.name: key for key in keys}, answers=answers)
