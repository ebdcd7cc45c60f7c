from primus.runs.compare import compare
from primus.runs.series import read_series


def by_name(differences):
    return {each.name: each.values for each in differences}


def test_what_differs_in_the_experiment_and_the_machine_is_listed_and_nothing_else(workspace):
    first = workspace.run("r1", values={"lr": 1e-3, "deep": {"a": 1, "b": 2}}, manifest={"versions": {"torch": "2.13"}})
    second = workspace.run("r2", values={"lr": 3e-4, "deep": {"a": 1}}, manifest={"versions": {"torch": "2.12"}})

    found = by_name(each for each in compare([first, second], []) if each.part != "result")

    assert found == {"lr": ("0.001", "0.0003"), "deep.b": ("2", ""), "versions.torch": ("2.13", "2.12")}


def test_when_and_how_it_was_started_is_no_difference(workspace):
    first = workspace.run("r1", manifest={"started": "a", "command": ["x"], "environment": {"A": "1"}})
    second = workspace.run("r2", manifest={"started": "b", "command": ["y"], "environment": {"A": "2"}})

    assert by_name(compare([first, second], [])) == {"steps": ("0", "0")}


def test_losses_are_compared_at_the_last_step_that_all_have_reached(workspace):
    short, long = workspace.run("r1", losses=[3.0, 2.0]), workspace.run("r2", losses=[3.5, 2.5, 1.5])

    found = by_name(compare([short, long], []))

    assert found["steps"] == ("2", "3")
    assert found["loss at step 2"] == ("2", "2.5")
    assert found["lowest loss"] == ("2", "1.5")
    assert found["tokens_per_second (median)"] == ("150", "200")


def test_a_series_counts_what_it_can_not_read_and_keeps_evaluations_apart(workspace):
    run = workspace.run("r1", losses=[3.0, "NaN", 2.0], torn=b'{"step": 3, "valid_loss": 9.0}\n{"step": 4, "l')

    series = read_series(run / "metrics.jsonl")

    assert (list(series.steps), series.damaged) == ([1, 2, 3], 1)
    assert list(series.values("loss")) == [3.0, 2.0]
    assert list(series.broken["loss"]) == [1]
    assert [each["valid_loss"] for each in series.evaluations] == [9.0]
    assert (series.at("loss", 1), series.at("loss", 99), series.at("loss", 0)) == (3.0, 2.0, None)


def test_what_can_not_be_read_is_noted_and_the_rest_compared(workspace):
    first, second = workspace.run("r1", values={"lr": 1}), workspace.run("r2", values={"lr": 2})
    (second / "manifest.json").write_text("{")
    notes: list[str] = []

    found = by_name(compare([first, second], notes))

    assert found["lr"] == ("1", "2")
    assert f"{second}: manifest.json is damaged" in notes
