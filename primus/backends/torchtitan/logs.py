"""Where torchtitan's own log goes: all of it to a file of its own, and what a reader must see to the rank's log, which
the terminal may show. The worker calls set_up()."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

_NOISE = (
    "Error running lspci",
    "model.safetensors.index.json not found",
    "Pipeline Parallel loss is not visible",
)
"""Parts of warnings that need nobody's attention: they concern torchtitan's estimate of the GPU, a way of saving that
was not asked for, and torchtitan's own launcher."""


def set_up(path: Path) -> None:
    """In place of torchtitan's init_logger()."""
    everything = logging.FileHandler(path, encoding="utf-8")
    everything.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    warning = logging.StreamHandler(sys.stdout)
    warning.setLevel(logging.WARNING)
    warning.setFormatter(logging.Formatter("torchtitan: %(message)s"))
    warning.addFilter(lambda record: not any(noise in record.getMessage() for noise in _NOISE))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.handlers[:] = [everything, warning]
    # As init_logger() does: the profiler's library prints a lot.
    os.environ["KINETO_LOG_LEVEL"] = "5"
    warnings.filterwarnings("ignore", message="'set_vital' is deprecated")  # torchdata 0.11 with torch 2.13
