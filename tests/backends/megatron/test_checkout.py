"""A Megatron-LM checkout in place of Primus' own loop: what is read of its parser, and what is made for it.

The checkout is the stand-in beside this file; nothing of it is imported here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.checkout import CheckoutBackend
from primus.backends.megatron.checkout.arguments import Start, Unspellable, spell, start_arguments
from primus.backends.megatron.checkout.option import Option
from primus.backends.megatron.checkout.options import read_options
from primus.backends.megatron.checkout.sources import Sources
from primus.backends.prepare import Prepared, prepare
from primus.errors import MissingError
from primus.experiment import Experiment
from primus.job import Job, Resources

STAND_IN = Path(__file__).parent / "stand_in"
PLACE = "megatron/training/arguments.py:"

Make = Callable[..., Experiment]


@pytest.fixture
def prepared(experiment: Make) -> Callable[..., Prepared]:
    """The tiny experiment with changes, checked against the stand-in."""

    def make(**changes: Any) -> Prepared:
        experiment(**changes)
        return prepare("exp.yaml", resources=Resources(), environ={"MEGATRON_PATH": str(STAND_IN)})

    return make


@pytest.fixture
def errors(prepared: Callable[..., Prepared]) -> Callable[..., list[str]]:
    return lambda **changes: [str(problem) for problem in prepared(**changes).errors]


def plan(prepared: Prepared, accelerator: str = "cpu") -> Job:
    resources = Resources(accelerator=accelerator)
    return prepared.backend.plan(prepared.usable(), resources, run_dir=Path("/runs/1"), resume="auto")


def arguments(prepared: Prepared, accelerator: str = "cpu") -> list[str]:
    return plan(prepared, accelerator).files["pretrain_gpt.args"].splitlines()


def option(name: str) -> Option:
    return next(each for each in read_options(Sources(STAND_IN)).found if name in each.names)


def test_without_the_variable_primus_own_loop_trains() -> None:
    assert BACKEND.variant({}) is BACKEND
    assert BACKEND.variant({"MEGATRON_PATH": ""}) is BACKEND


@pytest.mark.parametrize("files", [(), ("pretrain_gpt.py",)])
def test_a_folder_that_is_no_checkout_is_told_apart(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(MissingError, match=r"\$MEGATRON_PATH: .* is no Megatron-LM checkout"):
        BACKEND.variant({"MEGATRON_PATH": str(tmp_path)}).schema()


@pytest.mark.parametrize(
    ("name", "dest", "kind", "kind_of_value"),
    [
        ("--lr", "lr", "store", "float"),
        ("--swiglu", "swiglu", "true", "str"),
        ("--no-rope-fusion", "apply_rope_fusion", "false", "str"),
        ("--overlap", "overlap", "boolean", "str"),
        ("--freeze", "freeze", "append", "str"),
        ("--moe-layer-freq", "moe_layer_freq", "store", "pattern"),
        ("--norm-epsilon", "layernorm_epsilon", "store", "float"),
        ("--disable-bias-linear", "add_bias_linear", "false", "str"),
        ("--disable-bias-dropout-fusion", "bias_dropout_fusion", "false", "str"),
        ("--sequence-parallel", "sequence_parallel", "true", "str"),
        ("--spans", "spans", "store", "int"),
        ("--num-layers", "num_layers", "store", "int"),
    ],
)
def test_options_are_read_from_calls_and_from_dataclasses(name: str, dest: str, kind: str, kind_of_value: str) -> None:
    found = option(name)
    assert (found.dest, found.kind, found.type) == (dest, kind, kind_of_value)


def test_choices_come_from_lists_literals_and_enums() -> None:
    assert option("--tokenizer-type").choices == ("NullTokenizer", "HuggingFaceTokenizer", "SFTTokenizer")
    assert option("--normalization").choices == ("LayerNorm", "RMSNorm")
    assert option("--attention-backend").choices == ("quick", "exact")


def test_an_option_knows_where_it_stands_and_what_it_is_for() -> None:
    found = option("--only-here")
    assert found.where == "megatron/training/more_arguments.py:6"
    assert (found.help, found.default) == ("A number of this checkout.", 0.5)


def test_fields_that_are_excluded_or_computed_are_no_options() -> None:
    names = {each.dest for each in read_options(Sources(STAND_IN)).found}
    assert not names & {"inner", "built"}


def test_what_only_running_the_code_could_tell_is_named(prepared: Callable[..., Prepared]) -> None:
    warning = next(str(problem) for problem in prepared().warnings if "can't be read" in problem.message)
    assert warning.startswith("$MEGATRON_PATH: ")
    assert PLACE in warning
    assert "f'--{name}-batch'" in warning


def test_the_arguments_of_an_experiment(prepared: Callable[..., Prepared]) -> None:
    """Golden: what the tiny experiment becomes on a CPU."""
    given = {"moe_layer_freq": [0, 1, 1, 1], "window_size": [8, 0], "data_path": "0.3 a 0.7 b", "mock_data": None}
    found = prepared(**given, split="9,1,0", bias_dropout_fusion=False, only_here=1e-05, save_interval=5)
    assert arguments(found) == [
        "--disable-bias-linear",
        "--no-align-param-gather",
        "--no-rope-fusion",
        "--no-bias-dropout-fusion",
        "--data-path 0.3 a 0.7 b",
        "--distributed-backend gloo",
        "--eval-interval 20",
        "--eval-iters 0",
        "--exit-signal-handler",
        "--ffn-hidden-size 128",
        "--global-batch-size 8",
        "--hidden-size 64",
        "--lr 0.001",
        "--max-position-embeddings 64",
        "--micro-batch-size 2",
        "--num-attention-heads 4",
        "--num-layers 4",
        "--only-here 1e-05",
        "--position-embedding-type rope",
        "--save-interval 5",
        "--seq-length 64",
        "--split 9,1,0",
        "--swiglu",
        "--tokenizer-type NullTokenizer",
        "--train-iters 20",
        "--transformer-impl local",
        "--use-cpu-initialization",
        "--vocab-size 256",
        "--window-size 8,0",
    ]


def test_a_gpu_needs_no_gloo(prepared: Callable[..., Prepared]) -> None:
    assert not {"--distributed-backend gloo", "--transformer-impl local"} & set(arguments(prepared(), "nvidia"))


def test_saving_at_the_end_only_is_an_interval_of_all_steps(prepared: Callable[..., Prepared]) -> None:
    assert "--save-interval 20" in arguments(prepared())


def test_a_default_that_the_checkout_does_not_share_is_passed(prepared: Callable[..., Prepared]) -> None:
    assert BACKEND.schema().keys["apply_rope_fusion"].default is False
    assert "--no-rope-fusion" in arguments(prepared())
    assert option("--no-rope-fusion").default is True


def test_a_key_without_effect_is_left_out(prepared: Callable[..., Prepared]) -> None:
    assert "--rope-scaling-factor 2.0" not in arguments(prepared(rope_scaling_factor=2.0))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("--freeze", ["a", "b c"], ["--freeze", "a", "--freeze", "b c"]),
        ("--overlap", True, ["--overlap"]),
        ("--overlap", False, ["--no-overlap"]),
        ("--sequence-parallel", False, []),
        ("--disable-bias-linear", True, []),
        ("--disable-bias-linear", False, ["--disable-bias-linear"]),
        ("--lr", 1e-05, ["--lr", "1e-05"]),
        ("--lr", 0.1 + 0.2, ["--lr", "0.30000000000000004"]),
        ("--lr", -1.0, ["--lr", "-1.0"]),
        ("--split", "-x", ["--split=-x"]),
        ("--spans", [1, 2], ["--spans", "1", "2"]),
        ("--moe-layer-freq", [0, 1, 1], ["--moe-layer-freq", "[0,1,1]"]),
        ("--moe-layer-freq", "[0]*2+[1]", ["--moe-layer-freq", "[0]*2+[1]"]),
        ("--spans", 3, ["--spans", "3"]),
        ("--rampup-batch-size", [1, 2, 3], ["--rampup-batch-size", "1", "2", "3"]),
    ],
)
def test_a_value_is_spelled_as_its_option_reads_it(name: str, value: Any, words: list[str]) -> None:
    assert spell(option(name).dest, value, [option(name)]) == words


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("--bf16", True, None),
        ("--disable-bias-dropout-fusion", True, None),
        ("--rampup-batch-size", [1], "takes 3 values, not 1"),
        ("--spans", [], "takes at least one value"),
    ],
)
def test_a_value_that_no_option_can_say_is_refused(name: str, value: Any, reason: str | None) -> None:
    if reason is None:
        spell(option(name).dest, value, [option(name)])
        return
    with pytest.raises(Unspellable, match=reason):
        spell(option(name).dest, value, [option(name)])


def test_all_problems_come_together_with_their_places(errors: Callable[..., list[str]]) -> None:
    found = errors(only_heer=1.0, normalization="Batch", rampup_batch_size=[1, 2], attention_backend="flash")
    start = r"exp.yaml:"
    assert all(line.startswith(start) for line in found)
    text = "\n".join(found)
    assert "only_heer: unknown key. Did you mean only_here?" in text
    assert "normalization: expected one of LayerNorm, RMSNorm or null, got Batch" in text
    assert "rampup_batch_size: --rampup-batch-size takes 3 values, not 2." in text
    assert "attention_backend: expected one of quick, exact or null, got flash" in text


def test_what_primus_own_loop_lacks_is_taken_when_the_parser_knows_it(errors: Callable[..., list[str]]) -> None:
    assert BACKEND.schema().answers["rampup_batch_size"].action == "refuse"
    assert not errors(rampup_batch_size=[4, 4, 100])


def test_what_the_parser_lacks_is_refused_unless_it_changes_nothing(errors: Callable[..., list[str]]) -> None:
    assert not errors(overlap_grad_reduce=False)
    assert "has no such option" in "\n".join(errors(decoupled_lr=0.5))


def test_an_option_that_depends_on_a_package_is_refused(errors: Callable[..., list[str]]) -> None:
    assert "there only if os.environ.get('WITH_KITCHEN')" in "\n".join(errors(kitchen_config_file="x"))


@pytest.mark.parametrize(("key", "value"), [("save", "/x"), ("train_samples", 5), ("use_checkpoint_args", True)])
def test_what_primus_decides_stays_decided(prepared: Callable[..., Prepared], key: str, value: Any) -> None:
    assert any(f".{key}: " in str(problem) for problem in prepared(**{key: value}).problems)


def test_keys_of_primus_loop_are_warned_of_or_refused(prepared: Callable[..., Prepared]) -> None:
    assert any("keeps every checkpoint" in each.message for each in prepared(keep_last=3).warnings)
    assert any("only Primus' own loop can skip" in each.message for each in prepared(on_nan="skip").errors)


def test_keys_of_reports_are_primus_own(prepared: Callable[..., Prepared]) -> None:
    found = prepared(disable_tensorboard=False, log_avg_reset_interval=5)
    assert not [line for line in arguments(found) if "tensorboard" in line or "avg" in line]


def test_the_plan_names_the_checkout_and_shows_the_arguments(prepared: Callable[..., Prepared]) -> None:
    job = plan(prepared())
    assert job.module == "primus.backends.megatron.checkout.worker"
    assert {"MEGATRON_PATH": str(STAND_IN)}.items() <= {each.name: each.value for each in job.environment}.items()
    assert job.shown == {f"Arguments of {STAND_IN}/pretrain_gpt.py": job.files["pretrain_gpt.args"]}


def test_another_version_than_the_installed_core_is_warned_of(experiment: Make, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(STAND_IN, checkout)
    (checkout / "megatron/core").mkdir()
    (checkout / "megatron/core/package_info.py").write_text("MAJOR = 99\nMINOR = 1\nPATCH = 0\n")
    experiment()
    found = prepare("exp.yaml", environ={"MEGATRON_PATH": str(checkout)})
    assert any("the checkout is of version 99.1.0, the installed megatron-core" in p.message for p in found.warnings)


def test_the_newest_checkpoint_is_the_tracker_s(experiment: Make) -> None:
    backend, asked = CheckoutBackend(STAND_IN), experiment()
    assert backend.newest_checkpoint(asked) is None
    folder = asked.folder / "checkpoints"
    for step in (5, 10):
        (folder / f"iter_{step:07d}").mkdir(parents=True)
    assert backend.newest_checkpoint(asked) is None
    (folder / "latest_checkpointed_iteration.txt").write_text("5")
    assert backend.newest_checkpoint(asked) == folder / "iter_0000005"


def test_an_own_checkpoint_is_loaded_or_training_fails() -> None:
    start = Start(own=Path("/c"), resumes=True)
    given = {"load": "/other", "finetune": True}
    assert start_arguments(given, start) == ["--save", "/c", "--load", "/c", "--exit-on-missing-checkpoint"]


def test_another_experiment_s_checkpoint_counts_where_there_is_no_own() -> None:
    start = Start(own=Path("/c"), resumes=False)
    assert start_arguments({}, start) == ["--save", "/c"]
    words = start_arguments({"load": "/other", "finetune": True, "ckpt_step": 7}, start)
    assert words[2:] == ["--load", "/other", "--exit-on-missing-checkpoint", "--ckpt-step", "7", "--finetune"]
