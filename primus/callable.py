"""Packages that are called like a function of the Python interface: `primus.launch(…)`, `primus.estimate(…)`. Two
things that share a name can only be one thing: a package that can be called."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package whose module `call` has the function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = getattr(import_module(f"{self.__name__}.call"), self.__name__.rpartition(".")[2])
        return function(*args, **kwargs)


def make_callable(package: str) -> None:
    """Called by the package itself, with its name."""
    sys.modules[package].__class__ = _Callable
