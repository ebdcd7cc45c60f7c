"""The same winners for those who pick kernels themselves: Transformer Engine's CSV and PyTorch's TunableOp results.

Both are written on request, next to hipBLASLt's own tuning file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from primus.run import write_text
from primus.tuning.gemm import Gemm
from primus.tuning.results import Winner

_ENGINE_COLUMNS = (
    *("dev_cap", "m", "n", "k", "trans_a", "trans_b", "type_a", "type_b", "type_d", "bias_type", "aux_type"),
    *("lda", "ldb", "ldd", "scale_mode", "epi", "comp", "scale_type", "ws_min", "ws_max", "algo_id", "aidx"),
)
_ENGINE_TYPES = {
    "f32_r": "float32",
    "f16_r": "float16",
    "bf16_r": "bfloat16",
    "f8_r": "float8e4m3",
    "bf8_r": "float8e5m2",
    "f8_fnuz_r": "float8e4m3",
    "bf8_fnuz_r": "float8e5m2",
}
_ENGINE_EPILOGUES = {
    # gradient, bias, activation with its auxiliary matrix
    (False, False, False): "-",
    (False, True, False): "bias",
    (False, False, True): "geluaux",
    (False, True, True): "geluauxbias",
    (True, False, True): "dgelu",
    (True, True, True): "dgelubgrad",
    (True, True, False): "bgradb",
}
"""Transformer Engine's names of the epilogues that it uses."""

_TUNABLE_TYPES = {"f32_r": "float", "f64_r": "double", "f16_r": "Half", "bf16_r": "BFloat16"}
TUNABLE_VALIDATORS = ("PT_VERSION", "ROCM_VERSION", "HIPBLASLT_VERSION", "ROCBLAS_VERSION", "GCN_ARCH_NAME")
"""What PyTorch compares with itself before it uses a file; one that differs rejects all of it."""


def write_engine_csv(path: Path, winners: Sequence[Winner], *, workspace: int) -> list[str]:
    """A file for TE_HIPBLASLT_ALGO_LOAD. `workspace` is the bytes that training gives to a GEMM.

    Returns what could not be said. The position in the heuristic's list is not known here: -1 makes Transformer
    Engine go by the solution's index.
    """
    lines, notes = [",".join(_ENGINE_COLUMNS)], []
    for winner in winners:
        reason = _engine_refuses(winner)
        if reason:
            notes.append(f"{winner.gemm.title}: left out of Transformer Engine's file: {reason}")
        else:
            values = _engine_values(winner, workspace)
            lines.append(",".join(str(values[name]) for name in _ENGINE_COLUMNS))
    write_text(path, "\n".join(lines) + "\n")
    return notes


def write_tunable_csv(path: Path, winners: Sequence[Winner], validators: Mapping[str, str]) -> list[str]:
    """A results file for PYTORCH_TUNABLEOP_FILENAME. Returns what could not be said.

    `validators` are PyTorch's own (torch.cuda.tunable.get_validators()) on the machine that will use the file.
    """
    if missing := [name for name in TUNABLE_VALIDATORS if name not in validators]:
        raise ValueError(f"PyTorch would reject the file without {', '.join(missing)}")
    lines, notes = [f"Validator,{name},{value}" for name, value in validators.items()], []
    for winner in winners:
        reason = _tunable_refuses(winner.gemm)
        if reason:
            notes.append(f"{winner.gemm.title}: left out of TunableOp's file: {reason}")
        else:
            milliseconds = f"{winner.microseconds / 1e3:g}"
            lines.append(f"{_tunable_name(winner.gemm)},Gemm_Hipblaslt_{winner.solution_index},{milliseconds}")
    write_text(path, "\n".join(lines) + "\n")
    return notes


def _engine_refuses(winner: Winner) -> str | None:
    gemm = winner.gemm
    if gemm.grouped or gemm.batch > 1:
        return "it has no batches"
    if "C" in (gemm.trans_a, gemm.trans_b):
        return "it has no conjugation"
    types = (gemm.a_type, gemm.b_type, gemm.d_type, gemm.scale_type, *([gemm.bias_type] if gemm.bias_vector else []))
    if strange := next((each for each in types if each not in _ENGINE_TYPES), None):
        return f"it has no name for {strange}"
    if gemm.compute_type != "f32_r":
        return f"it has no name for computing in {gemm.compute_type}"
    if _epilogue(gemm) not in _ENGINE_EPILOGUES or gemm.activation not in ("none", "gelu"):
        return "it has no name for this epilogue"
    if max(gemm.scale_a, gemm.scale_b) > 1:
        return "its number for this way of scaling is not known"
    if not re.match(r"gfx\d{2,3}[0-9a-f]", winner.architecture):
        return f"the device {winner.architecture!r} has no compute capability"
    return None


def _epilogue(gemm: Gemm) -> tuple[bool, bool, bool]:
    return gemm.gradient, gemm.bias_vector, gemm.use_e or gemm.activation != "none"


def _engine_values(winner: Winner, workspace: int) -> dict[str, object]:
    gemm, size = winner.gemm, winner.gemm.size
    return {
        "dev_cap": _capability(winner.architecture),
        **{name: getattr(size, name) for name in ("m", "n", "k", "lda", "ldb", "ldd")},
        "trans_a": gemm.trans_a,
        "trans_b": gemm.trans_b,
        "type_a": _ENGINE_TYPES[gemm.a_type],
        "type_b": _ENGINE_TYPES[gemm.b_type],
        "type_d": _ENGINE_TYPES[gemm.d_type],
        "bias_type": _ENGINE_TYPES[gemm.bias_type] if gemm.bias_vector else "float32",
        "aux_type": _ENGINE_TYPES.get(gemm.aux_type, "-"),
        "scale_mode": 0,
        "epi": _ENGINE_EPILOGUES[_epilogue(gemm)],
        "comp": "f32",
        "scale_type": _ENGINE_TYPES[gemm.scale_type],
        "ws_min": 0,
        "ws_max": workspace,
        "algo_id": winner.solution_index,
        "aidx": -1,
    }


def _capability(architecture: str) -> int:
    """`gfx942:...` is 9.4, written 904; the last digit is the stepping."""
    digits = architecture.partition(":")[0].removeprefix("gfx")
    return int(digits[:-2]) * 100 + int(digits[-2], 16)


def _tunable_refuses(gemm: Gemm) -> str | None:
    if gemm.grouped:
        return "it has no groups"
    if gemm.a_type not in _TUNABLE_TYPES or len({gemm.a_type, gemm.b_type, gemm.c_type, gemm.d_type}) > 1:
        return "it tunes matrices of one plain type"
    if gemm.activation != "none" or gemm.use_e or gemm.gradient or gemm.scale_a or gemm.scale_b:
        return "PyTorch runs no such epilogue through it"
    if gemm.bias_vector and gemm.batch > 1:
        return "it has no bias in batches"
    return None


def _tunable_name(gemm: Gemm) -> str:
    """`Operation_type_transposes,signature`: PyTorch 2.6 and later with leading dimensions."""
    operation = "GemmStridedBatched" if gemm.batch > 1 else "GemmAndBias" if gemm.bias_vector else "Gemm"
    letters, size = gemm.trans_a + gemm.trans_b, gemm.size
    batch = f"_B_{gemm.batch}" if gemm.batch > 1 else ""
    sizes = f"{size.m}_{size.n}_{size.k}{batch}_ld_{size.lda}_{size.ldb}_{size.ldc}"
    return f"{operation}TunableOp_{_TUNABLE_TYPES[gemm.a_type]}_{letters},{letters.lower()}_{sizes}"
