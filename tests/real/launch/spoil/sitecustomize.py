"""Makes a worker of Primus fail, with whatever secrets it has been given, as an exception of a library does."""

import builtins
import os

if "RANK" in os.environ and "SPOIL" in os.environ:
    usual = builtins.__import__

    def spoiled(name, *arguments, **keywords):
        if name.startswith("megatron.core"):
            raise RuntimeError(os.environ["SPOIL"])
        return usual(name, *arguments, **keywords)

    builtins.__import__ = spoiled
