import os
from pathlib import Path

import pytest

from primus.errors import ExperimentError, MissingError, UsageError
from primus.experiment import load
from primus.experiment.paths import configs_dir

EXPERIMENT = """
work_group: team
user_name: me
exp_name: first
workspace: /data
modules:
  pre_trainer:
    framework: megatron
    config: trainer.yaml
    model: small
    overrides:
      lr: 3
"""


@pytest.fixture
def presets(write):
    write("trainer.yaml", "lr: 1\nsteps: 1\nlayers: 1")
    write("small.yaml", "lr: 2\nlayers: 2")


def test_precedence_is_module_preset_model_preset_overrides_options(write, presets):
    write("x.yaml", EXPERIMENT)
    experiment = load("x.yaml", sets=["seed=4"])
    assert experiment.plain() == {"lr": 3, "steps": 1, "layers": 2, "seed": 4}


def test_every_value_knows_what_it_replaced(write, presets):
    write("x.yaml", EXPERIMENT)
    value = load("x.yaml", sets=["lr=4"]).find("lr")
    chain = []
    while value is not None:
        chain.append((value.data, str(value.origin)))
        value = value.replaced
    assert chain == [(4, "--set lr=4"), (3, "x.yaml:12"), (2, "small.yaml:1"), (1, "trainer.yaml:1")]


def test_the_names_make_the_folder(write, presets):
    write("x.yaml", EXPERIMENT)
    experiment = load("x.yaml")
    assert experiment.folder == Path("/data/team/me/first")
    assert (experiment.framework, experiment.config, experiment.model) == ("megatron", "trainer.yaml", "small")
    assert str(experiment.header["model"].origin) == "x.yaml:10"


def test_sources_are_in_the_order_of_precedence(write, presets):
    write("base.yaml", "exp_name: b")
    write("x.yaml", "bases: base.yaml\n" + EXPERIMENT)
    assert load("x.yaml").sources == ("trainer.yaml", "small.yaml", "base.yaml", "x.yaml")


def test_what_the_file_leaves_out_comes_from_the_defaults(write):
    write("my.run.yaml", "modules: {pre_trainer: {framework: megatron}}")
    experiment = load("my.run.yaml", environ={"TEAM": "t"})
    assert str(experiment.folder) == "output/t/root/my.run"
    assert experiment.header["workspace"].origin.name == str(configs_dir() / "defaults.yaml")
    assert experiment.header["work_group"].origin.variables == ("TEAM",)


def test_loading_creates_nothing(write, presets, here):
    write("x.yaml", EXPERIMENT)
    before = sorted(os.listdir(here))
    load("x.yaml")
    assert sorted(os.listdir(here)) == before


def test_a_toml_without_modules_is_a_job_file_of_torchtitan(write):
    write("job.toml", 'exp_name = "x"\n[training]\nsteps = 5\n[model]\nname = "llama3"\n')
    experiment = load("job.toml")
    assert experiment.framework == "torchtitan"
    assert experiment.exp_name == "x"
    assert experiment.plain() == {"training": {"steps": 5}, "model": {"name": "llama3"}}
    assert experiment.find("training.steps").path == "training.steps"


def test_a_job_file_may_inherit(write):
    write("base.toml", "[training]\nsteps = 5\nseq_len = 8\n")
    write("job.toml", 'bases = ["base.toml"]\n[training]\nsteps = 6\n')
    assert load("job.toml").plain() == {"training": {"steps": 6, "seq_len": 8}}


def test_the_backend_option_decides_for_a_job_file(write):
    write("job.toml", "[training]\nsteps = 5\n")
    assert load("job.toml", framework="mine").framework == "mine"


def test_a_toml_with_modules_is_an_experiment(write):
    write("x.toml", '[modules.pre_trainer]\nframework = "megatron"\n[modules.pre_trainer.overrides]\nlr = 1\n')
    experiment = load("x.toml")
    assert (experiment.framework, experiment.plain()) == ("megatron", {"lr": 1})


def test_a_file_without_framework_takes_the_option_then_the_variable_then_megatron(write):
    write("x.yaml", "modules: {pre_trainer: {}}")
    assert load("x.yaml", framework="a", environ={"BACKEND": "b"}).framework == "a"
    assert load("x.yaml", environ={"BACKEND": "b"}).framework == "b"
    assert load("x.yaml", environ={}).framework == "megatron"


def test_a_backend_option_against_the_file_is_wrong_usage(write):
    write("x.yaml", "modules: {pre_trainer: {framework: megatron}}")
    with pytest.raises(UsageError, match=r"x.yaml:1 says framework: megatron, but --backend torchtitan was given"):
        load("x.yaml", framework="torchtitan")


def test_a_section_left_empty_is_an_empty_section(write):
    write("x.yaml", "modules:\n  pre_trainer:\n    framework: megatron\n    model:\n    overrides:\n")
    assert load("x.yaml").plain() == {}


