"""`primus config`, called as the command line calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import jsonschema
import pytest
from typer.testing import CliRunner

from primus.backends import registry
from primus.commands.completion import complete_experiment, complete_key, complete_set
from primus.commands.config import app
from primus.errors import ExperimentError, MissingError, UsageError
from primus.experiment import load
from primus.experiment.json_schema import experiment_schema, preset_schema
from primus.experiment.paths import configs_dir

GOOD = """\
exp_name: good
modules:
  pre_trainer:
    framework: torchtitan
    overrides:
      training: {steps: 7, seq_len: 64}
      model: {name: llama3, flavor: debugmodel}
      optimizer:
        lr: ${LR:1e-3}
      lr_scheduler: {warmup_steps: 2}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("EXP", "BACKEND", "LR", "TEAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "me")
    return tmp_path


@pytest.fixture
def write(here: Path):
    def write(name: str, text: str) -> Path:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    return write


@pytest.fixture
def config(here: Path):
    """Run `primus config ...` in this process; errors of ours are raised, as they reach the boundary in cli.py."""

    def config(*arguments: object, status: int = 0) -> SimpleNamespace:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return SimpleNamespace(out=result.stdout, err=result.stderr, lines=result.stdout.splitlines())

    return config


# --- show ---


def test_show_gives_each_value_with_its_origin_group_and_default(write, config):
    write("good.yaml", GOOD)
    shown = config("show", "good.yaml", "--set", "training.steps=9")
    assert shown.lines[:3] == [
        "experiment  good.yaml",
        f"backend     torchtitan ({registry.get('torchtitan').schema().version})",
        "folder      output/amd/me/good",
    ]
    [steps] = [line.split() for line in shown.lines if line.lstrip().startswith("training.steps ")]
    assert " ".join(steps) == "training.steps 9 --set training.steps=9 default 10000, over 7 (good.yaml:6)"
    [lr] = [line.split() for line in shown.lines if line.lstrip().startswith("optimizer.lr ")]
    assert " ".join(lr).startswith("optimizer.lr 0.001 good.yaml:9 ($LR) default 0.0008")
    assert "training" in shown.lines
    assert "names" in shown.lines


def test_show_json_holds_the_same_for_programs(write, config):
    write("good.yaml", GOOD)
    shown = json.loads(config("show", "good.yaml", "--set", "training.steps=9", "--json").out)
    assert (shown["backend"], shown["folder"], shown["sources"]) == ("torchtitan", "output/amd/me/good", ["good.yaml"])
    assert shown["values"]["training.steps"] == {
        "value": 9,
        "group": "training",
        "origin": {"kind": "option", "name": "--set training.steps=9"},
        "overrode": [{"value": 7, "origin": {"kind": "file", "name": "good.yaml", "line": 6}}],
        "default": 10000,
        "is_default": False,
    }
    assert shown["values"]["optimizer.lr"]["origin"]["variables"] == ["LR"]
    assert "default" not in shown["values"]["exp_name"]


def test_show_yaml_is_an_experiment_that_loads_as_the_same(write, config):
    write("good.yaml", GOOD)
    write("again.yaml", config("show", "good.yaml", "--yaml").out)
    assert load("again.yaml").plain() == load("good.yaml").plain()
    assert load("again.yaml").folder == load("good.yaml").folder


def test_show_writes_warnings_to_standard_error_and_keeps_the_output_clean(write, config):
    write("job.toml", '[model]\nname = "llama3"\nflavor = "debugmodel"\n[training]\nbatch_size = 4\n')
    shown = config("show", "job.toml", "--json")
    assert json.loads(shown.out)["values"]["training.local_batch_size"]["value"] == 4
    assert shown.err.startswith("Warning: job.toml:5: training.batch_size: ")


def test_show_refuses_a_wrong_experiment_with_all_problems(write, config):
    write("bad.yaml", GOOD.replace("seq_len", "sequence_len").replace("steps: 7", "steps: seven"))
    with pytest.raises(ExperimentError) as caught:
        config("show", "bad.yaml")
    assert len(caught.value.problems) == 2


def test_show_takes_one_format(write, config):
    write("good.yaml", GOOD)
    with pytest.raises(UsageError, match="--json and --yaml exclude each other"):
        config("show", "good.yaml", "--json", "--yaml")


def test_the_experiment_may_come_from_the_environment(write, config, monkeypatch):
    write("good.yaml", GOOD)
    monkeypatch.setenv("EXP", "good.yaml")
    assert "training.steps" in config("show").out


# --- check ---


def test_check_is_quiet_about_good_files(write, config):
    write("good.yaml", GOOD)
    assert config("check", "good.yaml").out == "1 file: no errors.\n"


def test_check_lists_every_problem_by_place_and_leaves_with_status_3(write, config):
    write("b.yaml", GOOD.replace("steps: 7", "steps: seven"))
    write("a.yaml", GOOD.replace("seq_len", "seq_lenn").replace("lr:", "lrr:"))
    checked = config("check", "b.yaml", "a.yaml", status=3)
    assert checked.lines == [
        "a.yaml:6: modules.pre_trainer.overrides.training.seq_lenn: unknown key. Did you mean training.seq_len?",
        "a.yaml:9: modules.pre_trainer.overrides.optimizer.lrr: unknown key. Did you mean optimizer.lr?",
        "b.yaml:6: modules.pre_trainer.overrides.training.steps: expected a whole number, got the text seven",
        "2 files: 3 errors.",
    ]


def test_check_leaves_with_status_0_on_warnings(write, config):
    write("job.toml", '[model]\nname = "llama3"\nflavor = "debugmodel"\n[training]\nbatch_size = 4\n')
    checked = config("check", "job.toml")
    assert checked.lines[0].startswith("Warning: job.toml:5: training.batch_size: ")
    assert checked.lines[-1] == "1 file: no errors, 1 warning."


def test_check_json_lists_files_and_problems(write, config):
    path = write("a.yaml", GOOD.replace("seq_len", "seq_lenn"))
    checked = json.loads(config("check", path, "--json", status=3).out)
    assert checked == {
        "files": [str(path)],
        "skipped": [],
        "problems": [
            {
                "file": "a.yaml",
                "line": 6,
                "key": "modules.pre_trainer.overrides.training.seq_lenn",
                "message": "unknown key. Did you mean training.seq_len?",
                "severity": "error",
            }
        ],
    }


def test_check_goes_through_folders_and_tells_experiments_presets_and_others_apart(write, config):
    write("conf/sub/good.yaml", GOOD)
    job = '[model]\nname = "llama3"\nflavor = "debugmodel"\n[lr_scheduler]\nwarmup_steps = 2\n[training]\n'
    write("conf/job.toml", job + 'steps = "ten"\n')
    write("conf/broken.yaml", "modules: [\n")
    write("conf/models/torchtitan/mine.yaml", "training: {stepss: 1}\n")
    write("conf/models/other/mine.yaml", "training: {stepss: 1}\n")
    write("conf/compose.yaml", "services: {}\n")
    write("conf/pyproject.toml", "[project]\nname = 'x'\n")
    write("conf/.hidden/bad.yaml", "modules: [\n")
    write("conf/notes.txt", "modules: [\n")
    checked = config("check", "conf", status=3)
    assert [line.split(":")[0] for line in checked.lines[:-1]] == [
        "conf/broken.yaml", "conf/job.toml", "conf/models/torchtitan/mine.yaml",
    ]  # fmt: skip
    assert checked.lines[-1] == (
        "4 files: 3 errors. Not checked, since it is no experiment: conf/compose.yaml, conf/pyproject.toml, "
        "conf/models/other/mine.yaml."
    )


def test_check_takes_a_preset_and_the_name_of_a_shipped_experiment(write, config):
    write("models/megatron/mine.yaml", "num_layers: 0\n")
    checked = config("check", "models/megatron/mine.yaml", "megatron/llama3_8B", status=3)
    assert checked.lines == [
        "models/megatron/mine.yaml:1: num_layers: expected at least 1, got 0",
        "2 files: 1 error.",
    ]


def test_a_problem_of_a_preset_that_two_experiments_share_is_listed_once(write, config):
    write("small.yaml", "stepss: 1\n")
    for name in ("a.yaml", "b.yaml"):
        write(name, "modules: {pre_trainer: {framework: megatron, model: small, overrides: {}}}\n")
    assert sum("stepss" in line for line in config("check", "a.yaml", "b.yaml", status=3).lines) == 1


def test_check_of_a_missing_file_is_missing(config):
    with pytest.raises(MissingError, match=r"there is no file nope.yaml"):
        config("check", "nope.yaml")


def test_check_of_a_folder_without_experiments_is_no_success(here, config):
    (here / "empty").mkdir()
    with pytest.raises(MissingError, match="empty: there is no experiment or preset in this folder"):
        config("check", "empty")


def test_check_of_a_folder_passes_over_what_is_no_file(write, here, config):
    write("good.yaml", GOOD)
    (here / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(here / "pipe.yaml")
    [line] = config("check", ".").lines
    assert line == "1 file: no errors. Not checked, since it is no experiment: loop.yaml, pipe.yaml."


def test_an_unknown_backend_in_a_file_is_a_problem_with_its_place(write, config):
    write("a.yaml", "modules:\n  pre_trainer:\n    framework: torchtatin\n")
    [line, _] = config("check", "a.yaml", status=3).lines
    assert line.startswith("a.yaml:3: ")
    assert "Did you mean torchtitan?" in line


def test_the_process_leaves_with_the_status_of_the_problem(write, here):
    write("bad.yaml", GOOD.replace("seq_len", "seq_lenn"))

    def status(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "primus", "config", *arguments], capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert status("check", "bad.yaml")[0] == 3
    assert status("show", "bad.yaml") == (
        3,
        "bad.yaml:6: modules.pre_trainer.overrides.training.seq_lenn: unknown key. Did you mean training.seq_len?\n",
    )
    assert status("show", "nope.yaml")[0] == 4
    assert status("explain", "nope.yaml")[0] == 2


# --- diff ---


def test_diff_compares_meaning_not_text(write, config):
    write("a.yaml", GOOD)
    write("b.toml", """\
        exp_name = "good"
        [model]
        flavor = "debugmodel"
        name = "llama3"
        [lr_scheduler]
        warmup_steps = 2
        [training]
        seq_len = 64
        steps = 7
        max_norm = 1.0
        [optimizer]
        lr = 0.001
        """)  # fmt: skip
    assert config("diff", "a.yaml", "b.toml").out == "a.yaml and b.toml mean the same.\n"


def test_diff_shows_both_values_with_their_origins(write, config):
    write("a.yaml", GOOD)
    write("b.yaml", GOOD.replace("steps: 7, ", ""))
    assert config("diff", "a.yaml", "b.yaml").lines == [
        "training.steps",
        "  a.yaml  7  (a.yaml:6)",
        "  b.yaml  10000  (default)",
    ]
    assert json.loads(config("diff", "a.yaml", "b.yaml", "--json").out) == {
        "training.steps": [
            {"value": 7, "origin": {"kind": "file", "name": "a.yaml", "line": 6}},
            {"value": 10000, "origin": None},
        ]
    }


def test_diff_of_two_backends_is_wrong_usage(write, config):
    write("a.yaml", GOOD)
    with pytest.raises(UsageError, match="they share no keys"):
        config("diff", "a.yaml", "megatron/llama3_8B")


# --- explain ---


def test_explain_says_what_a_key_takes_and_which_files_set_it(config):
    text = config("explain", "training.steps").out
    assert text.startswith("training.steps  (torchtitan)\n")
    assert "  takes      a whole number, at least 1\n  default    10000\n  group      training\n" in text
    assert "tiny_llama (experiment)" in text


def test_explain_names_the_old_names_and_presets(config):
    [found] = json.loads(config("explain", "training.local_batch_size", "--json").out)
    assert "training.batch_size" in found["old_names"]
    [found] = json.loads(config("explain", "num_layers", "--json").out)
    assert {"kind": "model", "name": "llama3_8B", "value": 32} in found["set_by"]


def test_explain_gives_the_answer_to_a_key_that_is_not_accepted(config):
    assert config("explain", "training.batch_size").out.startswith("training.batch_size  (torchtitan): ")
    [found] = json.loads(config("explain", "training.batch_size", "--json").out)
    assert (found["backend"], found["answer"]) == ("torchtitan", "renamed")


def test_explain_of_an_unknown_key_suggests_the_nearest(config):
    with pytest.raises(UsageError, match=r"megatron and torchtitan have no key num_layerss. Did you mean num_layers\?"):
        config("explain", "num_layerss")
    with pytest.raises(UsageError, match=r"torchtitan have no key num_layers|torchtitan has no key num_layers"):
        config("explain", "num_layers", "--backend", "torchtitan")


# --- upgrade ---


def test_upgrade_prints_the_file_and_notes_what_moved(write, config):
    path = write("job.toml", "[training]\nbatch_size = 8 # per GPU\n")
    upgraded = config("upgrade", path)
    assert upgraded.out == "[training]\nlocal_batch_size = 8 # per GPU\n"
    assert upgraded.err == "job.toml:2: training.batch_size: now training.local_batch_size\n"
    assert path.read_text() == "[training]\nbatch_size = 8 # per GPU\n"


def test_upgrade_knows_a_preset_by_its_place_or_asks_for_the_backend(write, config):
    text = "training:\n  batch_size: 8\n"
    assert "local_batch_size" in config("upgrade", write("models/torchtitan/a.yaml", text)).out
    path = write("a.yaml", text)
    with pytest.raises(UsageError, match="name it with --backend"):
        config("upgrade", path)
    assert "local_batch_size" in config("upgrade", path, "--backend", "torchtitan").out


# --- schema ---


def documents(kind: str) -> list[Path]:
    return sorted(path for path in (configs_dir() / kind).glob("*/*") if path.suffix in (".yaml", ".toml"))


def as_editors_read_it(path: Path) -> object:
    """A file as a YAML 1.2 or TOML reader gives it, before Primus replaces anything."""
    from primus.experiment.leaf import Source
    from primus.experiment.toml_file import parse_toml
    from primus.experiment.upgrade import _Names
    from primus.experiment.yaml_file import parse_yaml

    parse = parse_toml if path.suffix == ".toml" else parse_yaml
    return plain(parse(path.read_text(), Source(path.name, _Names(), [])))


def plain(node):
    if isinstance(node, dict):
        return {name: plain(below) for name, below in node.items()}
    return node.data


@pytest.fixture(scope="module")
def schemas():
    return [registry.get(name).schema() for name in ("megatron", "torchtitan")]


@pytest.fixture(scope="module")
def validator(schemas):
    schema = experiment_schema(schemas, "torchtitan")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_shipped_experiment_fits_the_json_schema(validator):
    paths = documents("experiments")
    assert len(paths) > 40
    for path in paths:
        assert [error.message for error in validator.iter_errors(as_editors_read_it(path))] == [], path


def test_every_shipped_preset_fits_the_json_schema_of_its_backend(schemas):
    for schema in schemas:
        validator = jsonschema.Draft202012Validator(preset_schema(schema))
        paths = [
            path for kind in ("models", "modules") for path in documents(kind) if path.parent.name == schema.backend
        ]
        assert paths
        for path in paths:
            assert [error.message for error in validator.iter_errors(as_editors_read_it(path))] == [], path


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("seq_len", "seq_lenn"),
        GOOD.replace("steps: 7", "steps: seven"),
        GOOD.replace("steps: 7", "steps: 0"),
        GOOD.replace("torchtitan", "torchtatin"),
        GOOD.replace("overrides", "overides"),
        GOOD.replace("exp_name", "exp_nam"),
        GOOD.replace("pre_trainer", "trainer"),
        GOOD.replace("framework: torchtitan", "framework: megatron"),
    ],
)
def test_the_json_schema_finds_what_check_finds(write, validator, text):
    assert list(validator.iter_errors(as_editors_read_it(write("x.yaml", GOOD)))) == []
    assert list(validator.iter_errors(as_editors_read_it(write("x.yaml", text))))


