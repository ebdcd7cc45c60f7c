"""What hipblaslt-bench prints is read, and its ends are told apart."""

from __future__ import annotations

import signal

import pytest

from primus.tuning.options import Bench
from primus.tuning.tune.bench_output import failure, generation_of, read_head, read_rows, solutions_of

STATUS = "hipBLASLt status error: Expected HIPBLAS_STATUS_SUCCESS, received HIPBLAS_STATUS_"
COLUMNS = "transA,transB,m,n,k,hipblaslt-Gflops,us"
OUTPUT = f"""hipBLASLt version: 100201
hipBLASLt git version: fa9cdd18-dirty
Query device success: there are 8 devices
-------------------------------------------------------------------------------
Device ID 0 : AMD Instinct MI355X gfx950:sramecc+:xnack-
with 309.2 GB memory, max. SCLK 2400 MHz, max. MCLK 1900 MHz, compute capability 9.5
-------------------------------------------------------------------------------

Is supported 3 / Total solutions: 1870
[0]:{COLUMNS}
    T,N,64,48,32,2.69535e+06,33.0588
Skip solution: 1 (best warm-up = 30 us , warm-up = 90 us, skip ratio = 0.5)
[2]:{COLUMNS}
    T,N,64,48,32,2.5e+06,40
    --Solution index: 381842
    --Solution name:  Cijk_A,B_C
Winner:
{COLUMNS},solution_index
    T,N,64,48,32,2.69535e+06,33.0588,381830
"""


def test_head_rows_and_winner_are_read():
    head = read_head(OUTPUT)
    assert head is not None
    assert (head.revision, head.architecture, head.devices) == ("fa9cdd18-dirty", "gfx950:sramecc+:xnack-", 8)
    rows = list(read_rows(OUTPUT.splitlines()))
    assert [(row.index, row.microseconds) for row in rows] == [(None, 33.0588), (381842, 40.0), (381830, 33.0588)]
    assert solutions_of(OUTPUT) == 3


@pytest.mark.parametrize("end", range(0, len(OUTPUT), 13))
def test_output_that_is_cut_off_anywhere_is_read_as_far_as_it_goes(end: int):
    rows = list(read_rows(OUTPUT[:end].splitlines()))
    assert len(rows) <= 3
    assert read_head("terminate called") is None


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (1, "error: NO solution found! at testing_matmul.hpp:2000", "no-solution"),
        (0, "No Solution Found!!", "no-solution"),
        (1, "error: out of memory (2) at device_vector.hpp:50", "out-of-memory"),
        (1, f"{STATUS}ALLOC_FAILED", "out-of-memory"),
        (1, f"{STATUS}INTERNAL_ERROR", "library"),
        (1, f"{STATUS}NOT_SUPPORTED", "unsupported"),
        (1, "error: unspecified launch failure (719) at testing_matmul.hpp:2100", "device-fault"),
        (134, "Memory access fault by GPU node-1. Reason: Page not present.", "device-fault"),
        (-signal.SIGABRT, "what(): no ROCm-capable device is detected", "no-device"),
        (1, "error: invalid device ordinal (101) at device 3", "no-device"),
        (1, "error: invalid argument (1) at somewhere.cpp:3", "hip"),
        (255, "Option --swizzleA is not defined.", "unsupported"),
        (255, "", "unsupported"),
        (-signal.SIGSEGV, "", "crashed"),
        (139, "", "crashed"),
        (1, "something else", "library"),
        (0, "Is supported 3 / Total solutions: 3", "no-row"),
        (None, "", "timeout"),
    ],
)  # fmt: skip
def test_ends_are_told_apart(status: int | None, text: str, kind: str):
    found = failure(status, f"-----\n{text}\n", doing="trying every solution", limit=60)
    assert found.kind == kind
    assert "trying every solution" in found.message


def test_the_help_tells_the_generation():
    old = "  --lda <value>\n  --scaleA\n"
    assert generation_of(old) == Bench.H24
    assert generation_of(old + "--skip_slow_solution_ratio <float>") == Bench.H25
    assert generation_of(old + "--skip_slow_solution_ratio <float>\n--batch_mode") == Bench.L26
