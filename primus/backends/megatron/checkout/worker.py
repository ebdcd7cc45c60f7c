"""The training processes of a Megatron-LM checkout: `python -m primus.backends.megatron.checkout.worker RUN_DIR`. Each
becomes the checkout's own pretrain_gpt.py, with the run's log, signals, metrics and exit status around it."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

from primus.backends.megatron.checkout.arguments import Start, start_arguments
from primus.backends.megatron.checkout.folder import newest_of
from primus.backends.megatron.checkout.names import ARGUMENTS, SCRIPT, VARIABLE
from primus.backends.megatron.checkpoint_folder import CheckpointFolder
from primus.backends.worker import Worker, run
from primus.errors import MissingError, PrimusError


def train(worker: Worker) -> None:
    """Run the checkout's script to its end."""
    checkout = Path(os.environ[VARIABLE])
    words = shlex.split((worker.run_dir.path / ARGUMENTS).read_text(encoding="utf-8"))
    words += start_arguments(worker.experiment.plain(), _start(worker))
    use(checkout)
    import torch

    if not torch.cuda.is_available():
        from primus.backends.megatron import cpu
        from primus.backends.megatron.checkout import cpu as script_cpu

        script_cpu.prepare()
        cpu.install()
        script_cpu.install()
    if "--transformer-impl" not in words and find_spec("transformer_engine") is None:
        words += ["--transformer-impl", "local"]
    from primus.backends.megatron.checkout import hooks

    hooks.install(worker)
    script = checkout / SCRIPT
    print(shlex.join([str(script), *words]), flush=True)
    sys.argv = [str(script), *words]
    code = compile(script.read_bytes(), script, "exec")
    try:
        _run(code)
    except SystemExit as ended:  # Megatron-LM's way to stop early, after a signal for instance
        if ended.code not in (None, 0):
            raise ScriptError(f"{SCRIPT} ended with {ended.code!r}; its last lines say why.") from ended
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class ScriptError(PrimusError):
    """The checkout's script gave up."""


def use(checkout: Path) -> None:
    """Let imports find the checkout: after the installed packages, but ahead of what they have of megatron besides
    the core, whose compiled helpers a checkout does not have."""
    if _installed("megatron.core"):
        import megatron.core  # from now on it is this one
    sys.path.append(str(checkout))
    import megatron

    others = [path for path in megatron.__path__ if path != str(checkout / "megatron")]
    megatron.__path__ = [str(checkout / "megatron"), *others]


def _start(worker: Worker) -> Start:
    """Resume or not; rank 0 puts checkpoints aside that are not wanted, before anybody has met."""
    folder = CheckpointFolder((worker.experiment.folder / "checkpoints").absolute())
    if worker.resume == "never":
        aside = folder.set_aside(worker.run_dir.id) if worker.rank == 0 else None
        if aside:
            print(f"Starts from zero. The checkpoints that were here are in {aside} now.")
        return Start(own=folder.path, resumes=False)
    newest = newest_of(folder.path)
    if newest is None and worker.resume == "require":
        raise MissingError(f"{folder.path} has no checkpoint to resume from.")
    print("No checkpoint of its own to resume from." if newest is None else f"Resumes from {newest}.")
    return Start(own=folder.path, resumes=newest is not None)


def _run(code: CodeType) -> None:
    """Run the script as a program. The processes that it starts for saving import this module as theirs, not it."""
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": code.co_filename, "__builtins__": __builtins__}
    exec(code, namespace)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    run(train)
