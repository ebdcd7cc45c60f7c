"""Stage 1 around the training: what is set aside, what is doubted, and why a dump is empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from primus.backends import registry
from primus.backends.prepare import prepare
from primus.errors import MissingError, PrimusError, UsageError
from primus.experiment.paths import shipped
from primus.job import Job, Resources
from primus.tuning.choose import stage_of
from primus.tuning.empty import why_empty
from primus.tuning.installed import from_header
from primus.tuning.place import Place, place_of
from primus.tuning.record import read_record
from primus.tuning.shapes import Shapes
from primus.tuning.stage1 import RESUME, Dump
from primus.tuning.variables import for_dumping

LINE = (
    "hipblaslt-bench --api_method c -m 128 -n 32 -k 64 --lda 64 --ldb 64 --ldc 128 --ldd 128 --alpha 1.000000 "
    "--beta 0.000000 --transA T --transB N --batch_count 1 --a_type bf16_r --b_type bf16_r --c_type bf16_r "
    "--d_type bf16_r --scale_type f32_r --compute_type f32_r \n"
)


def experiment(workspace: Path, *sets: str):
    given = [f"workspace={workspace}", "global_batch_size=null", *sets]
    return prepare("megatron/tiny_llama", sets=given, environ={"USER": "me"}).experiment


def stage(workspace: Path, *sets: str, steps: int = 5, insists: bool = False, resumes: str = "", **resources) -> Dump:
    made = stage_of(
        1,
        backend=registry.get("megatron"),
        experiment=experiment(workspace, *sets),
        resources=Resources(**{"nproc_per_node": 2, **resources}),
        steps=steps,
        force=False,
        insists_on_checkpoint=insists,
        inside=None,
        environ={RESUME: resumes},
    )
    assert isinstance(made, Dump)
    return made


def begin(made: Dump, workspace: Path) -> None:
    made.begin(Job(name="toy", backend="toy", module="toy", resources=Resources(), run_dir=workspace / "runs" / "1"))


def place(workspace: Path) -> Place:
    return place_of(experiment(workspace), {})


def dump(workspace: Path, node: int = 0, *, name: str = "gemm_1.txt", lines: int = 3) -> None:
    (place(workspace).node(node) / name).write_text(LINE * lines)


@pytest.mark.parametrize("framework", ["megatron", "torchtitan"])
def test_every_shipped_experiment_can_be_trained_for_a_few_steps(framework):
    backend = registry.get(framework)
    for name in shipped("experiments", framework):
        named = f"{framework}/{name}"
        before = prepare(named, environ={"USER": "me", "DATA_PATH": "."}).errors
        after = prepare(named, sets=backend.short_run(5), environ={"USER": "me", "DATA_PATH": "."})
        assert after.errors == before, named
        assert after.backend.newest_checkpoint(after.experiment) is None


def test_a_dump_of_before_is_set_aside_and_told(tmp_path, capsys):
    begin(stage(tmp_path), tmp_path)
    dump(tmp_path)
    assert stage(tmp_path).finish(0) == 0
    begin(stage(tmp_path), tmp_path)
    assert not list(place(tmp_path).node(0).iterdir())
    assert not place(tmp_path).shapes.exists()
    kept = {path.name for path in (place(tmp_path).folder / "earlier").rglob("*") if path.is_file()}
    assert {"gemm_1.txt", "gemm_shapes.jsonl", "stage1.json"} <= kept
    assert "what was dumped before is kept in" in capsys.readouterr().err


def test_dumps_of_nodes_that_are_no_part_any_more_are_set_aside(tmp_path):
    begin(stage(tmp_path, nnodes=2, node_rank=1), tmp_path)
    dump(tmp_path, 1)
    begin(stage(tmp_path), tmp_path)
    assert not place(tmp_path).node(1).exists()


def test_a_node_whose_dumps_are_not_here_is_named(tmp_path, capsys):
    begin(stage(tmp_path, nnodes=2), tmp_path)
    dump(tmp_path)
    stage(tmp_path, nnodes=2).finish(0)
    assert "no dumps of node1" in capsys.readouterr().err


def test_only_the_first_node_merges(tmp_path):
    begin(stage(tmp_path, nnodes=2, node_rank=1), tmp_path)
    dump(tmp_path, 1)
    assert stage(tmp_path, nnodes=2, node_rank=1).finish(0) == 0
    assert not place(tmp_path).shapes.exists()


def test_the_dumps_of_a_failed_training_are_not_merged(tmp_path, capsys):
    begin(stage(tmp_path), tmp_path)
    dump(tmp_path)
    assert stage(tmp_path).finish(137) == 137
    assert not place(tmp_path).shapes.exists()
    assert "its dumps are not merged" in capsys.readouterr().err


def test_the_same_experiment_need_not_be_dumped_again_and_another_must(tmp_path):
    begin(stage(tmp_path), tmp_path)
    dump(tmp_path)
    stage(tmp_path).finish(0)
    assert "Stage 1 is done: 1 shapes" in str(stage(tmp_path, resumes="1").done_before())
    assert stage(tmp_path).done_before() is None, "on its own it is always done"
    assert stage(tmp_path, resumes="1", steps=6).done_before() is None
    assert stage(tmp_path, resumes="1", nproc_per_node=4).done_before() is None
    assert stage(tmp_path, "seq_length=64", resumes="1").done_before() is None
    place(tmp_path).shapes.unlink()
    assert stage(tmp_path, resumes="1").done_before() is None


def test_a_damaged_record_is_named_with_its_remedy(tmp_path):
    place(tmp_path).folder.mkdir(parents=True)
    place(tmp_path).record(1).write_text("{")
    with pytest.raises(PrimusError, match=r"stage1\.json: .*Remove it, and run stage 1 again"):
        read_record(place(tmp_path), 1)


def test_a_checkpoint_can_not_be_insisted_on(tmp_path):
    with pytest.raises(UsageError, match="stage 1 of the tuning trains a few steps from zero"):
        stage(tmp_path, insists=True)


def test_nothing_dumped_is_an_error(tmp_path):
    begin(stage(tmp_path), tmp_path)
    with pytest.raises(MissingError, match="No GEMM was dumped into"):
        stage(tmp_path).finish(0)


@pytest.mark.parametrize(
    ("shapes", "accelerator", "in_container", "cause"),
    [
        (Shapes(), "cpu", False, "training ran on CPUs, and only AMD GPUs have hipBLASLt"),
        (Shapes(), "nvidia", False, "training ran on NVIDIA GPUs"),
        (Shapes(), "amd", False, "is not built for ROCm"),
        (Shapes(), "amd", True, "its GEMMs go to rocBLAS"),
        (Shapes(files=2), "amd", True, "has written nothing. Something in the training sets HIPBLASLT_LOG_LEVEL"),
        (Shapes(files=2, lines=9, foreign=9), "amd", True, "the 9 lines of its 2 files are not hipBLASLt's"),
        (Shapes(files=2, lines=2, torn=2, examples=["a:1: torn"]), "amd", True, "all 2 lines are torn (a:1: torn)"),
    ],
)
def test_an_empty_dump_names_its_likely_cause(tmp_path, monkeypatch, shapes, accelerator, in_container, cause):
    monkeypatch.setattr("primus.tuning.empty.version", lambda name: "2.13.0+cpu")
    text = why_empty(tmp_path, shapes, accelerator=accelerator, in_container=in_container, environ={})
    assert cause in text


def test_a_library_that_can_not_count_calls_is_asked_for_launches_only(tmp_path):
    def mask(version):
        return next(each.value for each in for_dumping(tmp_path, version=version) if each.name == "HIPBLASLT_LOG_MASK")

    assert [mask(version) for version in (1000, 1200, 100201, None)] == ["32", "96", "96", "96"]


def test_the_build_is_read_from_the_header_beside_the_library(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libhipblaslt.so").touch()
    assert from_header({"ROCM_PATH": str(tmp_path)}) is None
    header = tmp_path / "include/hipblaslt/hipblaslt-version.h"
    header.parent.mkdir(parents=True)
    numbers = {"MAJOR": 1, "MINOR": 2, "PATCH": 1, "TWEAK": "fa9cdd18-dirty"}
    header.write_text("".join(f"#define HIPBLASLT_VERSION_{name} {value}\n" for name, value in numbers.items()))
    found = from_header({"ROCM_PATH": str(tmp_path)})
    assert found is not None
    assert (found.revision, found.version) == ("fa9cdd18-dirty", 100201)


def test_what_was_dumped_is_noted_with_the_models_gemms(tmp_path):
    begin(stage(tmp_path), tmp_path)
    dump(tmp_path)
    stage(tmp_path).finish(0)
    record = json.loads(place(tmp_path).record(1).read_text())
    assert (record["experiment"], record["shapes"], record["nproc_per_node"]) == ("tiny_llama", 1, 2)
    assert len(record["predicted"]) > 5
