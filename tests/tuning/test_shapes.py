"""Dumps are merged into problems with their calls, and written down."""

from __future__ import annotations

import os
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.errors import MissingError, PrimusError
from primus.tuning import count
from primus.tuning.gemm import Gemm
from primus.tuning.shapes import Shapes, Use, find_dumps, read_dumps, read_shapes, write_shapes


def line(m: int, solution: int = 7, more: str = "") -> str:
    return (
        f"hipblaslt-bench --api_method c -m {m} -n 8 -k 16 --lda 16 --ldb 16 --ldc {m} --ldd {m}  --stride_a 0 "
        "--stride_b 0 --stride_c 0 --stride_d 0  --alpha 1.000000 --beta 0.000000 --transA T --transB N "
        f"--batch_count 1 --scaleA 0 --scaleB 0 {more} --a_type bf16_r --b_type bf16_r --c_type bf16_r "
        "--d_type bf16_r --scale_type f32_r --bias_type f32_r   --compute_type f32_r --algo_method index "
        f"--solution_index {solution} --activation_type none \n"
    )


def gemm(m: int) -> Gemm:
    return Gemm.single(m=m, n=8, k=16, trans_a="T", a_type="bf16_r")


def profile(m: int, calls: int) -> str:
    return (
        f"- {{ function: matmul, M: {m}, N: 8, K: 16, transA: T, transB: N, a_type: bf16_r, b_type: bf16_r, "
        f"c_type: bf16_r, d_type: bf16_r, compute_type: c_f32_r, call_count: {calls} }}\n"
    )


def test_calls_and_processes_are_counted(tmp_path):
    (tmp_path / "a").write_text(line(4) + line(5) + line(4, solution=9))
    (tmp_path / "b").write_text(line(4))
    shapes = read_dumps([tmp_path / "a", tmp_path / "b"])
    assert shapes.uses == {gemm(4): Use(calls=3, ranks=2), gemm(5): Use(calls=1, ranks=1)}
    assert (shapes.files, shapes.lines, shapes.torn, shapes.foreign) == (2, 4, 0, 0)


def test_several_processes_read_the_same(tmp_path):
    paths = [tmp_path / f"dump{index}" for index in range(3)]
    for index, path in enumerate(paths):
        path.write_text(line(4) * (index + 1) + "noise\n")
    alone, together = read_dumps(paths), read_dumps(paths, processes=2)
    assert alone.uses == together.uses == {gemm(4): Use(calls=6, ranks=3)}
    assert alone.examples == together.examples


def test_lines_that_are_torn_or_foreign_are_counted_with_their_place(tmp_path):
    dump = tmp_path / "dump"
    dump.write_text("loss 3.2\n" + line(4) + line(4)[:60] + "\n\n" + line(4)[:150] + line(5) + line(6).rstrip())
    shapes = read_dumps([dump])
    assert list(shapes.uses) == [gemm(4)]
    assert (shapes.lines, shapes.foreign, shapes.torn) == (6, 2, 3)
    assert [example.split(": ")[0] for example in shapes.examples] == [f"{dump}:{number}" for number in (3, 5, 6)]


def test_a_last_line_without_its_end_is_torn_even_if_it_looks_whole(tmp_path):
    (tmp_path / "dump").write_text(line(4) + line(5).rstrip())
    shapes = read_dumps([tmp_path / "dump"])
    assert list(shapes.uses) == [gemm(4)]
    assert shapes.examples == [f"{tmp_path / 'dump'}:2: torn: the file ends in it"]


def test_the_profile_at_the_end_is_not_counted_twice(tmp_path):
    (tmp_path / "dump").write_text(line(4) * 3 + profile(4, 3) + profile(5, 2))
    assert read_dumps([tmp_path / "dump"]).uses == {
        gemm(4): Use(calls=3, ranks=1),
        gemm(5): Use(calls=2, ranks=1),
    }


def test_unknown_options_are_reported(tmp_path):
    (tmp_path / "dump").write_text(line(4, more="--brand_new 3") * 2 + line(5, more="--brand_new 3") + line(4))
    shapes = read_dumps([tmp_path / "dump"])
    assert shapes.unknown == {"--brand_new": 2}
    assert len(shapes.uses) == 3


