"""`primus slurm`: training as batch jobs of a SLURM cluster. cli.py loads `app`."""

from __future__ import annotations

import typer

from primus.commands.slurm import look, submit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback(help="Train on a SLURM cluster: submit jobs, look at them, end them.")
def _slurm() -> None:
    pass


submit.add_to(app)
look.add_to(app)
