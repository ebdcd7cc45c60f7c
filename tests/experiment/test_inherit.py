import pytest

from primus.experiment import load

RUN = "modules: {pre_trainer: {framework: megatron, overrides: {a: 1}}}\n"


def test_a_later_base_wins_and_the_file_wins_over_all(write):
    write("one.yaml", "exp_name: one\nuser_name: one\nwork_group: one\n")
    write("two.yaml", "exp_name: two\nuser_name: two\n")
    write("x.yaml", "bases: [one.yaml, two.yaml]\nexp_name: x\n" + RUN)
    experiment = load("x.yaml")
    assert (experiment.exp_name, experiment.user_name, experiment.work_group) == ("x", "two", "one")


@pytest.mark.parametrize("key", ["bases", "extends"])
@pytest.mark.parametrize("written", ["base.yaml", "base", "[base.yaml]", "[./sub/../base.yaml]"])
def test_bases_and_extends_take_a_name_or_a_list_with_or_without_suffix(write, key, written):
    write("base.yaml", "exp_name: base")
    write("sub/keep", "")
    write("x.yaml", f"{key}: {written}\n" + RUN)
    assert load("x.yaml").exp_name == "base"


def test_names_with_dots_need_no_suffix(write):
    write("llama3.1_8B.yaml", "exp_name: base")
    write("x.yaml", "bases: llama3.1_8B\n" + RUN)
    assert load("x.yaml").exp_name == "base"


def test_a_base_is_relative_to_the_file_that_names_it(write):
    write("shared/one.yaml", "extends: two.yaml")
    write("shared/two.yaml", "exp_name: two")
    write("x.yaml", "extends: shared/one.yaml\n" + RUN)
    assert load("x.yaml").exp_name == "two"


def test_a_yaml_file_may_inherit_from_toml(write):
    write("base.toml", "[modules.pre_trainer.overrides]\nb = 2\n")
    write("x.yaml", "bases: base\n" + RUN)
    assert load("x.yaml").plain() == {"b": 2, "a": 1}


def test_job_files_and_experiments_may_inherit_from_each_other(write):
    write("job.toml", 'exp_name = "j"\n[training]\nsteps = 1\nseq_len = 1\n')
    write("x.yaml", "bases: job.toml\nmodules: {pre_trainer: {overrides: {training: {steps: 2}}}}")
    write("again.toml", 'bases = "x.yaml"\n[training]\nsteps = 3\n')
    assert (load("x.yaml").framework, load("x.yaml").exp_name) == ("torchtitan", "j")
    assert load("again.toml").plain() == {"training": {"steps": 3, "seq_len": 1}}


def test_presets_inherit_too(write):
    write("base.yaml", "layers: 1\nwidth: 1\n")
    write("model.yaml", "extends: [base]\nlayers: 2\n")
    write("x.yaml", "modules: {pre_trainer: {framework: megatron, model: model}}")
    experiment = load("x.yaml")
    assert experiment.plain() == {"layers": 2, "width": 1}
    assert str(experiment.find("layers").replaced.origin) == "base.yaml:1"


def test_a_base_that_two_bases_share_is_fine(write):
    write("root.yaml", "exp_name: root\nuser_name: root")
    write("left.yaml", "bases: root\nexp_name: left")
    write("right.yaml", "bases: root")
    write("x.yaml", "bases: [left, right]\n" + RUN)
    assert load("x.yaml").exp_name == "root"


@pytest.mark.parametrize("written", ["null", "[]"])
def test_no_bases_are_fine(write, written):
    write("x.yaml", f"bases: {written}\n" + RUN)
    assert load("x.yaml").plain() == {"a": 1}


def test_a_cycle_is_an_error_that_shows_the_chain(write, problems_of):
    write("a.yaml", "bases: b.yaml")
    write("b.yaml", "\nbases: sub/../x.yaml")
    write("sub/keep", "")
    [problem] = problems_of("bases: a.yaml\n" + RUN)
    assert problem == "b.yaml:2: bases: inherits from itself: x.yaml → a.yaml → b.yaml → x.yaml"


def test_a_file_that_names_itself_is_a_cycle(problems_of):
    [problem] = problems_of("bases: x\n" + RUN)
    assert problem == "x.yaml:1: bases: inherits from itself: x.yaml → x.yaml"


def test_a_missing_base_names_the_chain(write, problems_of):
    write("a.yaml", "bases: nope.yaml")
    [problem] = problems_of("bases: a.yaml\n" + RUN)
    assert problem.startswith("a.yaml:1: bases: no file 'nope.yaml' beside it, and no shipped experiment of that name.")
    assert problem.endswith("(inherited through x.yaml → a.yaml)")


@pytest.mark.parametrize("written", ["5", "[1]", "{a: b}", '""', "[[a]]"])
def test_bases_must_be_names(problems_of, written):
    assert problems_of(f"bases: {written}\n" + RUN) == ["x.yaml:1: bases: expected a file name or a list of file names"]


def test_bases_and_extends_in_one_file_are_an_error(write, problems_of):
    write("a.yaml", "exp_name: a")
    assert problems_of("bases: a\nextends: a\n" + RUN) == [
        "x.yaml:2: extends: `bases` is also given (x.yaml:1); keep one"
    ]


def test_a_preset_beside_the_experiment_wins_over_a_shipped_one(write):
    write("llama2_7B.yaml", "layers: 99")
    write("x.yaml", "modules: {pre_trainer: {framework: megatron, model: llama2_7B.yaml}}")
    assert load("x.yaml").plain() == {"layers": 99}


def test_an_experiment_named_like_its_model_finds_the_shipped_model(write):
    write("llama2_7B.yaml", "modules: {pre_trainer: {framework: megatron, model: llama2_7B.yaml}}")
    assert load("llama2_7B.yaml").find("num_layers").data == 32


def test_a_shipped_preset_is_found_with_and_without_suffix(write):
    for name in ("llama2_7B", "llama2_7B.yaml"):
        write("x.yaml", f"modules: {{pre_trainer: {{framework: megatron, model: {name}}}}}")
        assert load("x.yaml").find("num_layers").data == 32


def test_a_misspelt_preset_gets_the_nearest_name(problems_of):
    [problem] = problems_of("modules: {pre_trainer: {framework: megatron, model: lama2_7b.yaml}}")
    assert "Did you mean llama2_7B?" in problem


def test_a_preset_of_another_framework_is_not_found(problems_of):
    [problem] = problems_of("modules: {pre_trainer: {framework: torchtitan, model: llama2_7B}}")
    assert "no shipped model preset of that name" in problem


def test_a_preset_for_a_framework_that_has_none_names_those_that_do(problems_of):
    [problem] = problems_of("modules: {pre_trainer: {framework: torchtatin, config: pre_trainer}}")
    assert "Primus ships no module presets for torchtatin. Did you mean torchtitan?" in problem


def test_a_preset_from_an_option_is_relative_to_the_working_directory(write):
    write("models/small.yaml", "layers: 2")
    write("runs/x.yaml", "modules: {pre_trainer: {framework: megatron}}")
    experiment = load("runs/x.yaml", sets=["modules.pre_trainer.model=models/small.yaml"])
    assert experiment.plain() == {"layers": 2}


def test_a_preset_named_in_a_base_is_relative_to_the_base(write):
    write("shared/small.yaml", "layers: 2")
    write("shared/base.yaml", "modules: {pre_trainer: {model: small.yaml}}")
    write("x.yaml", "bases: shared/base.yaml\nmodules: {pre_trainer: {framework: megatron}}")
    assert load("x.yaml").plain() == {"layers": 2}