def test_a_platform_section_is_answered_with_a_warning(write):
    write("x.yaml", "platform: {config: platform_azure.yaml}\nmodules: {pre_trainer: {framework: megatron}}")
    [warning] = load("x.yaml").warnings
    assert warning.severity == "warning"
    assert str(warning).startswith("x.yaml:1: platform: has no effect here: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.yaml:1: not an experiment: it has no `modules:` section with `pre_trainer:` in it"),
        ("lr: 1\nmodules: {pre_trainer: {}}", "x.yaml:1: lr: unknown key at the top of an experiment. Keys of the "
         "framework belong under modules.pre_trainer.overrides."),
        ("work_grup: a\nmodules: {pre_trainer: {}}", "x.yaml:1: work_grup: unknown key at the top of an experiment. "
         "Did you mean work_group?"),
        ("modules: {pre_trainer: {overides: {}}}", "modules.pre_trainer.overides: unknown key of a module. Did you "
         "mean overrides?"),
        ("modules: {pre_trainer: {lr: 1}}", "unknown key of a module. Keys of the framework belong under overrides."),
        ("modules: {pretrainer: {}}", "x.yaml:1: modules.pretrainer: unknown module; Primus trains `pre_trainer` only. "
         "Did you mean pre_trainer?"),
        ("modules: {}", "x.yaml:1: modules: has no `pre_trainer:` section"),
        ("modules: [a]", "x.yaml:1: modules: expected a section with `pre_trainer:` in it"),
        ("modules: {pre_trainer: 5}", "modules.pre_trainer: expected a section with framework, config, model"),
        ("modules: {pre_trainer: {overrides: 5}}", "overrides: expected a section with keys of the framework"),
        ("modules: {pre_trainer: {framework: [a]}}", "framework: expected the name of a backend, got ['a']"),
        ("modules: {pre_trainer: {model: 5}}", "model: expected the name of a preset or a file, got 5"),
        ("modules: {pre_trainer: {model: {a: 1}}}", "model: expected a single value, not a section"),
        ("modules: {pre_trainer: {effective: 1}}", "effective: expected true or false"),
        ("modules: {pre_trainer: {model: nope}}", "x.yaml:1: modules.pre_trainer.model: no file 'nope' beside it, and "
         "no shipped model preset of that name."),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_error_that_says_where_things_belong(problems_of, text, expected):
    assert any(expected in problem for problem in problems_of(text))


@pytest.mark.parametrize("key", ["work_group", "user_name", "exp_name"])
@pytest.mark.parametrize("name", ["a/b", "..", ".", "a\\\\b", "", "  ", "a\\0b", "a\\nb", " a", "/etc", "x" * 300])
def test_a_name_that_can_not_be_one_folder_is_an_error(problems_of, key, name):
    [problem] = problems_of(f'{key}: "{name}"\nmodules: {{pre_trainer: {{}}}}')
    assert problem.startswith(f"x.yaml:1: {key}: ")


@pytest.mark.parametrize("value", ["null", "[a]", "{a: 1}"])
def test_a_name_must_be_text(problems_of, value):
    assert problems_of(f"exp_name: {value}\nmodules: {{pre_trainer: {{}}}}")


def test_a_workspace_with_a_tilde_is_refused_since_nothing_replaces_it(problems_of):
    [problem] = problems_of("workspace: ~/runs\nmodules: {pre_trainer: {}}")
    assert problem == "x.yaml:1: workspace: ~ is not replaced in '~/runs'; write ${HOME}"


def test_problems_of_every_file_and_option_come_at_once(write):
    write("trainer.yaml", "lr: ${NOPE}\nlr: 1\n")
    write("small.yaml", "a: [1\n")
    write("x.yaml", EXPERIMENT + "      seed: ${ALSO}\nextra: 1\n")
    with pytest.raises(ExperimentError) as caught:
        load("x.yaml", sets=["a"], environ={})
    found = [str(problem) for problem in caught.value.problems]
    for start in ("trainer.yaml:1:", "trainer.yaml:2:", "small.yaml:", "x.yaml:13:", "x.yaml:14:", "--set a:"):
        assert any(problem.startswith(start) for problem in found), (start, found)


def test_a_missing_file_is_missing(here):
    with pytest.raises(MissingError, match=r"there is no file nope.yaml, and no shipped experiment of that name"):
        load("nope.yaml")


def test_a_folder_is_wrong_usage(here):
    with pytest.raises(UsageError, match=r"is a folder; name an experiment file in it"):
        load(here)


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_an_impossible_file_name_is_wrong_usage(here, name):
    with pytest.raises(UsageError):
        load(name)


def test_a_name_longer_than_the_file_system_allows_is_missing(here):
    with pytest.raises(MissingError):
        load("x" * 5000)


def test_another_suffix_is_an_error_that_lists_the_good_ones(here):
    (here / "x.json").write_text("{}")
    with pytest.raises(ExperimentError, match=r"x.json: expected a file that ends in .yaml, .yml, .toml"):
        load("x.json")


def test_a_file_that_is_not_utf_8_has_the_line(here):
    (here / "x.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ExperimentError, match=r"x.yaml:2: not UTF-8 text \(byte 0xff\)"):
        load("x.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(here):
    (here / "x.yaml").write_bytes(b"\xef\xbb\xbfmodules: {pre_trainer: {overrides: {lr: 1}}}")
    assert load("x.yaml").plain() == {"lr": 1}


def test_a_file_of_many_megabytes_is_refused_without_being_parsed(here):
    (here / "x.yaml").write_bytes(b"#" * (5 * 1024 * 1024))
    with pytest.raises(ExperimentError, match="larger than 4 MiB; this is not an experiment file"):
        load("x.yaml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_missing(write):
    write("x.yaml", "a: 1").chmod(0)
    with pytest.raises(MissingError, match=r"x.yaml: can't be read: Permission denied"):
        load("x.yaml")


def test_an_experiment_can_come_through_a_pipe(here):
    os.mkfifo(here / "x.yaml")
    pid = os.fork()
    if pid == 0:
        (here / "x.yaml").write_text("modules: {pre_trainer: {overrides: {lr: 1}}}")
        os._exit(0)
    assert load("x.yaml").plain() == {"lr": 1}
    os.waitpid(pid, 0)
