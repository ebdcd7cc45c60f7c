"""`primus models` lists what is shipped, and docs/models.md shows the same list."""

import json
from pathlib import Path

from typer.testing import CliRunner

from primus.commands.models import app
from primus.experiment.paths import frameworks, shipped

ROOT = Path(__file__).parents[2]
EVERY = [f"{each}/{name}" for each in frameworks("experiments") for name in shipped("experiments", each)]


def listed(*options):
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_models_lists_every_experiment():
    rows = json.loads(listed("--json"))
    assert sorted(f"{row['backend']}/{row['name']}" for row in rows) == sorted(EVERY)


def test_models_says_what_a_model_is_and_what_it_fits_on():
    rows = {row["name"]: row for row in json.loads(listed("--json"))}
    assert rows["deepseek_v3"] == {
        "name": "deepseek_v3",
        "backend": "megatron",
        "parameters": 671_026_419_200,
        "active_parameters": 37_552_297_472,
        "layers": 61,
        "context": 163_840,
        "accelerator": "MI300X",
        "gpus": 128,
    }


def test_the_list_does_not_depend_on_the_environment(monkeypatch):
    before = listed()
    monkeypatch.setenv("PRIMUS_MOCK_DATA", "no")
    assert listed() == before


def test_the_table_in_the_documentation_is_what_the_command_prints():
    shown = (ROOT / "docs/models.md").read_text().split("```text\n")[1].split("```")[0]
    assert shown == listed(), "paste the output of `primus models` into docs/models.md"
