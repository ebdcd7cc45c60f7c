"""Services that a Megatron experiment reports to, and whose packages are not on this machine. check() calls it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from primus.backends.megatron.checks.rule import Facts
from primus.errors import Problem
from primus.metrics.settings import MetricsSettings


def missing_services(facts: Facts, unusable: frozenset[str]) -> Iterator[Problem]:
    """A problem at the key that switches such a service on."""
    names = [each.name for each in fields(MetricsSettings) if each.name not in unusable and facts.given(each.name)]
    settings = MetricsSettings(**{name: facts[name] for name in names})
    for service, message in settings.not_installed().items():
        key = facts.blame(name for name in names if service in name)
        value = facts.value(key)
        yield Problem(where=facts.place(key), key=value.path if value else key, message=message, severity="missing")
