import pytest

from primus.experiment import load


def test_a_set_option_is_typed_like_yaml_1_2(overrides):
    sets = ["lr=1e-4", "steps=5", "flag=true", "word=no", "time=4:00:00", "none=null", "text='1e-4'", "list=[1, 2e3]"]
    experiment = overrides("lr: 1", sets=sets)
    assert experiment.plain() == {
        "lr": 1e-4, "steps": 5, "flag": True, "word": "no", "time": "4:00:00", "none": None, "text": "1e-4",
        "list": [1, 2000.0],
    }  # fmt: skip


def test_the_value_may_hold_anything_that_plain_text_may(overrides):
    sets = ["a=b=c", "b=x: y # z", "c= spaced out ", "d=*star", "e=- dash", 'f=""', "g=$HOME"]
    assert overrides("z: 1", sets=sets).plain() == {
        "z": 1, "a": "b=c", "b": "x: y # z", "c": "spaced out", "d": "*star", "e": "- dash", "f": "", "g": "$HOME",
    }  # fmt: skip


def test_variables_are_replaced_as_in_a_file(overrides):
    assert overrides("a: 1", sets=["a=${X}", "b='${X}'"], environ={"X": "5"}).plain() == {"a": 5, "b": "5"}


def test_a_dotted_key_reaches_into_sections(overrides):
    experiment = overrides("training: {steps: 1, seq_len: 2}", sets=["training.steps=5", "model.name=x"])
    assert experiment.plain() == {"training": {"steps": 5, "seq_len": 2}, "model": {"name": "x"}}


def test_a_mapping_is_merged_into_its_section(overrides):
    experiment = overrides("training: {steps: 1, seq_len: 2}", sets=["training={steps: 5}"])
    assert experiment.plain() == {"training": {"steps": 5, "seq_len": 2}}


def test_the_long_form_is_the_same_key(overrides):
    assert overrides("lr: 1", sets=["modules.pre_trainer.overrides.lr=2"]).plain() == {"lr": 2}


def test_names_of_the_experiment_can_be_set(overrides):
    experiment = overrides("lr: 1", sets=["exp_name=0123", "workspace=/w", "work_group=g", "user_name=u"])
    assert str(experiment.folder) == "/w/g/u/0123"


def test_the_presets_can_be_set(overrides, write):
    write("small.yaml", "layers: 2")
    assert overrides("lr: 1", sets=["modules.pre_trainer.model=small"]).plain() == {"layers": 2, "lr": 1}


def test_the_last_of_two_options_for_one_key_wins_and_knows_the_other(overrides):
    value = overrides("lr: 1", sets=["lr=2", "lr=3"]).find("lr")
    assert (value.data, str(value.origin), str(value.replaced.origin)) == (3, "--set lr=3", "--set lr=2")
    assert str(value.replaced.replaced.origin) == "x.yaml:5"


def test_the_path_in_a_message_is_the_one_that_was_written(overrides):
    assert overrides("lr: 1", sets=["lr=2"]).find("lr").path == "lr"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("lr", "--set lr: expected KEY=VALUE, for instance lr=1e-4 or training.steps=10"),
        ("=1", "--set =1: expected KEY=VALUE"),
        ("a..b=1", "--set a..b=1: expected KEY=VALUE"),
        ("lr=", '--set lr=: lr: no value after the equals sign; write null for none, "" for empty text'),
        ("a=[1", "--set a=[1: a: not valid YAML: "),
        ("a='x", "--set a='x: a: not valid YAML: "),
        ("a={b: 1}}", "--set a={b: 1}}: a: not valid YAML: "),
        ("a=[${X}]", "--set a=[${X}]: a: not valid YAML: "),
        ("a=${X}", "--set a=${X}: a: the environment variable X is not set"),
        ("a=" + "9" * 5000, "too large"),
        ("a=\udcff", "--set 'a=\\udcff': the option is not valid UTF-8"),
        ("training=5", "--set training=5: training: is a single value here, but a section in x.yaml:5"),
        ("exp_name=../x", "--set exp_name=../x: exp_name: '../x' can't be the name of a folder"),
        ("modules.trainer.overrides.lr=1", "modules.trainer: unknown module; Primus trains `pre_trainer` only."),
    ],
)
def test_a_bad_option_is_an_error(problems_of, option, expected):
    text = "modules:\n  pre_trainer:\n    framework: torchtitan\n    overrides:\n      training: {steps: 1}\n"
    assert any(expected in problem for problem in problems_of(text, sets=[option]))


def test_all_bad_options_are_reported_together(problems_of):
    text = "modules: {pre_trainer: {framework: megatron}}"
    assert len(problems_of(text, sets=["a", "b=", "c=[", "d=1"])) == 3


def test_an_option_of_a_bare_job_file_may_use_the_short_and_the_long_form(write):
    write("job.toml", "[training]\nsteps = 1\n")
    experiment = load("job.toml", sets=["training.steps=2", "modules.pre_trainer.overrides.training.seq_len=3"])
    assert experiment.plain() == {"training": {"steps": 2, "seq_len": 3}}
