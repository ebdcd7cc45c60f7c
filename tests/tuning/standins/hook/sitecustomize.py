"""Lets a training on a CPU call the fake hipBLASLt for each of its matrix multiplications, as one on a GPU would.

With this folder in PYTHONPATH and STANDIN_HOOK naming the folder of the libraries, every Python process that imports
torch has mm, addmm, bmm and baddbmm of the CPU announce themselves to the library (which logs them, counts them and
reads override files) before torch computes them as ever: the training's numbers stay the same.
"""

import importlib.util
import os
import sys
import warnings


class AfterTorch:
    """Runs `install` when torch has been imported, and imports nothing itself."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                install(module)

            spec.loader.exec_module = exec_module
        return spec


def install(torch):
    """Put our kernels in front of the CPU's."""
    library = torch.library.Library("aten", "IMPL")
    aten = torch.ops.aten
    announce = Announcer(torch)

    def mm(a, b):
        announce(a, b)
        return aten.mm.out(a, b, out=a.new_empty((a.shape[0], b.shape[1])))

    def bmm(a, b):
        announce(a, b)
        return aten.bmm.out(a, b, out=a.new_empty((a.shape[0], a.shape[1], b.shape[2])))

    def addmm(c, a, b, *, beta=1, alpha=1):
        announce(a, b, c, alpha, beta)
        return aten.addmm.out(c, a, b, beta=beta, alpha=alpha, out=a.new_empty((a.shape[0], b.shape[1])))

    def baddbmm(c, a, b, *, beta=1, alpha=1):
        announce(a, b, c, alpha, beta)
        out = a.new_empty((a.shape[0], a.shape[1], b.shape[2]))
        return aten.baddbmm.out(c, a, b, beta=beta, alpha=alpha, out=out)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that kernels are replaced is what we want
        for function in (mm, bmm, addmm, baddbmm):
            library.impl(function.__name__, function, "CPU", allow_override=True)
    install.keep = library  # the kernels go with it


class Announcer:
    """Calls hipblasLtMatmul with the shapes of torch's operands, and no data."""

    def __init__(self, torch):
        self.types = {
            torch.float32: "f32_r",
            torch.float64: "f64_r",
            torch.float16: "f16_r",
            torch.bfloat16: "bf16_r",
        }
        self.launchers = {}
        self.library = None

    def __call__(self, a, b, c=None, alpha=1, beta=0):
        """D = alpha A B + beta C, row by row: for a library that goes column by column, D' = alpha B' A' + beta C'."""
        if a.dtype not in self.types or not a.numel() or not b.numel():
            return
        has_bias = c is not None and c.dim() == 1 and beta == 1
        key = (
            a.dtype,
            a.shape,
            a.stride(),
            b.shape,
            b.stride(),
            has_bias,
            float(alpha),
            0.0 if has_bias else float(beta),
        )
        if key not in self.launchers:
            self.launchers[key] = self.launcher(a, b, has_bias, *key[-2:])
        self.launchers[key]((None, None, None, None))

    def launcher(self, a, b, has_bias, alpha, beta):
        import contextlib

        from primus.tuning.gemm import Gemm
        from primus.tuning.measure_problem import describe

        self.start()
        batch = a.shape[0] if a.dim() == 3 else 1
        trans_a, lda, stride_a = as_columns(b)
        trans_b, ldb, stride_b = as_columns(a)
        rows, columns = a.shape[-2], b.shape[-1]
        gemm = Gemm.single(
            **{"m": columns, "n": rows, "k": a.shape[-1], "lda": lda, "ldb": ldb, "ldc": columns, "ldd": columns},
            **{"stride_a": stride_a, "stride_b": stride_b, "stride_c": rows * columns, "stride_d": rows * columns},
            **{"trans_a": trans_a, "trans_b": trans_b, "batch": batch, "alpha": alpha, "beta": beta},
            a_type=self.types[a.dtype],
            compute_type="f64_r" if self.types[a.dtype] == "f64_r" else "f32_r",
            bias_vector=has_bias,
        )
        desc, layouts = describe(contextlib.ExitStack(), self.handle, gemm)
        algo = self.handle.heuristics(desc, layouts, self.preference, requested=1)[0].algo
        scalars = scalars_of(gemm)
        return self.handle.matmul_caller(
            desc, layouts, scalars, algo=algo, workspace=(self.workspace.pointer, WORKSPACE), stream=self.stream
        )

    def start(self):
        if self.library is not None:
            return
        from pathlib import Path

        from primus.tuning.hip import Hip
        from primus.tuning.hipblaslt.library import HipblasLt

        os.environ["STANDIN_COMPUTE"] = "0"  # the operands are torch's, not the fake device's
        os.environ.pop("STANDIN_DIRECTORY", None)  # many ranks may train on one fake GPU
        os.environ.pop("STANDIN_FAILURES", None)  # they are planned for the tuning
        folder = Path(os.environ["STANDIN_HOOK"])
        hip = Hip.load(folder)
        self.library = HipblasLt.load(folder)
        self.handle = self.library.create()
        self.preference = self.library.preference(WORKSPACE)
        self.workspace, self.stream = hip.malloc(WORKSPACE), hip.stream()


WORKSPACE = 64 << 20


def as_columns(tensor):
    """How a column-major library sees the transposed of a row-major matrix: operation, leading dimension, stride."""
    rows, columns = tensor.shape[-2:]
    down, across = tensor.stride()[-2:]
    batch = tensor.stride(0) if tensor.dim() == 3 else 0
    if across == 1 and down >= columns:
        return "N", down, batch
    if down == 1 and across >= rows:
        return "T", across, batch
    return "N", columns, rows * columns  # torch copies such a matrix first


def scalars_of(gemm):
    import ctypes

    kind = ctypes.c_double if gemm.scale_type == "f64_r" else ctypes.c_float
    return kind(gemm.alpha), kind(gemm.beta)


if os.environ.get("STANDIN_HOOK"):
    sys.meta_path.insert(0, AfterTorch())
