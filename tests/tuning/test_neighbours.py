"""Files for Transformer Engine and PyTorch, against rows that these have written."""

from __future__ import annotations

import pytest

from primus.tuning.gemm import Gemm
from primus.tuning.neighbours import write_engine_csv, write_tunable_csv
from primus.tuning.results import Winner

VALIDATORS = {
    "PT_VERSION": "2.9.1",
    "ROCM_VERSION": "7.1.0.0-20-xxx",
    "HIPBLASLT_VERSION": "1000-b4e5042b",
    "ROCBLAS_VERSION": "5.1.0.8ebd6c11",
    "GCN_ARCH_NAME": "gfx942:sramecc+:xnack-",
}


def winner(gemm: Gemm, architecture: str = "gfx950:sramecc+:xnack-") -> Winner:
    return Winner(gemm=gemm, solution_index=349458, microseconds=19.6817, architecture=architecture, compute_units=256)


FP8 = Gemm.single(m=5120, n=32768, k=2880, trans_a="T", a_type="f8_r", c_type="bf16_r")


def test_a_row_of_transformer_engine_is_written_as_it_does(tmp_path):
    assert not write_engine_csv(tmp_path / "te.csv", [winner(FP8)], workspace=67108864)
    assert (tmp_path / "te.csv").read_text().splitlines() == [
        "dev_cap,m,n,k,trans_a,trans_b,type_a,type_b,type_d,bias_type,aux_type,lda,ldb,ldd,scale_mode,epi,comp,"
        "scale_type,ws_min,ws_max,algo_id,aidx",
        "905,5120,32768,2880,T,N,float8e4m3,float8e4m3,bfloat16,float32,-,2880,2880,5120,0,-,f32,float32,0,67108864,"
        "349458,-1",
    ]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"bias_vector": True}, "bias"),
        ({"activation": "gelu", "use_e": True}, "geluaux"),
        ({"activation": "gelu", "use_e": True, "bias_vector": True}, "geluauxbias"),
        ({"activation": "gelu", "use_e": True, "gradient": True}, "dgelu"),
        ({"activation": "gelu", "use_e": True, "gradient": True, "bias_vector": True}, "dgelubgrad"),
        ({"gradient": True, "bias_vector": True, "bias_source": "b"}, "bgradb"),
    ],
)
def test_epilogues_have_transformer_engines_names(tmp_path, fields, name):
    gemm = Gemm.single(m=8, n=8, k=8, a_type="bf16_r", **fields)
    assert not write_engine_csv(tmp_path / "te.csv", [winner(gemm, "gfx942")], workspace=1)
    row = (tmp_path / "te.csv").read_text().splitlines()[1].split(",")
    assert (row[0], row[15]) == ("904", name)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"batch": 2}, "no batches"),
        ({"a_type": "f64_r", "compute_type": "f64_r"}, "no name for f64_r"),
        ({"activation": "swish"}, "epilogue"),
        ({"scale_a": 3}, "way of scaling"),
    ],
)
def test_what_transformer_engine_has_no_word_for_is_left_out(tmp_path, fields, reason):
    gemm = Gemm.single(**({"m": 8, "n": 8, "k": 8, "a_type": "bf16_r"} | fields))
    (note,) = write_engine_csv(tmp_path / "te.csv", [winner(gemm)], workspace=1)
    assert reason in note
    assert len((tmp_path / "te.csv").read_text().splitlines()) == 1


def test_rows_of_tunable_op_are_written_as_pytorch_does(tmp_path):
    plain = Gemm.single(m=8192, n=1, k=4096, trans_a="T", a_type="bf16_r")
    batched = Gemm.single(m=8, n=4, k=2, trans_b="T", batch=3, a_type="f32_r")
    biased = Gemm.single(m=8, n=4, k=2, a_type="f16_r", bias_vector=True)
    winners = [winner(each) for each in (plain, batched, biased)]
    assert not write_tunable_csv(tmp_path / "tunable.csv", winners, VALIDATORS)
    assert (tmp_path / "tunable.csv").read_text().splitlines() == [
        *(f"Validator,{name},{value}" for name, value in VALIDATORS.items()),
        "GemmTunableOp_BFloat16_TN,tn_8192_1_4096_ld_4096_4096_8192,Gemm_Hipblaslt_349458,0.0196817",
        "GemmStridedBatchedTunableOp_float_NT,nt_8_4_2_B_3_ld_8_4_8,Gemm_Hipblaslt_349458,0.0196817",
        "GemmAndBiasTunableOp_Half_NN,nn_8_4_2_ld_8_2_8,Gemm_Hipblaslt_349458,0.0196817",
    ]


def test_what_tunable_op_does_not_run_is_left_out(tmp_path):
    (note,) = write_tunable_csv(tmp_path / "tunable.csv", [winner(FP8)], VALIDATORS)
    assert "one plain type" in note


def test_a_file_that_pytorch_would_reject_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="GCN_ARCH_NAME"):
        write_tunable_csv(tmp_path / "tunable.csv", [], {"PT_VERSION": "2.9.1"})
    assert not (tmp_path / "tunable.csv").exists()
