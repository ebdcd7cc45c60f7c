"""Tuning files: what the library's bench writes, what its readers take of it, and what we write."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from primus.errors import MissingError, PrimusError
from primus.tuning.columns import LAYOUTS, expressible
from primus.tuning.gemm import Gemm
from primus.tuning.results import Winner, merge_results, read_results, rows_of, unread_because, write_results

# One row of a file that AMD published, and one in the layout of 2025 with its misspelt column.
PUBLISHED = """Git Version: fa9cdd18
    transA,transB,grouped_gemm,batch_count,m,n,k,alpha,lda,stride_a,beta,ldb,stride_b,ldc,stride_c,ldd,stride_d,a_type,b_type,c_type,d_type,compute_type,scaleA,scaleB,scaleC,scaleD,amaxD,swizzle_a,swizzle_b,activation_type,bias_vector,bias_type,aux_type,rotating_buffer,flush,use_gpu_timer,hipblaslt-Gflops,hipblaslt-GB/s,us,solution_index,gcnArchName,CUs
    T,N,0,1,32,32768,2880,1,2880,92160,0,2880,94371840,32,1048576,32,1048576,bf16_r,bf16_r,f32_r,f32_r,f32_r,0,0,0,0,0,0,0,none,0,f32_r,f32_r,512,1,0,182699,5440.59,33.0588,24641,gfx950:sramecc+:xnack-,256
"""
OLD = """Git Version: a6254b89-dirty
    transA,transB,grouped_gemm,batch_count,m,n,k,alpha,lda,stride_a,beta,ldb,stride_b,ldc,stride_c,ldd,stride_d,a_type,b_type,c_type,d_type,compute_type,scaleA,scaleB,scaleC,scaleD,amaxD,activation_type,bias_vector,bias_type,rotating_buffer,hipblaslt-Gflops,hipblaslt-GB/s,us,soulution_index,gcnArchName,CUs
    N,N,0,1,64,64,1024,1.1,64,65536,0.9,1024,65536,64,4096,64,4096,f32_r,f32_r,f32_r,f32_r,f32_r,0,0,0,0,0,none,0,f32_r,512,903.229,55.8608,9.28735,49257,gfx942:sramecc+:xnack-,304