def test_the_json_schema_takes_variables_old_names_and_inheritance(write, validator):
    write("x.yaml", """\
        extends: [base.yaml]
        modules:
          pre_trainer:
            framework: torchtitan
            model: ${MODEL:llama3_8b}
            overrides:
              training: {steps: '${STEPS}', batch_size: 4}
        """)  # fmt: skip
    assert list(validator.iter_errors(as_editors_read_it(Path("x.yaml")))) == []


def test_the_schema_command_prints_both_schemas(config):
    assert json.loads(config("schema").out)["title"] == "Primus experiment"
    assert json.loads(config("schema", "--preset", "megatron").out)["title"] == "Primus preset for megatron"


# --- completion ---


def context(**params):
    return SimpleNamespace(params=params)


def test_experiments_are_completed_by_name(here):
    names = dict(complete_experiment("llama3_"))
    assert names["llama3_8B"] == "for megatron"
    assert "torchtitan/tiny_llama" in dict(complete_experiment("torchtitan/"))


def test_keys_are_completed_for_the_backend_of_the_experiment(write):
    write("good.yaml", GOOD)
    assert "training.steps=" in dict(complete_set(context(exp="good.yaml", backend=None), "training.st"))
    assert complete_set(context(exp="good.yaml", backend=None), "num_lay") == []
    assert "num_layers=" in dict(complete_set(context(exp=None, backend="megatron"), "num_lay"))
    assert "num_layers" in dict(complete_key("num_lay"))


