"""Stage 2 from its shapes to its files, over stand-ins of GPUs."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from primus.errors import MissingError, PrimusError, UsageError
from primus.tuning.measure_process import ask
from primus.tuning.tune import RESULTS_NAME, processes

SLOW = {"STANDIN_SECONDS": "0.05"}


def test_the_fastest_kernels_are_found_and_their_gain_is_measured(tuning, gemm, times):
    gemms = [gemm(320), gemm(192), gemm(448)]
    tuning.shapes(*gemms)
    outcome = tuning.run()
    assert (outcome.status, outcome.kept, outcome.same, outcome.failed, outcome.left) == (0, 3, 0, 0, 0)
    by_key = {row.key: row for row in tuning.results().rows}
    for each in gemms:
        known = times(each)
        default, best = next(iter(known)), min(known, key=known.__getitem__)
        shape = tuning.shape(each)
        assert by_key[each.key("G2")].solution_index == best
        assert (shape["state"], shape["default_index"], shape["tuned_index"]) == ("kept", default, best)
        assert shape["gain"] == pytest.approx(known[default] / known[best] - 1, rel=1e-3)
    assert tuning.results().version == "fa9cdd18"


def test_the_heaviest_problem_stands_last(tuning, gemm):
    tuning.shapes(gemm(320), gemm(192))
    tuning.run()
    assert [row.key.m for row in tuning.results().rows] == [192, 320]


def test_default_and_winner_are_run_in_turns(tuning, gemm):
    tuning.shapes(gemm(320))
    tuning.run(environ={"STANDIN_DEVICES": "1"})
    compared = [options for _, _, options in tuning.starts()[2:]]
    ways = ["index" if "--algo_method index" in options else "default" for options in compared]
    assert ways == ["default", "index", "index", "default"] * 2 + ["default", "index"]


def test_what_fails_is_classified_and_the_rest_goes_on(tuning, gemm):
    kinds = {64: "none", 192: "segv", 256: "oom", 320: "partial", 384: "single", 448: "gone", 512: "silent"}
    plan = ";".join(f"{m}x512x256:{kind}" for m, kind in kinds.items())
    tuning.shapes(*(gemm(m) for m in (*kinds, 576)))
    outcome = tuning.run(environ={"STANDIN_FAILURES": plan})
    found = {m: tuning.shape(gemm(m)) for m in (*kinds, 576)}
    assert {m: shape["reason"].partition(":")[0] for m, shape in found.items() if shape["state"] == "failed"} == {
        **{64: "no-solution", 192: "crashed", 256: "out-of-memory", 320: "crashed"},
        **{448: "device-fault", 512: "no-solution"},
    }
    assert (found[384]["state"], found[576]["state"]) == ("same", "kept")
    assert (outcome.status, outcome.kept, outcome.same, outcome.failed, outcome.left) == (6, 1, 1, 6, 0)
    assert len(tuning.results().rows) == 1
    assert not tuning.results().problems
    assert sum("is lost" in message for message in outcome.messages) == 2, "the shape is tried on one more GPU"
    assert not tuning.clashes()


def test_only_what_may_pass_is_tried_again_and_that_last(tuning, gemm):
    tuning.shapes(gemm(512), gemm(64), gemm(320))
    environ = {"STANDIN_FAILURES": "64x512x256:none;512x512x256:oom", "STANDIN_DEVICES": "1"}
    tuning.run(environ=environ)
    order = [shape for _, shape, _ in tuning.starts()]
    assert order.count("64x512x256") == 1
    assert order.count("512x512x256") == 2
    assert order[-1] == "512x512x256"


def test_a_shape_that_hangs_is_ended(tuning, gemm, gone):
    tuning.shapes(gemm(64))
    outcome = tuning.run(environ={"STANDIN_FAILURES": "64x512x256:hang"}, time_limit=1.0)
    assert tuning.shape(gemm(64))["reason"].startswith("timeout: hipblaslt-bench was running the library's own choice")
    assert outcome.failed == 1


def test_a_lost_gpu_takes_no_more_and_without_any_the_rest_is_left(tuning, gemm):
    tuning.shapes(*(gemm(m) for m in (512, 448, 384)))
    everything = {"STANDIN_FAILURES": "*:gone", "STANDIN_DEVICES": "2"}
    with pytest.raises(MissingError, match="can't run a small multiplication"):
        tuning.run(environ=everything)
    for path in tuning.noted.glob("gone-*"):
        path.unlink()
    plan = {"STANDIN_FAILURES": ";".join(f"{m}x512x256:gone" for m in (512, 448, 384)), "STANDIN_DEVICES": "2"}
    outcome = tuning.run(environ=plan)
    assert (outcome.status, outcome.kept, outcome.failed, outcome.left) == (6, 0, 0, 3)
    assert tuning.report()["ended"] == "no GPU was left"
    for path in tuning.noted.glob("gone-*"):
        path.unlink()
    assert tuning.run().kept == 3, "started again when the GPUs are back"


def test_the_visible_gpus_are_used_and_no_other(tuning, gemm):
    tuning.shapes(*(gemm(64 * number) for number in range(1, 7)))
    outcome = tuning.run(environ={"ROCR_VISIBLE_DEVICES": "3,1,2", "HIP_VISIBLE_DEVICES": "2,0", **SLOW})
    assert outcome.status == 0
    assert {gpu for gpu, _, _ in tuning.starts()} == {2, 3}
    assert not tuning.clashes()


def test_fewer_gpus_can_be_asked_for_but_not_more(tuning, gemm):
    tuning.shapes(gemm(64), gemm(320))
    assert tuning.run(gpus=1).status == 0
    assert {gpu for gpu, _, _ in tuning.starts()} == {0}
    with pytest.raises(UsageError, match="9 GPUs were asked for, 4 are visible"):
        tuning.run(gpus=9, fresh=True)


def test_after_a_kill_nothing_is_tuned_twice_and_nothing_is_lost(tuning, gemm, until, gone):
    gemms = [gemm(64 * number) for number in range(1, 25)]
    tuning.shapes(*gemms)
    tuner = tuning.start(environ={**SLOW, "STANDIN_DEVICES": "2"})
    until(lambda: len(tuning.journal()) >= 3)
    benches = children(tuner.pid)
    tuner.kill()
    tuner.communicate()
    gone(*benches)
    done = {"{m}x{n}x{k}".format(**entry["problem"]["sizes"][0] | {"k": 256}) for entry in tuning.journal()}
    assert len(done) < len(gemms), "killed too late for this test"
    before = len(tuning.starts())
    outcome = tuning.run()
    assert not done & {shape for _, shape, _ in tuning.starts()[before:]}
    assert (outcome.kept + outcome.same, outcome.failed, outcome.left) == (24, 0, 0)
    assert len(tuning.report()["shapes"]) == 24
    assert len({row.key for row in tuning.results().rows}) == outcome.kept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_asked_to_stop_it_keeps_what_it_has(tuning, gemm, until, gone, number: signal.Signals):
    tuning.shapes(*(gemm(64 * number) for number in range(1, 9)))
    tuner = tuning.start(environ={**SLOW, "STANDIN_DEVICES": "1"})
    until(lambda: len(tuning.journal()) >= 1)
    benches = children(tuner.pid)
    tuner.send_signal(number)
    out, _ = tuner.communicate(timeout=240)
    assert tuner.returncode == 128 + number
    assert f"Stopped by {number.name}. What is tuned is kept; start again to go on." in out
    gone(*benches)
    report = tuning.report()
    assert report["ended"] == number.name
    assert report["counts"]["kept"] == len(tuning.results().rows) >= 1
    assert report["counts"]["left"] >= 1


def test_done_shapes_are_not_tuned_again(tuning, gemm):
    tuning.shapes(gemm(64), gemm(320))
    first = tuning.run()
    before, text = len(tuning.starts()), tuning.request.results.read_text()
    second = tuning.run()
    assert len(tuning.starts()) == before
    assert tuning.request.results.read_text() == text
    assert second.kept == first.kept


def test_another_workspace_limit_needs_another_tuning(tuning, gemm, times):
    tuning.shapes(gemm(448))
    tuning.run()
    before = len(tuning.starts())
    tuning.run(max_workspace=0)
    assert len(tuning.starts()) > before
    known = times(gemm(448), limit=0)
    assert tuning.shape(gemm(448))["tuned_index"] == min(known, key=known.__getitem__)


def test_results_of_another_build_are_refused_until_set_aside(tuning, gemm):
    tuning.shapes(gemm(64))
    tuning.run()
    newer = {"STANDIN_REVISION": "be5adb9b"}
    with pytest.raises(UsageError, match=r"journal.jsonl was made with revision fa9cdd18, .*be5adb9b.*--fresh"):
        tuning.run(environ=newer)
    (tuning.folder / "journal.jsonl").unlink()
    with pytest.raises(UsageError, match=r"results.txt was made with revision fa9cdd18, .*be5adb9b.*--fresh"):
        tuning.run(environ=newer)
    outcome = tuning.run(environ=newer, fresh=True)
    assert tuning.results().version == "be5adb9b"
    aside = next(tuning.folder.glob("before-*"))
    assert "Git Version: fa9cdd18" in (aside / tuning.request.results.name).read_text()
    assert f"What was tuned before is in {aside}" in outcome.messages


def test_rows_for_other_shapes_of_the_same_build_stay(tuning, gemm, times):
    tuning.shapes(gemm(64))
    tuning.run()
    rows = tuning.results().rows
    (tuning.folder / "journal.jsonl").unlink()
    tuning.shapes(gemm(320))
    tuning.run()
    assert [row.key.m for row in tuning.results().rows] == [64, 320]
    assert tuning.results().rows[0].values == rows[0].values


def test_damaged_results_of_before_do_not_stop_it(tuning, gemm):
    tuning.shapes(gemm(64))
    tuning.run()
    with tuning.request.results.open("a") as file:
        file.write("    T,N,0,1,64")
    assert tuning.run().status == 0
    assert not tuning.results().problems


def test_a_second_tuner_on_the_same_results_is_refused(tuning, gemm):
    tuning.shapes(gemm(64))
    tuning.folder.mkdir()
    with (tuning.folder / "tune.lock").open("w") as lock:
        lock.write("process 4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=r"another tuner is at work there \(process 4711\)"):
            tuning.run()


def test_without_shapes_it_says_what_to_do(tuning):
    with pytest.raises(MissingError, match="stage 1 of `primus tune` writes it"):
        tuning.run()
    tuning.request.shapes.parent.mkdir()
    tuning.request.shapes.write_text("")
    with pytest.raises(MissingError, match=r"no shapes in it\. Run stage 1 again"):
        tuning.run()


def test_a_damaged_file_of_shapes_is_named_with_its_line(tuning, gemm):
    tuning.shapes(gemm(64))
    with tuning.request.shapes.open("a") as file:
        file.write('{"problem": {"sizes"')
    with pytest.raises(PrimusError, match=r"gemm_shapes.jsonl:2: "):
        tuning.run()


def test_without_the_bench_it_says_which_package_has_it(tuning, gemm, tmp_path: Path):
    tuning.shapes(gemm(64))
    with pytest.raises(MissingError, match=r"hipblaslt-bench is not here .*hipblaslt-clients.*--engine library"):
        tuning.run(rocm=tmp_path)
    with pytest.raises(MissingError, match="hipBLASLt can't be used here"):
        tuning.run(rocm=tmp_path, engine="auto")


def test_without_a_gpu_it_says_what_hides_them(tuning, gemm):
    tuning.shapes(gemm(64))
    with pytest.raises(MissingError, match="no GPU that hipblaslt-bench can use with HIP_VISIBLE_DEVICES=9"):
        tuning.run(environ={"HIP_VISIBLE_DEVICES": "9"})
    with pytest.raises(MissingError, match="hipBLASLt can't be used here with HIP_VISIBLE_DEVICES=9"):
        tuning.run(environ={"HIP_VISIBLE_DEVICES": "9"}, engine="library")


def test_a_full_disk_ends_it_and_keeps_what_is_tuned(tuning, gemm, monkeypatch: pytest.MonkeyPatch):
    tuning.shapes(*(gemm(64 * number) for number in range(1, 5)))
    real, calls = os.fsync, []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) > 3:  # the stamp and two entries
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(MissingError, match=r"what is tuned is kept; start again to go on\): no space left"):
            tuning.run(environ={"STANDIN_DEVICES": "1"})
    done = len(tuning.journal())
    assert 2 <= done < 4
    assert tuning.run().left == 0
    assert len(tuning.journal()) == 4


def test_a_disk_that_fills_up_blames_no_shape(tuning, gemm, tmp_path: Path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here: not root")
    try:
        gemms = [gemm(64 * number) for number in range(1, 21)]
        tuning.shapes(*gemms)
        tuning.folder = place / "gemm_tune"
        tuning.request = replace(tuning.request, results=tuning.folder / RESULTS_NAME)
        with pytest.raises(MissingError, match="no space left"):
            tuning.run()
        assert all(entry["found"] for entry in tuning.journal())
        assert len(tuning.journal()) < len(gemms)
        subprocess.run([*mount[:4], "remount,size=4m", *mount[5:]], check=True)
        assert tuning.run().status == 0
        assert len(tuning.journal()) == len(gemms)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_each_generation_of_the_bench_leaves_a_file_for_its_library(tuning, gemm):
    tuning.shapes(gemm(64))
    for columns in ("37", "42", "43"):
        tuning.run(environ={"STANDIN_COLUMNS": columns}, fresh=True)
        assert {len(row.names) for row in tuning.results().rows} == {int(columns)}


def test_files_for_others_are_written_on_request(tuning, gemm, times, tmp_path: Path):
    torch = tmp_path / "fake" / "torch" / "cuda"
    torch.mkdir(parents=True)
    (torch.parent / "__init__.py").write_text("")
    (torch / "__init__.py").write_text("")
    names = ("PT_VERSION", "ROCM_VERSION", "HIPBLASLT_VERSION", "ROCBLAS_VERSION", "GCN_ARCH_NAME")
    (torch / "tunable.py").write_text(f"def get_validators(): return tuple((name, '1') for name in {names})\n")
    tuning.shapes(gemm(320))
    environ = {"PYTHONPATH": str(tmp_path / "fake"), "STANDIN_DEVICES": "2"}
    outcome = tuning.run(also=frozenset({"te", "tunableop"}), environ=environ)
    known = times(gemm(320))
    best = min(known, key=known.__getitem__)
    assert f",{best},-1" in (tuning.folder / "te_gemm_algos.csv").read_text()
    for number in (0, 1):
        assert f"Gemm_Hipblaslt_{best}," in (tuning.folder / f"tunableop_results{number}.csv").read_text()
    assert any("TE_HIPBLASLT_ALGO_LOAD=" in message for message in outcome.messages)


def test_a_signal_ends_the_question_to_pytorch_and_the_results_are_kept(tuning, gemm, tmp_path: Path, until):
    tuning.shapes(gemm(320))
    (tmp_path / "torch.py").write_text(f"import time; open({str(tmp_path / 'asked')!r}, 'w'); time.sleep(600)\n")
    tune = tuning.start(also=["tunableop"], environ={"PYTHONPATH": str(tmp_path)})
    until((tmp_path / "asked").exists)
    tune.send_signal(signal.SIGTERM)
    out, _ = tune.communicate(timeout=240)
    assert tune.returncode == 143
    assert "No file for PyTorch's TunableOp: it was asked to stop before" in out
    assert len(tuning.results().rows) == 1


def test_a_missing_shell_is_named_and_not_a_missing_folder(tuning, gemm, rocm: Path, tmp_path: Path):
    tuning.shapes(gemm(320))
    with pytest.raises(MissingError, match=r"no program `sh` in PATH.*--engine library"):
        tuning.run(environ={"PATH": str(tmp_path)})


def test_a_program_that_is_gone_is_named_and_not_a_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "tie", tuple)
    with pytest.raises(MissingError, match="can't run /not/there: No such file"):
        processes.Processes().run(["/not/there"], environ={}, output=tmp_path / "log", timeout=60)


def test_a_pytorch_without_tunableop_is_said(tuning, gemm, tmp_path: Path):
    tuning.shapes(gemm(320))
    (tmp_path / "torch.py").write_text("")
    outcome = tuning.run(also=frozenset({"tunableop"}), environ={"PYTHONPATH": str(tmp_path)})
    assert outcome.status == 0
    assert any(message.startswith("No file for PyTorch's TunableOp: ") for message in outcome.messages)


def test_the_library_finds_the_same_winner_and_compares_the_numbers(tuning, gemm, times):
    tuning.shapes(gemm(24, n=16, k=40), gemm(48, n=16, k=40))
    outcome = tuning.run(engine="library", environ={"STANDIN_FAILURES": "48x16x40:none", "STANDIN_DEVICES": "2"})
    known = times(gemm(24, n=16, k=40))
    shape = tuning.shape(gemm(24, n=16, k=40))
    assert shape["tuned_index"] == min(known, key=known.__getitem__)
    assert shape["error"] == 0.0
    assert tuning.shape(gemm(48, n=16, k=40))["reason"].startswith("no-solution: ")
    assert (outcome.kept, outcome.failed) == (1, 1)
    assert len(tuning.results().rows[0].names) == 42


def test_auto_gives_the_library_what_the_bench_cant_say(tuning, gemm):
    plain, striding = gemm(24, n=16, k=40), gemm(24, n=16, k=40, batch=2, bias_vector=True, bias_stride=64)
    tuning.shapes(plain, striding)
    assert tuning.run(engine="auto").status == 0
    assert {options.count("--batch_count 2") for _, _, options in tuning.starts()} == {0}
    assert tuning.shape(plain)["error"] is None
    assert tuning.shape(striding)["error"] is not None


def test_auto_gives_the_library_what_the_bench_refuses(tuning, gemm):
    odd = gemm(24, n=16, k=40, c_type="f32_r", d_type="bf16_r")
    tuning.shapes(odd)
    assert tuning.run(engine="auto", environ={"STANDIN_BENCH": "L26"}).status == 0
    assert tuning.shape(odd)["error"] is not None
    assert tuning.run(engine="bench", environ={"STANDIN_BENCH": "L26"}, fresh=True).status == 6
    assert "c_type must be equal to d_type" in tuning.shape(odd)["reason"]


def test_a_bench_of_another_build_than_the_library_is_told_and_auto_goes_without_it(
    tuning, gemm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rocm = tmp_path / "rocm"
    (rocm / "bin").mkdir(parents=True)
    (rocm / "lib").symlink_to(tuning.request.rocm / "lib")
    bench = rocm / "bin" / "hipblaslt-bench"
    bench.write_text(f'#!/bin/sh\nSTANDIN_REVISION=0badc0de exec {tuning.request.rocm}/bin/hipblaslt-bench "$@"\n')
    bench.chmod(0o755)
    tuning.shapes(gemm(24, n=16, k=40))
    tuning.run(engine="auto", rocm=rocm)
    assert tuning.results().version == "fa9cdd18"
    said = "Warning: the bench is of build 0badc0de, the library that training loads of fa9cdd18"
    assert f"{said}: the library is used" in capsys.readouterr().err
    tuning.run(engine="bench", rocm=rocm, fresh=True)
    assert tuning.results().version == "0badc0de"
    assert f"{said}, which will ignore the file. Take --engine library" in capsys.readouterr().err


def test_grouped_problems_are_left_out_with_the_reason(tuning, gemm):
    tuning.shapes(gemm(64), gemm(96, grouped=True))
    outcome = tuning.run()
    assert tuning.shape(gemm(96, grouped=True))["state"] == "skipped"
    assert outcome.status == 0
    assert any("groups can't be told from hipBLASLt's tuning file" in message for message in outcome.messages)


def test_each_shape_has_a_log_with_the_commands(tuning, gemm):
    tuning.shapes(gemm(64))
    tuning.run()
    (log,) = (tuning.folder / "logs").iterdir()
    assert log.name.startswith("TN_64x512x256_bf16_r-")
    assert "$ " in log.read_text()
    assert "--cold_iters" in log.read_text()
    assert "Winner: " in log.read_text()


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(each)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if task.name != str(pid)
        for each in (task / "children").read_text().split()
    ]


def test_the_library_takes_the_rows_that_were_written(tuning, gemm):
    gemms = [gemm(320), gemm(192), gemm(192, bias_vector=True)]
    tuning.shapes(*gemms)
    for engine in ("bench", "library"):
        tuning.run(engine=engine, fresh=True)
        environ = os.environ | {"HIPBLASLT_TUNING_OVERRIDE_FILE": str(tuning.request.results)}
        asked = {"do": "choose", "gemms": [each.to_json() for each in gemms], "max_workspace": 64 << 20}
        answer = ask(asked, timeout=60, libraries=tuning.request.rocm / "lib", environ=environ)
        written = {row.key: row.solution_index for row in tuning.results().rows}
        kept = [each for each in gemms if tuning.shape(each)["state"] == "kept"]
        assert kept
        assert [dict(zip(gemms, answer["indices"], strict=True))[each] for each in kept] == [
            written[each.key("G2")] for each in kept
        ]
