"""`primus tune`: GEMM kernels of AMD GPUs, tuned for an experiment in three stages. cli.py loads `app`."""

from __future__ import annotations

import typer

from primus.commands.tune import check, merge, report, shapes, stages

app = typer.Typer(cls=stages.StagesGroup, rich_markup_mode=None, add_completion=False)

app.callback(invoke_without_command=True)(stages.tune)
shapes.add_to(app)
report.add_to(app)
check.add_to(app)
merge.add_to(app)