def test_values_are_completed_after_the_equals_sign(here):
    assert dict(complete_set(context(), "bf16=")).keys() >= {"bf16=true", "bf16=false"}
    assert "optimizer=adam" in dict(complete_set(context(), "optimizer=a"))


def test_completion_survives_an_experiment_that_is_wrong(write):
    write("bad.yaml", "modules: [")
    assert complete_set(context(exp="bad.yaml", backend=None), "num_lay")
    assert complete_set(context(exp="missing.yaml", backend=None), "num_lay")


def test_the_shell_gets_the_completions(here):
    words = {"_PRIMUS_COMPLETE": "complete_bash", "COMP_WORDS": "primus config show llama3_", "COMP_CWORD": "3"}
    command = Path(sys.executable).with_name("primus")
    done = subprocess.run([command], env=os.environ | words, capture_output=True, text=True, check=False)
    assert "llama3_8B" in done.stdout.split()


def test_a_problem_about_a_key_that_nobody_set_names_the_file(write, config):
    write("a.yaml", GOOD.replace("warmup_steps: 2", "").replace("good", "a"))
    [line, _] = config("check", "a.yaml").lines
    assert line.startswith("Warning: a.yaml: lr_scheduler.warmup_steps: ")


def test_a_value_that_does_not_fit_is_not_reported_as_missing_too(write, config):
    module = "{framework: megatron, model: llama2_7B, overrides: {train_iters: ten}}"
    checked = config("check", write("a.yaml", f"modules:\n  pre_trainer: {module}\n"), status=3)
    assert [line for line in checked.lines if "train_iters" in line] == [
        "a.yaml:2: modules.pre_trainer.overrides.train_iters: expected a whole number or null, got the text ten"
    ]
