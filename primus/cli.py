"""The root of the command tree and the one boundary where errors become text and an exit status.
A module of commands/ is imported when one of its commands is called, so `primus --help` stays fast."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, NoReturn

# Start-up makes many objects and hardly any garbage: looking for some at every 700th costs a tenth of its time.
gc.set_threshold(100_000)

import typer  # noqa: E402
from typer.core import TyperCommand, TyperGroup  # noqa: E402
from typer.main import get_command  # noqa: E402

from primus import __version__  # noqa: E402
from primus.errors import ExitStatus, ExperimentError, PrimusError  # noqa: E402

COMMANDS = {
    "train": ("primus.commands.train", "Train a model on this machine, or as one node of several."),
    "slurm": ("primus.commands.slurm", "Train on a SLURM cluster."),
    "tune": ("primus.commands.tune", "Tune the GEMM kernels of AMD GPUs for an experiment."),
    "config": ("primus.commands.config", "Show and check experiments."),
    "runs": ("primus.commands.runs", "Look back at runs: list, show, compare, clean."),
    "report": ("primus.commands.report", "Make a page about runs: curves, what ran, what differs."),
    "doctor": ("primus.commands.doctor", "Examine machines: host, network, measured rates."),
    "estimate": ("primus.commands.estimate", "Estimate memory, communication and time before a training."),
    "bench": ("primus.commands.bench", "Compare settings by short trainings."),
    "models": ("primus.commands.models", "List the model presets."),
    "k8s": ("primus.commands.k8s", "Train on Kubernetes."),
    "data": ("primus.commands.data", "Prepare training data."),
}
"""Each command with the module that holds its `app`, and its line in the help."""


def run() -> NoReturn:
    """The console script: main(), and out at once. Taking the interpreter down object by object costs as much time as
    checking an experiment; every file is closed by then."""
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with suppress(OSError):  # a full disk; the status is true all the same
        sys.stderr.flush()
    os._exit(status)


def main() -> NoReturn:
    """Run the command line and leave with its exit status."""
    _open_closed_streams()
    try:
        try:
            get_command(app)(prog_name="primus")
        finally:
            sys.stdout.flush()
    except PrimusError as error:
        with suppress(OSError):
            print(_explain(error), file=sys.stderr)
        sys.exit(error.status)
    except BrokenPipeError:
        leave_broken_pipe()
    except KeyboardInterrupt:  # while a command is still being loaded; typer takes the others
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the boundary
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            _leave_full_disk(error)
        if isinstance(error, FileNotFoundError) and not error.filename and not os.stat(os.curdir).st_nlink:
            print("Error: the working directory is gone: it was removed, or its disk is not there", file=sys.stderr)
            sys.exit(ExitStatus.MISSING)
        if isinstance(error, OSError) and error.errno in _REFUSED and error.filename:
            print(f"Error: {error.filename}: {error.strerror}", file=sys.stderr)
            sys.exit(ExitStatus.MISSING)
        traceback.print_exc()
        print("This is a fault of Primus, not yours. Please report it with the lines above.", file=sys.stderr)
        sys.exit(ExitStatus.FAULT)
    sys.exit(ExitStatus.DONE)


def _open_closed_streams() -> None:
    """Let streams that came closed (`>&-`, some daemons) lead nowhere; else a file of ours would take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - they stay open
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def leave_broken_pipe() -> NoReturn:
    """Leave as a Unix tool does whose reader has gone away, and let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _leave_full_disk(error: OSError) -> NoReturn:
    """Leave when the disk, or the one that the output goes to, takes no more."""
    where = error.filename or "the output"
    with suppress(OSError):  # it may be the same disk
        print(f"Error: can't write {where}: {error.strerror}", file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):  # the interpreter's last flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(ExitStatus.MISSING)


class _LazyGroup(TyperGroup):
    """Shows a placeholder of each command, and loads the real one when it is called or completed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, help_line) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=help_line, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # typer would leave with status 1
            leave_broken_pipe()


def _load(name: str) -> Any:
    command = get_command(import_module(COMMANDS[name][0]).app)
    command.name = name
    return command


def _explain(error: PrimusError) -> str:
    from primus.redact import redact_text

    if not isinstance(error, ExperimentError):
        return redact_text(f"Error: {error}")
    marks = {"warning": "Warning: "}
    return redact_text("\n".join(f"{marks.get(problem.severity, '')}{problem}" for problem in error.problems))


_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE})
"""What a machine says of a file that we are right to ask for: no permission, a link in a circle, a broken disk."""

app = typer.Typer(cls=_LazyGroup, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"primus {__version__}")
        raise typer.Exit


@app.callback(help="Pre-train large language models with Megatron-Core or TorchTitan.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass
