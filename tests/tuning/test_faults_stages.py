"""The faults of the original tuning scripts that concern dumping and training, each with a test that names it. The
table of docs/tuning.md lists all."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from primus.backends import registry
from primus.backends.prepare import prepare
from primus.errors import MissingError, PrimusError, UsageError
from primus.experiment import Experiment
from primus.job import Job, Resources
from primus.launch.render import environment
from primus.launch.stage import Stage
from primus.tuning.choose import stage_of
from primus.tuning.gemm import Gemm
from primus.tuning.installed import Installed
from primus.tuning.place import Place, place_of
from primus.tuning.record import write_record
from primus.tuning.results import Winner, rows_of, write_results
from primus.tuning.shapes import Shapes, Use, read_shapes, write_shapes
from primus.tuning.stage2 import tune_node, tune_request
from primus.tuning.tune import Outcome, TuneRequest
from primus.tuning.use import check_file

MEGATRON = registry.get("megatron")
LINE = (
    "hipblaslt-bench --api_method c -m {m} -n 32 -k 64 --lda 64 --ldb 64 --ldc {m} --ldd {m}  --stride_a 0 "
    "--stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 0.000000 --transA T --transB N --batch_count 1 "
    "--scaleA 0 --scaleB 0  --a_type bf16_r --b_type bf16_r --c_type bf16_r --d_type bf16_r --scale_type f32_r "
    "--bias_type f32_r   --compute_type f32_r --algo_method index --solution_index 7 --activation_type none \n"
)
REVISION = "fa9cdd18"


def experiment(workspace: Path, *sets: str) -> Experiment:
    given = [f"workspace={workspace}", "global_batch_size=null", *sets]
    return prepare("megatron/tiny_llama", sets=given, environ={"USER": "me"}).experiment


def stage(number: int, workspace: Path, *sets: str, environ: dict[str, str] | None = None, **changes) -> Stage:
    given = {
        "steps": 5,
        "force": False,
        "insists_on_checkpoint": False,
        "inside": None,
        "environ": {"PATH": os.environ["PATH"], **(environ or {})},
        "resources": Resources(nproc_per_node=2),
        "backend": MEGATRON,
        "experiment": experiment(workspace, *sets),
    }
    return stage_of(number, **{**given, **changes})


def job(workspace: Path, **resources) -> Job:
    given = Resources(**{"nproc_per_node": 2, **resources})
    return Job(name="toy", backend="toy", module="toy", resources=given, run_dir=workspace / "runs" / "1")


def place(workspace: Path) -> Place:
    return place_of(experiment(workspace), {})


def dump(folder: Path, *rows: int, name: str = "gemm_1.txt") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(LINE.format(m=m) for m in rows))


def workers(made: Stage, workspace: Path, environ: dict[str, str]) -> dict[str, str]:
    """What the workers get."""
    return environment(made.plan(job(workspace)), environ)


def winner(index: int = 7, weight: float = 1.0, **fields) -> Winner:
    sizes = {"m": 128, "n": 32, "k": 64, "trans_a": "T", "a_type": "bf16_r", **fields}
    return Winner(
        gemm=Gemm.single(**sizes),
        solution_index=index,
        microseconds=3.0,
        architecture="gfx942:sramecc+:xnack-",
        compute_units=304,
        weight=weight,
    )


def tuned(where: Place, *winners: Winner, revision: str = REVISION) -> None:
    """A tuning file, and the dump of the same problems."""
    shapes = Shapes()
    for each in winners:
        shapes.add(each.gemm, Use(calls=4, ranks=2))
    write_shapes(where.shapes, shapes)
    write_results(where.results, revision, rows_of(winners, "G2")[0])


@pytest.fixture
def on_rocm(rocm: Path, tmp_path: Path) -> dict[str, str]:
    return {"ROCM_PATH": str(rocm), "HOME": str(tmp_path)}


def test_fault_7_foreign_and_half_written_lines_are_counted_and_not_tuned(tmp_path, capsys):
    made, where = stage(1, tmp_path), place(tmp_path)
    made.begin(job(tmp_path))
    dump(where.node(0), 128, 256)
    with (where.node(0) / "gemm_1.txt").open("a") as file:
        file.write("rocblas-bench -f gemm\n" + LINE.format(m=64)[:90])
    assert made.finish(0) == 0
    assert len(read_shapes(where.shapes).uses) == 2
    assert "1 torn line left out" in (said := capsys.readouterr().err)
    assert "1 lines that are not hipBLASLt's" in said


def test_fault_8_each_process_of_each_node_dumps_into_a_file_of_its_own(tmp_path):
    one = workers(stage(1, tmp_path), tmp_path, {})
    other = workers(stage(1, tmp_path, resources=Resources(nnodes=2, node_rank=1)), tmp_path, {})
    assert one["HIPBLASLT_LOG_FILE"].endswith("/gemm_shape/node0/gemm_%i.txt")
    assert other["HIPBLASLT_LOG_FILE"].endswith("/gemm_shape/node1/gemm_%i.txt")


@pytest.mark.parametrize("level", ["0", "2", ""])
def test_fault_9_a_log_level_in_the_environment_does_not_silence_the_dump(tmp_path, capsys, level):
    environ = {"HIPBLASLT_LOG_LEVEL": level, "HIPBLASLT_LOG_MASK": "1"}
    made = stage(1, tmp_path, environ=environ)
    found = workers(made, tmp_path, environ)
    assert "HIPBLASLT_LOG_LEVEL" not in found
    assert found["HIPBLASLT_LOG_MASK"] == "96"
    made.begin(made.plan(job(tmp_path)))
    said = capsys.readouterr().err
    assert f"HIPBLASLT_LOG_LEVEL={level} is left out" in said
    assert "HIPBLASLT_LOG_MASK=1 gives way to 96" in said


@pytest.mark.parametrize("value", ["", "/some/file"])
def test_fault_10_the_override_file_is_unset_and_not_blanked_while_dumping(tmp_path, value):
    environ = {"HIPBLASLT_TUNING_OVERRIDE_FILE": value}
    assert "HIPBLASLT_TUNING_OVERRIDE_FILE" not in workers(stage(1, tmp_path, environ=environ), tmp_path, environ)


@pytest.mark.parametrize(
    "name",
    [
        *("TE_HIPBLASLT_TUNING", "TE_HIPBLASLT_TUNING_ALGO_COUNT", "TE_HIPBLASLT_ALGO_LOAD", "TE_HIPBLASLT_ALGO_SAVE"),
        *("HIPBLASLT_TUNING_MODE", "HIPBLASLT_TUNING_CACHE_PATH", "PYTORCH_TUNABLEOP_ENABLED"),
    ],
)
def test_fault_11_other_tuners_are_kept_out_of_the_dump_and_told(tmp_path, capsys, name):
    environ = {name: "1", "TE_HIPBLASLT_TUNING_RUN_COUNT": "20"}
    made = stage(1, tmp_path, environ=environ)
    found = workers(made, tmp_path, environ)
    assert name not in found
    assert found["TE_HIPBLASLT_TUNING_RUN_COUNT"] == "0"
    made.begin(made.plan(job(tmp_path)))
    assert name in capsys.readouterr().err


def test_fault_17_of_several_nodes_one_tunes_and_its_status_is_the_commands(tmp_path):
    where, asked = place(tmp_path), []
    write_shapes(where.shapes, Shapes(uses={winner().gemm: Use(calls=1, ranks=1)}))

    def some_failed(request: TuneRequest) -> Outcome:
        asked.append(request)
        return Outcome(results=request.results, report=tmp_path, kept=1, same=0, failed=1, status=6)

    made = experiment(tmp_path)
    status = [
        tune_node(where, MEGATRON, made, node_rank=node, force=False, environ={}, tune=some_failed)
        for node in (0, 1, 2)
    ]
    assert status == [6, 0, 0]
    assert len(asked) == 1


def test_fault_19_each_model_has_a_folder_of_its_own(tmp_path):
    assert place(tmp_path).folder == tmp_path / "tune_hipblaslt" / "tiny_llama"
    assert place_of(experiment(tmp_path), {"PRIMUS_MODEL": "seven"}).folder.name == "seven"
    with pytest.raises(UsageError, match="PRIMUS_MODEL=a/b"):
        place_of(experiment(tmp_path), {"PRIMUS_MODEL": "a/b"})


def test_fault_19_two_models_of_one_name_do_not_share_their_shapes(tmp_path):
    made, where = stage(1, tmp_path), place(tmp_path)
    made.begin(job(tmp_path))
    dump(where.node(0), 128)
    made.finish(0)
    other = experiment(tmp_path, "ffn_hidden_size=512")
    with pytest.raises(MissingError, match="was dumped for another model: tiny_llama"):
        tune_node(where, MEGATRON, other, node_rank=0, force=False, environ={}, tune=_never)
    with pytest.raises(MissingError, match="was dumped for another model: tiny_llama"):
        stage(3, tmp_path, experiment=other).require(dry_run=False)


def _never(request: TuneRequest) -> Outcome:
    raise AssertionError


def test_fault_23_a_file_for_another_build_is_refused_with_both_revisions(tmp_path, on_rocm):
    tuned(place(tmp_path), winner(), revision="0badc0de")
    with pytest.raises(MissingError, match=r"build 0badc0de, installed is fa9cdd18.*ignore all of its 1 rows"):
        stage(3, tmp_path, environ=on_rocm).require(dry_run=False)


def test_fault_23_force_says_what_will_be_ignored(tmp_path, on_rocm, capsys):
    tuned(place(tmp_path), winner(), revision="0badc0de")
    stage(3, tmp_path, environ=on_rocm, force=True).require(dry_run=False)
    assert "forced: " in (said := capsys.readouterr().err)
    assert "the library would ignore all of its 1 rows" in said


def test_fault_23_a_file_of_another_architecture_is_refused(tmp_path, on_rocm):
    tuned(place(tmp_path), winner())
    with pytest.raises(MissingError, match=r"was made on gfx942.*this is gfx950"):
        stage(3, tmp_path, environ=on_rocm | {"STANDIN_ARCH": "gfx950:sramecc+:xnack-"}).require(dry_run=False)


def test_fault_23_another_number_of_compute_units_is_told(tmp_path, on_rocm, kernels, capsys):
    tuned(place(tmp_path), winner(index=_offered(kernels)))
    stage(3, tmp_path, environ=on_rocm | {"STANDIN_CUS": "228"}).require(dry_run=False)
    assert "a GPU with 304 compute units, this one has 228" in capsys.readouterr().err


def test_fault_23_a_file_without_rows_is_refused(tmp_path, on_rocm):
    tuned(place(tmp_path))
    with pytest.raises(MissingError, match="has no row that the library reads"):
        stage(3, tmp_path, environ=on_rocm).require(dry_run=False)


def test_fault_23_no_file_at_all_is_an_error_that_names_the_stage(tmp_path):
    with pytest.raises(MissingError, match="no such file; stage 2 of `primus tune` writes it"):
        stage(3, tmp_path).require(dry_run=False)


def test_fault_23_the_use_of_the_file_is_proved_and_written_down(tmp_path, on_rocm, kernels, capsys):
    tuned(place(tmp_path), winner(index=_offered(kernels)))
    made = stage(3, tmp_path, environ=on_rocm)
    made.require(dry_run=False)
    planned = made.plan(job(tmp_path))
    facts = json.loads(planned.files["tuning.json"])
    assert facts["proof"] == {"asked": 1, "used": 1, "missed": [], "reason": ""}
    assert planned.facts["tuning"] == facts
    assert "uses it for 1 of 1 GEMMs" in capsys.readouterr().out


def test_fault_23_a_file_that_the_library_does_not_use_is_an_error(tmp_path, on_rocm):
    tuned(place(tmp_path), winner(index=1))  # no solution of that number
    with pytest.raises(MissingError, match="is not used: the library takes no row of it"):
        stage(3, tmp_path, environ=on_rocm).require(dry_run=False)


def test_fault_23_rows_that_the_library_refuses_are_a_warning_with_the_reason(tmp_path, on_rocm, kernels, capsys):
    tuned(place(tmp_path), winner(index=_offered(kernels)), winner(index=1, m=512))
    stage(3, tmp_path, environ=on_rocm).require(dry_run=False)
    said = capsys.readouterr().err
    assert "1 of 2 GEMMs miss their row (TN 512×32×64 bf16_r)" in said
    assert "more than 64 MiB of workspace" in said


def test_fault_23_the_use_is_proved_with_the_workspace_that_was_tuned_for(tmp_path, on_rocm, kernels, capsys):
    tuned(place(tmp_path), winner(index=_offered(kernels)), winner(index=1, m=512))
    write_record(place(tmp_path), 2, {"kept": 2, "max_workspace": 96 << 20})
    stage(3, tmp_path, environ=on_rocm).require(dry_run=False)
    assert "more than 96 MiB of workspace" in capsys.readouterr().err


def test_fault_23_a_library_that_reads_no_tuning_file_is_refused(tmp_path):
    tuned(place(tmp_path), winner())
    old = Installed(revision=REVISION, version=1000, source="its header")
    assert any("reads no tuning file" in each for each in check_file(place(tmp_path).results, None, old).refusals)


def test_fault_23_without_a_library_nothing_is_proved_and_training_is_refused(tmp_path):
    tuned(place(tmp_path), winner())
    with pytest.raises(PrimusError, match="is not used: the library could not be asked"):
        stage(3, tmp_path).require(dry_run=False)


def test_fault_24_tuning_and_determinism_together_are_told(tmp_path, on_rocm, kernels, capsys):
    tuned(place(tmp_path), winner(index=_offered(kernels)))
    made = experiment(tmp_path)
    values = {**made.values, "deterministic_mode": replace(made.find("lr"), data=True)}
    stage(3, tmp_path, environ=on_rocm, experiment=replace(made, values=values)).require(dry_run=False)
    assert "deterministic_mode is on" in capsys.readouterr().err


def test_fault_24_the_dump_runs_without_profiler_and_training_without_another_tuner(tmp_path):
    torchtitan = registry.get("torchtitan")
    assert "profiling.enable_profiling=false" in stage(1, tmp_path).sets(torchtitan)
    tuned(place(tmp_path), winner())
    environ = {"TE_HIPBLASLT_TUNING_RUN_COUNT": "20", "TE_HIPBLASLT_ALGO_SELECTION": "3"}
    found = workers(stage(3, tmp_path, environ=environ), tmp_path, environ)
    assert found["TE_HIPBLASLT_TUNING_RUN_COUNT"] == "0"
    assert "TE_HIPBLASLT_ALGO_SELECTION" not in found


def test_fault_25_rows_that_share_a_key_are_counted_and_told(tmp_path, on_rocm, kernels, capsys):
    first, second = _offered(kernels, 0), _offered(kernels, 2)
    tuned(place(tmp_path), winner(index=first), winner(index=second, beta=1.0, weight=2.0))
    made = stage(3, tmp_path, environ=on_rocm)
    made.require(dry_run=False)
    assert json.loads(made.plan(job(tmp_path)).files["tuning.json"])["collisions"] == 1
    assert "1 key has rows with different kernels" in capsys.readouterr().err


def test_settings_of_stage_2_come_from_variables_and_are_checked(tmp_path):
    request = tune_request(place(tmp_path), {"PRIMUS_TUNE_ENGINE": "library", "PRIMUS_TUNE_ALSO": "te,tunableop"})
    assert (request.engine, request.also) == ("library", {"te", "tunableop"})
    with pytest.raises(UsageError, match="PRIMUS_TUNE_GPUS=many: expected a whole number above 0"):
        tune_request(place(tmp_path), {"PRIMUS_TUNE_GPUS": "many"})


def _offered(kernels, place_in_list: int = 0) -> int:
    """A kernel that the fake library has for winner(), within 64 MiB."""
    problem = {"transA": "T", "transB": "N", "m": 128, "n": 32, "k": 64, "batch_count": 1, "compute_type": "f32_r"}
    problem |= dict.fromkeys(("a_type", "b_type", "c_type", "d_type"), "bf16_r")
    return kernels.ranked({**problem, "epilogue": 1, "scaleA": 0, "scaleB": 0}, 64 << 20)[place_in_list]
