"""The tables of docs/metrics.md say what the code does. PRIMUS_WRITE_DOCS=1 writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from primus.backends.megatron import BACKEND
from primus.backends.megatron.parameters import complete_values
from primus.backends.megatron.shape import shape_of
from primus.experiment.load import load_preset
from primus.experiment.paths import shipped
from primus.metrics import watch
from primus.metrics.accelerators import accelerators
from primus.metrics.flops import FORWARD_AND_BACKWARD, forward_flops
from primus.metrics.names import METRICS
from primus.metrics.sinks import CLOSE_SECONDS
from primus.metrics.sinks.channel import BACKLOG

PAGE = Path(__file__).parents[2] / "docs/metrics.md"

MODELS = (
    ("llama2_7B", 4096),
    ("llama3.1_8B", 8192),
    ("llama3.1_70B", 8192),
    ("qwen3_0.6B", 4096),
    ("mixtral_8x7B", 4096),
    ("deepseek_v2_lite", 4096),
    ("deepseek_v3", 4096),
)


def metric_rows() -> Iterator[str]:
    for name, metric in METRICS.items():
        yield f"| `{name}` | {metric.unit} | {metric.meaning} |"


def model_rows() -> Iterator[str]:
    for name, sequence in MODELS:
        preset = load_preset(shipped("models", "megatron")[name], "models", "megatron").plain()
        flops = forward_flops(shape_of(complete_values({**preset, "seq_length": sequence}, BACKEND.schema())))
        halved = 1 - flops.attention_scores / 2 / flops.total
        total = FORWARD_AND_BACKWARD * flops.total / 1e9
        yield f"| {name} | {sequence} | {total:.1f} | {flops.attention_scores / flops.total:.1%} | × {halved:.3f} |"


def accelerator_rows() -> Iterator[str]:
    for row in accelerators():
        found = (row.tflops.get(precision) for precision in ("bf16", "fp8", "tf32", "fp32"))
        peaks = " | ".join("–" if peak is None else f"{peak:g}" for peak in found)
        yield f"| {row.name} | {peaks} | {row.memory_gib} GB | {row.bandwidth_tb:g} TB/s | {row.source} |"


TABLES = {
    "| name | unit | meaning |": metric_rows,
    "| model | sequence | GFLOP per token | of it scores and values | with halved attention |": model_rows,
    "| accelerator | bf16, fp16 | fp8 | tf32 | fp32 | memory | bandwidth | source |": accelerator_rows,
}


def test_tables_are_those_of_the_code(assert_tables):
    assert_tables(PAGE, TABLES)


def test_the_rules_of_the_text_are_those_of_the_code():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"the last {watch.WINDOW} reported losses by more than {watch.SPIKE:g} times" in text
    assert f"(or {watch.NOISE:.1%} of the median".replace("%", " %") in text
    assert f"from the {watch.ENOUGH + 1}th report on" in text
    assert f"more than {watch.SLOW} times the median" in text
    assert f"at least {watch.COST:.0%} longer, in three reports in a row".replace("%", " %") in text
    assert watch.PATIENCE == 3
    assert f"a backlog of {BACKLOG:,} reports" in text
    assert f"waits {CLOSE_SECONDS:g} s at most" in text
