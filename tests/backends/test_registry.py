"""Finding backends by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from primus.backends import registry
from primus.errors import ExperimentError, MissingError, Origin, UsageError


@pytest.mark.parametrize("name", ["megatron", "torchtitan"])
def test_the_own_backends_are_found(name):
    assert registry.get(name).name == name


def test_the_own_backends_are_entry_points_too():
    assert {"megatron", "torchtitan"} <= set(registry.names())


@pytest.mark.parametrize("name", ["base", "registry", "worker", "no.such", "", "../x"])
def test_what_is_no_backend_is_unknown(name):
    with pytest.raises(UsageError, match="unknown backend"):
        registry.get(name)


def test_a_misspelt_backend_of_a_file_is_a_problem_of_the_experiment_with_its_place():
    origin = Origin(kind="file", name="x.yaml", line=4)
    with pytest.raises(ExperimentError) as caught:
        registry.get("torchtatin", origin)
    assert str(caught.value) == (
        "x.yaml:4: framework: unknown backend 'torchtatin'. Did you mean torchtitan? Known: megatron, torchtitan."
    )


def test_a_misspelt_backend_of_an_option_is_wrong_usage():
    origin = Origin(kind="option", name="--backend torchtatin")
    with pytest.raises(UsageError, match=r"--backend torchtatin: unknown backend .* Did you mean torchtitan\?"):
        registry.get("torchtatin", origin)


def test_a_backend_of_another_package_is_found_through_its_entry_point(monkeypatch):
    point = EntryPoint(name="other", value="types:SimpleNamespace", group=registry.GROUP)
    monkeypatch.setattr(registry, "_entry_points", lambda: {"other": point})
    assert registry.get("other") is SimpleNamespace


def backend(*packages):
    return SimpleNamespace(name="megatron", packages=packages)


def test_packages_that_are_there_are_no_problem():
    registry.require_packages(backend("typer", "importlib.metadata"))


def test_a_missing_package_names_the_extra():
    with pytest.raises(MissingError) as caught:
        registry.require_packages(backend("typer", "no_such_package", "no_such_parent.child"))
    assert str(caught.value) == (
        "the megatron backend needs what is not installed here: no_such_package, no_such_parent.child.\n"
        "Install with: pip install 'primus[megatron]'"
    )


def test_a_missing_torch_is_not_installed_by_an_extra(monkeypatch):
    monkeypatch.setattr(registry, "_is_installed", lambda package: package != "torch")
    with pytest.raises(MissingError) as caught:
        registry.require_packages(backend("torch", "typer"))
    assert "Install PyTorch for this machine's accelerator" in str(caught.value)
    assert "primus[" not in str(caught.value)
