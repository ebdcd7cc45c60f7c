"""Predicts the GEMMs of an experiment without running it: the backend's multiplications as hipBLASLt problems.

`primus tune shapes` prints them; stage 1 finds the real ones. Types and factors are those of torch and Transformer
Engine: products in the model's precision with float32 inside, gradients of weights summed up in float32 where fused.
"""

from __future__ import annotations

from primus.backends.base import Backend
from primus.experiment import Experiment
from primus.job import Resources
from primus.metrics.matmul import Matmul, Tally
from primus.tuning.gemm import Gemm
from primus.tuning.shapes import Shapes, Use

_TYPES = {"bf16": "bf16_r", "fp16": "f16_r", "fp32": "f32_r"}


def predict_shapes(backend: Backend, experiment: Experiment, resources: Resources) -> tuple[Shapes, list[str]]:
    """The problems of one training step with their calls, and notes on what can't be known before the run."""
    tally = backend.matmuls(experiment, resources)
    shapes = Shapes()
    for matmul, calls in tally.calls.items():
        shapes.add(as_gemm(matmul, tally), Use(calls=calls, ranks=tally.ranks[matmul]))
    return shapes, tally.notes


def as_gemm(matmul: Matmul, tally: Tally) -> Gemm:
    """One multiplication as the library gets it."""
    own = "f32_r" if matmul.high_precision else _TYPES[tally.precision]
    summed = tally.accumulated and matmul.weight_gradient
    return Gemm.single(
        m=matmul.m,
        n=matmul.n,
        k=matmul.k,
        trans_a=matmul.trans_a,
        trans_b=matmul.trans_b,
        batch=matmul.batch,
        beta=1.0 if summed else 0.0,
        a_type=own,
        c_type="f32_r" if summed else own,
    )
