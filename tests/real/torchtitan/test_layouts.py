"""Every way in which torchtitan can divide a model among processes on a CPU computes the same: from the same weights,
on the same batches, the losses and gradients of one process. docs/layouts.md shows what was measured;
PRIMUS_WRITE_DOCS=1 writes it anew."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/layouts.md"
HEADING = "## torchtitan"

TOLERANCE = 1e-4
"""Largest relative difference of a loss or gradient norm from that of a single process, in float32."""

BATCH = 16
"""Sequences of a step, and documents of the text: however many ranks read them, each step takes one of each."""

STEPS = 10

SHORT = (f"training.steps={STEPS}", "lr_scheduler.warmup_steps=0", "checkpoint.interval=1000", "training.seq_len=64")

EXPERTS = {"moe_args.num_experts": 4, "moe_args.top_k": 2, "moe_args.use_grouped_mm": False}

MODELS: dict[str, dict[str, Any]] = {
    "llama3": {"n_kv_heads": 2, "multiple_of": 32},
    "llama4": EXPERTS | {"n_kv_heads": 2, "multiple_of": 32, "interleave_moe_layer_step": 1},
    "deepseek_v3": EXPERTS
    | {
        "inter_dim": 128,
        "moe_inter_dim": 64,
        "n_dense_layers": 1,
        "moe_args.num_expert_groups": 2,
        "moe_args.num_limited_groups": 1,
        "q_lora_rank": 32,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
    },
    "qwen3": EXPERTS | {"n_kv_heads": 2, "head_dim": 16, "hidden_dim": 128, "moe_inter_dim": 64, "moe_enabled": True},
}
"""Family → its sizes, besides those that all have."""


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    model: str
    replicas: int
    """Ranks that read different data."""

    processes: int
    values: dict[str, Any]


def case(name: str, model: str, processes: int, **values: Any) -> Case:
    replicas = processes
    for kind in ("tensor", "pipeline"):
        replicas //= values.get(f"{kind}_parallel_degree", 1)
    return Case(name=name, model=model, replicas=replicas, processes=processes, values=values)


TENSOR = {"tensor_parallel_degree": 2}
PIPELINE = {"pipeline_parallel_degree": 2}
DDP = {"data_parallel_replicate_degree": 2, "data_parallel_shard_degree": 1}
HSDP = {"data_parallel_replicate_degree": 2, "data_parallel_shard_degree": 2}
EXPERT = {"expert_parallel_degree": 2}
EXPERT_TENSOR = {"expert_tensor_parallel_degree": 2}
INTERLEAVED = PIPELINE | {"pipeline_parallel_schedule": "Interleaved1F1B"}

LARGER = {"pipeline_parallel_microbatch_size": 4}

CASES = [
    case("FSDP 2", "llama3", 2),
    case("DDP 2", "llama3", 2, **DDP),
    case("HSDP 2 × 2", "llama3", 4, **HSDP),
    case("tensor 2", "llama3", 2, **TENSOR),
    case("pipeline 2", "llama3", 2, **PIPELINE),
    case("pipeline 2, 2 stages each", "llama3", 2, **INTERLEAVED),
    case("pipeline 2, 2 stages each, in a V", "llama3", 2, **PIPELINE, pipeline_parallel_schedule="ZBVZeroBubble"),
    case("FSDP 2 × tensor 2", "llama3", 4, **TENSOR),
    case("FSDP 2 × pipeline 2", "llama3", 4, **PIPELINE, **LARGER),
    case("tensor 2 × pipeline 2", "llama3", 4, **TENSOR, **PIPELINE, **LARGER),
    case("HSDP 2 × 2 × tensor 2", "llama3", 8, **HSDP, **TENSOR),
    case("FSDP 2 × tensor 2 × pipeline 2", "llama3", 8, **TENSOR, **PIPELINE, **LARGER),
    case("FSDP 2", "llama4", 2),
    case("FSDP 2, expert 2", "llama4", 2, **EXPERT),
    case("tensor 2", "deepseek_v3", 2, **TENSOR),
    case("pipeline 2", "deepseek_v3", 2, **PIPELINE, **LARGER),
    case("FSDP 2, expert 2", "deepseek_v3", 2, **EXPERT),
    case("HSDP 2 × 2, expert 2", "deepseek_v3", 4, **HSDP, **EXPERT),
    case("FSDP 2 × tensor 2, expert 2 × expert tensor 2", "deepseek_v3", 4, **TENSOR, **EXPERT, **EXPERT_TENSOR),
    case("FSDP 2 × pipeline 2, expert 2", "deepseek_v3", 4, **PIPELINE, **EXPERT, **LARGER),
    case("FSDP 2", "qwen3", 2),
]


@dataclass(frozen=True, kw_only=True)
class Measured:
    case: Case
    loss: float
    grad_norm: float

    def row(self) -> str:
        keys = ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in self.case.values.items())
        facts = (self.case.model, self.case.name, self.case.processes, f"{self.loss:.1e}", f"{self.grad_norm:.1e}")
        return f"| {' | '.join(map(str, facts))} | {keys or '–'} |"


class Layouts:
    """Trains a model on one process once, and on others from the same weights."""

    def __init__(self, train: Callable[..., Any], text: Path) -> None:
        self._train = train
        self._text = text
        self._alone: dict[str, Any] = {}
        self._weights: dict[str, Path] = {}
        self._runs: dict[str, Any] = {}

    def alone(self, model: str) -> Any:
        """The steps of one process."""
        if model not in self._alone:
            seed = self._start(f"weights-{model}", model, 1, "checkpoint.create_seed_checkpoint=true")
            self._weights[model] = seed.folder / "checkpoints" / "step-0"
            self._alone[model] = self.from_weights(f"alone-{model}", model, 1)
        return self._alone[model]

    def run(self, case: Case) -> Any:
        self.alone(case.model)
        name = f"layout-{CASES.index(case)}"
        if name not in self._runs:
            sets = [f"parallelism.{key}={json.dumps(value)}" for key, value in case.values.items()]
            self._runs[name] = self.from_weights(name, case.model, case.replicas, *sets, processes=case.processes)
        return self._runs[name]

    def from_weights(self, name: str, model: str, replicas: int, *sets: str, **options: Any) -> Any:
        """The steps of a run that begins as alone() does."""
        weights = (f"checkpoint.initial_load_path={self._weights[model]}", "checkpoint.load_only=true")
        return self._start(name, model, replicas, *weights, *sets, **options)

    def _start(self, name: str, model: str, replicas: int, *sets: str, **options: Any) -> Any:
        data = (f"training.dataset_path={self._text}", f"training.local_batch_size={BATCH // replicas}")
        return self._train(name, *SHORT, *data, *sets, family=model, sizes=MODELS[model], **options)


@pytest.fixture(scope="module")
def layouts(train: Callable[..., Any], corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    lines = [line for path in sorted((corpus / "corpus").iterdir()) for line in path.read_text().splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    folder = tmp_path_factory.mktemp("sixteen")
    documents = ({"text": "\n".join(texts[number::BATCH])} for number in range(BATCH))
    (folder / "documents.jsonl").write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    return Layouts(train, folder)


@pytest.fixture(scope="module")
def measured() -> Iterator[list[Measured]]:
    """What the tests found; on request the page takes it when all have run."""
    found: list[Measured] = []
    yield found
    if os.environ.get("PRIMUS_WRITE_DOCS") and len(found) == len(CASES):
        before, heading, after = PAGE.read_text(encoding="utf-8").partition(HEADING)
        rows = "\n".join(each.row() for each in found)
        after = re.sub(r"(?<=\|---\|\n)(?:\|.*\n)*", rows + "\n", after, count=1)
        PAGE.write_text(before + heading + after, encoding="utf-8")


@pytest.mark.parametrize("each", CASES, ids=[f"{each.model}: {each.name}" for each in CASES])
def test_losses_and_gradients_are_those_of_one_process(each: Case, layouts: Layouts, measured: list[Measured]) -> None:
    alone = layouts.alone(each.model)
    run = layouts.run(each)
    found = Measured(case=each, loss=difference(run, alone, "loss"), grad_norm=difference(run, alone, "grad_norm"))
    measured.append(found)
    assert found.loss < TOLERANCE
    assert found.grad_norm < TOLERANCE


def test_experts_in_one_grouped_product_train_without_triton(layouts: Layouts) -> None:
    alone = layouts.alone("qwen3")
    grouped = layouts.from_weights("grouped", "qwen3", 1, "model.custom.moe_args.use_grouped_mm=true")
    assert grouped.metric("loss") == pytest.approx(alone.metric("loss"), rel=5e-3)
    assert grouped.metric("loss") != alone.metric("loss")  # it multiplies in bfloat16


@pytest.mark.parametrize("layout", ["tensor 2", "pipeline 2", "HSDP 2 × 2, expert 2"])
def test_experts_are_as_evenly_used_as_in_one_process(layout: str, layouts: Layouts) -> None:
    """In the runs of the test before, if they were made."""
    (each,) = (each for each in CASES if (each.model, each.name) == ("deepseek_v3", layout))
    assert difference(layouts.run(each), layouts.alone("deepseek_v3"), "moe_imbalance") < TOLERANCE


def test_the_page_lists_every_layout() -> None:
    section = PAGE.read_text(encoding="utf-8").partition(HEADING)[2]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (\d) \|", section, re.MULTILINE)
    assert rows == [(each.model, each.name, str(each.processes)) for each in CASES]


def difference(run: Any, alone: Any, metric: str) -> float:
    """The largest of all steps, relative."""
    found, expected = run.metric(metric), alone.metric(metric)
    assert sorted(found) == sorted(expected) == list(range(1, STEPS + 1))
    return max(abs(found[step] / expected[step] - 1) for step in expected)
