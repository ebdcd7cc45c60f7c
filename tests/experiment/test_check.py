import pytest

from primus.experiment import Schema, check, load, resolve
from primus.experiment.schema import Key


@pytest.fixture
def found(overrides, schema):
    """The problems of these overrides against the small schema, as printed without file and section."""

    def found(text: str, **options) -> list[str]:
        problems = check(overrides(text, **options), schema)
        return [f"{problem.severity}: {problem}".replace("modules.pre_trainer.overrides.", "") for problem in problems]

    return found


def test_a_good_experiment_has_no_problems(found):
    assert found("lr: 1e-4\nmicro_batch_size: 2\noptimizer: sgd\nwindow: [-1, 0]\ntraining: {steps: 5}\n") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("micro_batch_szie: 4", "x.yaml:5: micro_batch_szie: unknown key. Did you mean micro_batch_size?"),
        ("Micro-Batch-Size: 4", "Did you mean micro_batch_size?"),
        ("trainng: {steps: 4}", "x.yaml:5: trainng.steps: unknown key. Did you mean training.steps?"),
        ("steps: 4", "x.yaml:5: steps: unknown key. Did you mean training.steps?"),
        ("data: {seq_len: 4}", "x.yaml:5: data.seq_len: unknown key. Did you mean training.seq_len?"),
        ("training: {lr: 4}", "x.yaml:5: training.lr: unknown key. Did you mean lr?"),
        ("layernorm_epsilo: 4", "Did you mean norm_epsilon?"),
        ("zzzzzz: 4", "x.yaml:5: zzzzzz: unknown key."),
        ("zzzzzz: {}", "x.yaml:5: zzzzzz: unknown key."),
        ("lr: {x: 4}", "x.yaml:5: lr.x: unknown key: lr is a single value, not a section"),
        ("lr: {}", "x.yaml:5: lr: expected a number or null, got a section"),
        ("training: 5", "x.yaml:5: training: is a section, with keys such as training.steps, training.seq_len;"),
        ("training:", "x.yaml:5: training: is a section"),
        ("lr: 1e-4x", "x.yaml:5: lr: expected a number or null, got the text 1e-4x"),
        ("lr: 0", "x.yaml:5: lr: expected more than 0, got 0"),
        ("optimizer: adm", "x.yaml:5: optimizer: expected one of adam, sgd, got adm. Did you mean adam?"),
        ("training: {steps: ten}", "x.yaml:5: training.steps: expected a whole number, got the text ten"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_an_error_with_its_place(found, text, message):
    [problem] = found(text)
    assert problem.startswith("error: ")
    assert message in problem


def test_all_problems_come_at_once(found):
    assert len(found("lr: x\nzzzz: 1\noptimizer: y\ntraining: {steps: 0}\nlora: {dim: 1}\n")) == 5


def test_a_problem_in_a_preset_has_the_place_and_key_there(write, schema):
    write("small.yaml", "\nlrr: 1")
    write("x.yaml", "modules: {pre_trainer: {framework: megatron, model: small}}")
    assert [str(problem) for problem in check(load("x.yaml"), schema)] == [
        "small.yaml:2: lrr: unknown key. Did you mean lr?"
    ]


def test_a_problem_in_an_option_names_the_option(overrides, schema):
    problems = check(overrides("lr: 1", sets=["trainng.steps=3"]), schema)
    assert [str(problem) for problem in problems] == [
        "--set trainng.steps=3: trainng.steps: unknown key. Did you mean training.steps?"
    ]


def test_a_value_from_a_variable_names_the_variable(overrides, schema):
    [problem] = check(overrides("lr: ${RATE}", environ={"RATE": "fast"}), schema)
    assert str(problem).endswith("lr: expected a number or null, got the text fast (from $RATE)")


def test_a_key_of_another_backend_says_whose_it_is(overrides, schema):
    other = Schema(backend="other", version="1", keys={"model.flavor": Key(name="model.flavor", types=("str",))})
    [problem] = check(overrides("model: {flavor: 8B}"), schema, [other])
    assert problem.message == "unknown key of small; it belongs to other."


def test_numbers_get_the_type_that_the_schema_wants(overrides, schema):
    experiment, problems = resolve(overrides("lr: 1\nweights: [1, 0.5]\nbf16: '${B:true}'\n"), schema)
    assert problems == []
    assert experiment.plain() == {"lr": 1.0, "weights": [1.0, 0.5], "bf16": True}
    assert type(experiment.find("lr").data) is float


def test_below_a_table_every_key_is_free(overrides, schema):
    experiment, problems = resolve(overrides("extra: {any: {thing: 1}, b: [x]}"), schema)
    assert problems == []
    assert experiment.plain() == {"extra": {"any": {"thing": 1}, "b": ["x"]}}
    assert resolve(overrides("extra: {}"), schema)[0].plain() == {"extra": {}}


def test_an_empty_section_changes_nothing(overrides, schema):
    experiment, problems = resolve(overrides("training: {}\nquantize: {float8: {}}\nlr: 1"), schema)
    assert problems == []
    assert experiment.plain() == {"lr": 1.0}


def test_a_renamed_key_is_moved_with_a_warning_that_shows_the_new_line(overrides, schema):
    experiment, [problem] = resolve(overrides("layernorm_epsilon: 1e-6"), schema)
    assert experiment.plain() == {"norm_epsilon": 1e-6}
    assert problem.severity == "warning"
    assert problem.message == "An older name. Write `norm_epsilon: 1e-06`."
    assert str(experiment.find("norm_epsilon").origin) == "x.yaml:5"


def test_a_key_renamed_twice_gets_its_last_name(overrides, schema):
    experiment, [problem] = resolve(overrides("training: {length: 8}"), schema)
    assert experiment.plain() == {"training": {"seq_len": 8}}
    assert problem.message == "Was renamed. Again. Write `training.seq_len: 8`."


def test_a_renamed_section_moves_each_of_its_keys(overrides, schema):
    experiment, problems = resolve(overrides("float8: {enable: true, recipe: tensorwise}"), schema)
    assert experiment.plain() == {"quantize": {"float8": {"enable": True, "recipe": "tensorwise"}}}
    assert [problem.severity for problem in problems] == ["warning", "warning"]


def test_an_unknown_key_of_a_renamed_section_is_unknown(found):
    [problem] = found("float8: {enabel: true}")
    assert problem == "error: x.yaml:5: float8.enabel: unknown key. Did you mean quantize.float8.enable?"


def test_a_renamed_switch_may_turn_around(overrides, schema):
    assert resolve(overrides("no_bf16: true"), schema)[0].plain() == {"bf16": False}
    assert resolve(overrides("no_bf16: '${X:false}'"), schema)[0].plain() == {"bf16": True}


def test_a_renamed_value_is_checked_like_any_other(found):
    assert [problem for problem in found("no_bf16: 1") if problem.startswith("error")] == [
        "error: x.yaml:5: no_bf16: expected true or false, got 1"
    ]


def test_an_old_and_a_new_name_in_one_file_contradict_each_other(found):
    problems = found("norm_epsilon: 1e-5\nlayernorm_epsilon: 1e-6")
    assert [problem for problem in problems if problem.startswith("error")] == [
        "error: x.yaml:5: norm_epsilon: is also given as layernorm_epsilon (x.yaml:6); keep one of them"
    ]


@pytest.mark.parametrize(
    ("preset", "own"), [("norm_epsilon", "layernorm_epsilon"), ("layernorm_epsilon", "norm_epsilon")]
)
def test_between_files_the_later_wins_under_whichever_name(write, schema, preset, own):
    write("small.yaml", f"{preset}: 1e-5")
    write("x.yaml", f"modules: {{pre_trainer: {{framework: megatron, model: small, overrides: {{{own}: 1e-6}}}}}}")
    experiment, problems = resolve(load("x.yaml"), schema)
    assert [problem.severity for problem in problems] == ["warning"]
    assert experiment.plain() == {"norm_epsilon": 1e-6}
    assert str(experiment.find("norm_epsilon").replaced.origin) == "small.yaml:1"


def test_an_option_wins_over_a_file_under_whichever_name(overrides, schema):
    experiment = resolve(overrides("layernorm_epsilon: 1e-5", sets=["norm_epsilon=1e-6"]), schema)[0]
    assert experiment.plain() == {"norm_epsilon": 1e-6}


def test_a_key_answered_with_a_warning_is_left_out(overrides, schema):
    experiment, [problem] = resolve(overrides("turbo: true\nlr: 1"), schema)
    assert experiment.plain() == {"lr": 1.0}
    assert (problem.severity, problem.message) == ("warning", "Only speed is lost. Primus goes on without it.")


@pytest.mark.parametrize("text", ["turbo: false", "turbo: null", "turbo: '${T:false}'", "sliding: 0"])
def test_a_harmless_value_needs_no_answer(overrides, schema, text):
    experiment, problems = resolve(overrides(text), schema)
    assert (experiment.plain(), problems) == ({}, [])


def test_a_refused_key_is_an_error(found):
    assert found("sliding: 4") == ["error: x.yaml:5: sliding: The model would differ."]


def test_an_answer_for_a_section_holds_for_everything_in_it(found):
    assert found("lora: {dim: 8, more: {alpha: 1}}") == [
        "error: x.yaml:5: lora.dim: Fine-tuning is not supported.",
        "error: x.yaml:5: lora.more.alpha: Fine-tuning is not supported.",
    ]


def test_a_key_that_a_rename_moves_below_a_value_is_an_error(overrides, schema):
    broken = {"a": Key(name="a", types=("table", "int")), "a.b": Key(name="a.b", types=("int",))}
    answers = {"old": schema.answers["layernorm_epsilon"].__class__(action="renamed", message="m", to="a.b")}
    experiment = overrides("a: 5\nold: 1")
    problems = check(experiment, Schema(backend="x", version="1", keys=broken, answers=answers))
    assert any("goes into the section a, which is a single value in x.yaml:5" in str(each) for each in problems)


def test_further_checks_only_see_values_that_fit(overrides, schema):
    experiment, problems = resolve(overrides("lr: fast\nzzzz: 1\nmicro_batch_size: 2"), schema)
    assert len(problems) == 2
    assert experiment.plain() == {"micro_batch_size": 2}


def test_the_experiment_itself_is_not_changed(overrides, schema):
    experiment = overrides("layernorm_epsilon: 1\nturbo: true\nlr: 1")
    before = experiment.plain()
    resolve(experiment, schema)
    assert experiment.plain() == before == {"layernorm_epsilon": 1, "turbo": True, "lr": 1}