def test_an_empty_dump_has_no_shapes(tmp_path):
    (tmp_path / "dump").touch()
    shapes = read_dumps([tmp_path / "dump"])
    assert (shapes.uses, shapes.lines, shapes.files) == ({}, 0, 1)


def test_dumps_of_all_nodes_are_found_without_the_merged_file(tmp_path):
    for name in ("node1/dump_2.txt", "node0/dump_1.txt", "gemm_shapes.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_dumps(tmp_path) == [tmp_path / "node0/dump_1.txt", tmp_path / "node1/dump_2.txt"]
    with pytest.raises(MissingError, match="no such folder"):
        find_dumps(tmp_path / "nowhere")


def test_a_dump_that_is_gone_is_named(tmp_path):
    with pytest.raises(PrimusError, match="gone: No such file"):
        read_dumps([tmp_path / "gone"])


def test_shapes_are_written_and_read_back_heaviest_first(tmp_path):
    shapes = Shapes()
    shapes.add(gemm(4), Use(calls=10, ranks=2))
    shapes.add(gemm(400), Use(calls=1, ranks=1))
    path = tmp_path / "new" / "gemm_shapes.jsonl"
    write_shapes(path, shapes)
    assert [each for each, _ in read_shapes(path).heaviest()] == [gemm(400), gemm(4)]
    assert list(read_shapes(path).uses) == [gemm(400), gemm(4)]
    assert read_shapes(path).uses == shapes.uses
    assert os.listdir(path.parent) == ["gemm_shapes.jsonl"]


def test_files_of_several_runs_are_merged(tmp_path):
    first, second = Shapes(), Shapes()
    first.add(gemm(4), Use(calls=1, ranks=1))
    second.add(gemm(4), Use(calls=2, ranks=3))
    first.merge(second)
    assert first.uses == {gemm(4): Use(calls=3, ranks=4)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "gemm_shapes.jsonl:2: "),
        ("[]", ":2: expected an object with problem, calls and ranks"),
        ('{"problem": {"sizes": []}, "calls": 1, "ranks": 1}', ":2: 'a_type' is missing"),
        ('{"problem": {"sizes": [{"m": 1}], "a_type": "f16_r"}, "calls": 1, "ranks": 1}', "'n' is missing"),
        ('{"problem": {"sizes": [{"m": 1, "n": "2", "k": 3}]}, "calls": 1, "ranks": 1}', "'n' must be int"),
        ('{"problem": {"sizes": [], "x": 1}, "calls": 1, "ranks": 1}', "unknown field 'x'"),
        ('{"problem": {}, "calls": 0, "ranks": 1}', "`sizes`"),
        ('{"problem": {"sizes": [{"m":1,"n":1,"k":1}], "a_type":"f16_r"}, "calls": 0, "ranks": 1}', "calls must be"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, text, message):
    shapes = Shapes()
    shapes.add(gemm(4), Use(calls=1, ranks=1))
    path = tmp_path / "gemm_shapes.jsonl"
    write_shapes(path, shapes)
    with path.open("a") as file:
        file.write(text + "\n")
    with pytest.raises(PrimusError, match=message):
        read_shapes(path)


def test_a_missing_file_says_who_writes_it(tmp_path):
    with pytest.raises(MissingError, match="stage 1"):
        read_shapes(tmp_path / "gemm_shapes.jsonl")


@given(st.lists(st.binary(max_size=6)), st.integers(1, 9), st.integers(1, 3))
def test_lines_are_counted_wherever_the_chunks_end(tmp_path_factory, parts, chunk, distinct):
    text = b"\n".join(parts)
    path = tmp_path_factory.mktemp("dump") / "dump"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(count, "_CHUNK", chunk)
        patch.setattr(count, "_DISTINCT", distinct)
        found: Counter[bytes] = Counter()
        for line, times in count.count_lines(path):
            found[line] += times
    assert found == Counter(line for line in BytesIO(text))


def test_a_file_without_lines_is_not_gathered_in_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(count, "_LONGEST", 1 << 20)
    (tmp_path / "core").write_bytes(bytes(5 << 20) + b"\n" + line(4).encode())
    shapes = read_dumps([tmp_path / "core"])
    assert list(shapes.uses) == [gemm(4)]
    assert shapes.foreign >= 1
