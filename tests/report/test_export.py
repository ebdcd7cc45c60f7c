from __future__ import annotations

import csv

from report_runs import reports

from primus.report.data import read_runs
from primus.report.export import write_csv


def test_the_table_has_every_report_of_every_run(runs, tmp_path):
    first = runs.make("r1", reports(3000))
    second = runs.make("r2", reports(2, loss=lambda step: "NaN" if step == 1 else 2.5, moe_z_loss=lambda step: 0.5))

    write_csv(read_runs([first, second]), tmp_path / "all.csv")

    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3002
    assert (rows[0]["run"], rows[0]["moe_z_loss"], rows[-1]["moe_z_loss"]) == ("r1", "", "0.5")
    assert [row["loss"] for row in rows[-2:]] == ["nan", "2.5"]
