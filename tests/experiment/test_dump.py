import math

import pytest

from primus.experiment import dump, load
from primus.experiment.dump import format_data


def test_the_effective_experiment_stands_alone(write, here):
    write("small.yaml", "layers: 2\nlr: 1")
    write("x.yaml", "modules: {pre_trainer: {framework: megatron, model: small, overrides: {lr: '${LR:1e-4}'}}}")
    experiment = load("x.yaml", sets=["exp_name=007"], environ={"USER": "me", "TEAM": "t"})
    (here / "small.yaml").unlink()
    write("run/experiment.yaml", dump(experiment))
    again = load("run/experiment.yaml", environ={})
    assert again.plain() == experiment.plain() == {"layers": 2, "lr": "1e-4"}
    assert (again.folder, again.model, again.config) == (experiment.folder, "small", None)


def test_it_reads_like_a_file_written_by_hand(write):
    write("job.toml", '[training]\nsteps = 5\nlr = 1e-5\n[model]\nname = "llama3"\n[empty]\n')
    assert dump(load("job.toml", environ={"USER": "me", "TEAM": "t"})) == (
        "work_group: t\n"
        "user_name: me\n"
        "exp_name: job\n"
        "workspace: ./output\n"
        "modules:\n"
        "  pre_trainer:\n"
        "    framework: torchtitan\n"
        "    effective: true\n"
        "    overrides:\n"
        "      training:\n"
        "        steps: 5\n"
        "        lr: 1e-05\n"
        "      model:\n"
        "        name: llama3\n"
        "      empty: {}\n"
    )


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (None, "null"),
        (True, "true"),
        (1e-5, "1e-05"),
        (math.inf, ".inf"),
        (5, "5"),
        ("text", "text"),
        ("a path/to.bin", "a path/to.bin"),
        ("5", '"5"'),
        ("1e-5", '"1e-5"'),
        ("no", "no"),
        ("null", '"null"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("a, b", '"a, b"'),
        ("- a", '"- a"'),
        ("${X}", '"$${X}"'),
        ('say "hi"\n', '"say \\"hi\\"\\n"'),
        ("\x85\u2028", '"\\x85\\u2028"'),
        ([1, "a", [None]], "[1, a, [null]]"),
        ({"a": 1, "null": "x"}, '{a: 1, "null": x}'),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_plain_data_is_written_as_short_as_it_can_be_read_back(data, written):
    assert format_data(data) == written
