"""From a Job to processes: environment, network, this machine, containers, clusters. `primus.launch(experiment)` is
launch() of call.py: a package and a function can share a name only when the package can be called."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from primus.launch.call import launch

        return launch(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
