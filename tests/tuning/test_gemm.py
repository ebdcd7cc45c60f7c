"""What follows from a problem: its key, its work, its text."""

from __future__ import annotations

import pytest

from primus.tuning.gemm import Gemm, Size


def gemm(**others: object) -> Gemm:
    return Gemm.single(**({"m": 30, "n": 20, "k": 10, "a_type": "bf16_r"} | others))


def test_leading_dimensions_and_strides_are_completed_by_the_transposes():
    plain, turned = gemm(batch=2), gemm(batch=2, trans_a="T", trans_b="T")
    assert plain.size == Size(
        **{"m": 30, "n": 20, "k": 10, "lda": 30, "ldb": 10, "ldc": 30, "ldd": 30},
        **{"stride_a": 300, "stride_b": 200, "stride_c": 600, "stride_d": 600, "stride_e": 0},
    )
    assert (turned.size.lda, turned.size.ldb, turned.size.stride_a) == (10, 20, 300)
    assert not plain.any_stride


def test_what_is_absent_takes_no_part():
    assert gemm(bias_type="f32_r", bias_source="a", bias_stride=3, aux_type="f16_r", lde=99) == gemm()
    assert hash(gemm(alpha=1)) == hash(gemm(alpha=1.0))


def test_work_and_traffic():
    assert gemm(batch=3).flops == 3 * 2 * 30 * 20 * 10
    # Two bytes per element: A, B and D; C only when it is read.
    assert gemm().bytes == 2 * (30 * 10 + 10 * 20 + 30 * 20)
    assert gemm(beta=1.0).bytes == 2 * (30 * 10 + 10 * 20 + 2 * 30 * 20)
    assert gemm(a_type="f4_r", c_type="f32_r").bytes == (30 * 10 + 10 * 20) // 2 + 4 * 30 * 20


def test_the_key_of_a_tuning_file_leaves_much_out():
    assert gemm(beta=1.0, bias_vector=True, lda=64, activation="gelu").key("G2") == gemm().key("G2")
    mixed = gemm(a_type="f8_r", b_type="bf8_r", c_type="bf16_r")
    assert mixed.key("G0") == gemm(a_type="f8_r", c_type="bf16_r").key("G0")
    assert mixed.key("G1") != gemm(a_type="f8_r", c_type="bf16_r").key("G1")


def test_the_title_is_short():
    assert gemm().title == "NN 30×20×10 bf16_r"
    assert gemm(batch=4, b_type="f8_r", c_type="f32_r", trans_a="T").title == "TN 30×20×10 ×4 bf16_r f8_r →f32_r"


def test_impossible_problems_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        gemm(m=0)
    with pytest.raises(ValueError, match="batch count"):
        gemm(batch=0)
    with pytest.raises(ValueError, match="grouped"):
        Gemm(sizes=(Size(m=1, n=1, k=1), Size(m=2, n=1, k=1)), a_type="f16_r")