"""
GEMM = Gemm.single(m=32, n=32768, k=2880, trans_a="T", a_type="bf16_r", c_type="f32_r")
OLD_GEMM = Gemm.single(m=64, n=64, k=1024, alpha=1.1, beta=0.9, a_type="f32_r")
HEADER, VALUES = PUBLISHED.split("\n")[1:3]


def winner(gemm: Gemm = GEMM, solution: int = 24641, weight: float = 1.0, us: float = 33.0588) -> Winner:
    return Winner(
        gemm=gemm,
        solution_index=solution,
        microseconds=us,
        architecture="gfx950:sramecc+:xnack-",
        compute_units=256,
        weight=weight,
        name="Cijk_x",
    )


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_published_row_is_read(tmp_path):
    results = read_results(written(tmp_path / "results.txt", PUBLISHED))
    assert (results.version, results.problems) == ("fa9cdd18", [])
    (row,) = results.rows
    assert row.gemm() == expressible(GEMM)
    assert row.key == GEMM.key("G2")
    assert (row.solution_index, row.microseconds, row.compute_units) == (24641, 33.0588, 256)
    assert (row.architecture, row.schema, row.line) == ("gfx950:sramecc+:xnack-", 0, 3)
    assert [unread_because(row, each) is None for each in ("G1", "G2", "G3", "G4")] == [False, True, True, True]


def test_a_row_of_2025_is_read_with_its_misspelt_column(tmp_path):
    (row,) = read_results(written(tmp_path / "results.txt", OLD)).rows
    assert row.gemm() == expressible(OLD_GEMM)
    assert row.solution_index == 49257
    assert unread_because(row, "G1") is None


@pytest.mark.parametrize("generation", ["G0", "G1", "G2", "G3", "G4"])
def test_what_is_written_is_read_back_and_taken_by_its_reader(tmp_path, generation):
    problems = [GEMM, dataclasses.replace(OLD_GEMM, bias_vector=True, activation="gelu", scale_a=2)]
    rows, notes = rows_of([winner(each, index + 1) for index, each in enumerate(problems)], generation)
    assert not notes
    write_results(tmp_path / "new" / "results.txt", "fa9cdd18", rows)
    results = read_results(tmp_path / "new" / "results.txt")
    assert (results.version, results.problems) == ("fa9cdd18", [])
    assert {row.gemm() for row in results.rows} == {expressible(each) for each in problems}
    assert set(results.found_by_key(generation)) == {each.key(generation) for each in problems}
    assert {len(row.columns) for row in results.rows} == {len(LAYOUTS[generation])}


def test_columns_are_those_of_each_generation():
    assert {name: len(columns) for name, columns in LAYOUTS.items()} == {
        "G0": 34,
        "G1": 37,
        "G2": 42,
        "G3": 43,
        "G4": 43,
    }
    assert ",".join(LAYOUTS["G2"]) == HEADER.strip()
    assert ",".join(LAYOUTS["G1"]) == OLD.split("\n")[1].strip().replace("soulution", "solution")
    # Where the reader of G1 looks without reading names.
    names = ("batch_count", "m", "n", "k", "a_type", "b_type", "c_type", "compute_type", "solution_index")
    assert [LAYOUTS["G1"].index(name) for name in names] == [3, 4, 5, 6, 17, 18, 19, 21, 34]


def test_the_golden_file_of_the_bench_is_written_again(tmp_path):
    rows, _ = rows_of([winner()], "G2")
    write_results(tmp_path / "results.txt", "fa9cdd18", rows)
    ours = (tmp_path / "results.txt").read_text().split("\n")
    assert ours[:2] == PUBLISHED.split("\n")[:2]
    theirs = dict(zip(HEADER.strip().split(","), VALUES.strip().split(","), strict=True))
    found = dict(zip(ours[1].strip().split(","), ours[2].strip().split(","), strict=True))
    differing = {name for name in theirs if theirs[name] != found[name]}
    # The bench raises strides that nobody uses, and counts C as read.
    assert differing <= {"stride_a", "stride_b", "stride_c", "stride_d", "hipblaslt-GB/s", "hipblaslt-Gflops"}
    assert float(found["hipblaslt-Gflops"]) == pytest.approx(float(theirs["hipblaslt-Gflops"]), rel=1e-4)


def test_the_heaviest_of_problems_that_share_a_key_stands_last(tmp_path):
    added = dataclasses.replace(GEMM, beta=1.0)
    rows, notes = rows_of([winner(added, 7, weight=90.0), winner(GEMM, 5, weight=10.0)], "G2")
    assert [row.solution_index for row in rows] == [5, 7]
    assert len(notes) == 1
    assert "2 problems that hipBLASLt can't tell apart" in notes[0]
    assert "beta 0.0" in notes[0]
    write_results(tmp_path / "results.txt", "x", rows)
    found = read_results(tmp_path / "results.txt").found_by_key("G2")
    assert [row.solution_index for row in found[GEMM.key("G2")]] == [7, 5]


def test_a_shared_key_with_the_same_kernel_is_no_news():
    added = dataclasses.replace(GEMM, beta=1.0)
    assert not rows_of([winner(added, 5), winner(GEMM, 5)], "G2")[1]


def test_what_a_reader_would_drop_is_not_written():
    grouped = Gemm(sizes=(GEMM.size,), grouped=True, a_type="bf16_r")
    rows, notes = rows_of([winner(solution=0), winner(grouped)], "G2")
    assert not rows
    assert any("solution 0" in note for note in notes)
    assert any("groups" in note for note in notes)
    assert len(rows_of([winner(solution=0)], "G4")[0]) == 1


@pytest.mark.parametrize(
    ("text", "lines", "kept"),
    [
        ("", [1], 0),
        (HEADER + "\n" + VALUES + "\n", [1], 1),
        ("Git Version: a\n" + HEADER + "\n", [2], 0),
        ("Git Version: a\n" + HEADER + "\n" + HEADER + "\n" + VALUES + "\n", [2], 1),
        ("Git Version: a\n" + HEADER + "\n" + VALUES[:90] + "\n", [3], 0),
        ("Git Version: a\n" + HEADER + "\n" + VALUES[:90], [3, 2], 0),
        ("Git Version: a\n" + HEADER + "\n" + VALUES + "\nnonsense\n\n", [4], 1),
        ("Git Version: a\n" + HEADER + "\n" + VALUES.replace(",24641,", ",x,") + "\n", [3], 0),
        ("Git Version: a\n" + HEADER + "\n" + VALUES.replace("bf16_r,bf16_r", "bf16_r,zf16_r") + "\n", [3], 0),
        (
            "Git Version: a\n" + HEADER.replace("solution_index,", "") + "\n" + VALUES.replace("24641,", "") + "\n",
            [3],
            0,
        ),
        ("Git Version: a\nGit Version: b\n" + HEADER + "\n" + VALUES + "\n", [2], 1),
        # A row after another without a header of its own.
        ("Git Version: a\n" + HEADER + "\n" + VALUES + "\n" + VALUES + "\n", [], 2),
        ("Git Version: a\n" + VALUES + "\n", [], 1),
    ],
)
def test_damage_is_placed_and_the_good_rows_are_kept(tmp_path, text, lines, kept):
    results = read_results(written(tmp_path / "results.txt", text))
    assert sorted(each.where.line for each in results.problems if each.where) == sorted(lines)
    assert len(results.rows) == kept


def test_a_row_without_its_header_is_passed_over_by_readers_that_need_names(tmp_path):
    results = read_results(written(tmp_path / "results.txt", f"Git Version: a\n{VALUES}\n"))
    (row,) = results.rows
    assert "names of the columns" in str(unread_because(row, "G2"))
    assert unread_because(row, "G4") is None


def test_columns_in_another_order_are_read_by_2026_only(tmp_path):
    names, values = HEADER.strip().split(","), VALUES.strip().split(",")
    text = f"Git Version: a\n{','.join(reversed(names))}\n{','.join(reversed(values))}\n"
    (row,) = read_results(written(tmp_path / "results.txt", text)).rows
    assert row.key == GEMM.key("G2")
    assert "another order" in str(unread_because(row, "G2"))
    assert unread_because(row, "G4") is None


def test_rows_of_the_librarys_own_tuner_are_recognised(tmp_path):
    text = f"Git Version: a\nschema_version,git_version,{HEADER.strip()},epilogue\n1,a,{VALUES.strip()},1\n"
    (row,) = read_results(written(tmp_path / "results.txt", text)).rows
    assert row.schema == 1
    assert "own tuner" in str(unread_because(row, "G2"))
    assert unread_because(row, "G4") is None


def test_columns_of_other_settings_do_no_harm(tmp_path):
    header = HEADER.replace("hipblaslt-Gflops", "splitK,lowest-avg-freq,hipblaslt-Gflops")
    values = VALUES.replace(",182699,", ",4,1211,182699,")
    (row,) = read_results(written(tmp_path / "results.txt", f"Git Version: a\n{header}\n{values}\n")).rows
    assert (row.gemm(), row.solution_index) == (expressible(GEMM), 24641)


def test_files_that_are_no_results_are_refused(tmp_path):
    with pytest.raises(MissingError, match="stage 2"):
        read_results(tmp_path / "results.txt")
    (tmp_path / "results.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PrimusError, match="not a text file"):
        read_results(tmp_path / "results.txt")


def test_merging_keeps_the_fastest_and_puts_the_heaviest_last(tmp_path):
    added = dataclasses.replace(GEMM, beta=1.0)
    parts = []
    for name, winners in {
        "a": [winner(GEMM, 1, us=20.0), winner(added, 2, us=30.0)],
        "b": [winner(GEMM, 3, us=10.0)],
    }.items():
        write_results(tmp_path / name, "x", rows_of(winners, "G2")[0])
        parts.append(read_results(tmp_path / name))
    rows, notes = merge_results(parts, {GEMM: 100, added: 1})
    assert [row.solution_index for row in rows] == [2, 3]
    assert len(notes) == 1
    assert [row.solution_index for row in merge_results(parts)[0]] == [3, 2]


def test_results_of_different_builds_are_not_merged(tmp_path):
    parts = []
    for version in ("x", "y"):
        write_results(tmp_path / version, version, rows_of([winner()], "G2")[0])
        parts.append(read_results(tmp_path / version))
    with pytest.raises(PrimusError, match="different hipBLASLt builds"):
        merge_results(parts)
