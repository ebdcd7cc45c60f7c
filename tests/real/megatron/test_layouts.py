"""Every way to divide a model among processes computes the same: from the same weights, with the same data, the losses
and gradients of one process. docs/layouts.md shows what was measured; PRIMUS_WRITE_DOCS=1 writes it anew."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import EXPERTS, LATENT, MegatronRun, Start

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[3] / "docs/layouts.md"

TOLERANCE = 1e-4
"""Largest relative difference of a loss or gradient norm from that of a single process, in float32."""

SHORT: dict[str, Any] = {"train_iters": 10, "lr_warmup_iters": 0, "disable_last_saving": True}

BALANCED = EXPERTS | {"moe_router_load_balancing_type": "aux_loss", "moe_aux_loss_coeff": 0.01}

MODELS: dict[str, dict[str, Any]] = {
    "Llama": {},
    "GPT-2": {
        "position_embedding_type": "learned_absolute",
        "normalization": "LayerNorm",
        "swiglu": False,
        "add_bias_linear": True,
        "group_query_attention": None,
        "num_query_groups": None,
        "untie_embeddings_and_output_weights": False,
    },
    "Qwen": {"qk_layernorm": True, "add_qkv_bias": True, "untie_embeddings_and_output_weights": False},
    "Mixtral": BALANCED,
    "DeepSeek": BALANCED
    | LATENT
    | {
        "rope_type": "yarn",
        "rotary_scaling_factor": 4,
        "original_max_position_embeddings": 32,
        "moe_layer_freq": "[0]+[1]*3",
        "moe_shared_expert_intermediate_size": 64,
        "moe_router_score_function": "sigmoid",
        "moe_router_enable_expert_bias": True,
        "moe_router_load_balancing_type": "seq_aux_loss",
        "moe_router_num_groups": 2,
        "moe_router_group_topk": 1,
        "mtp_num_layers": 1,
    },
}

TENSOR = {"tensor_model_parallel_size": 2}
SEQUENCE = TENSOR | {"sequence_parallel": True}
PIPELINE = {"pipeline_model_parallel_size": 2}
INTERLEAVED = PIPELINE | {"num_virtual_stages_per_pipeline_rank": 2}
EXPERT = {"expert_model_parallel_size": 2}
SHARDED = {"use_distributed_optimizer": True}
EARLY_GRADIENTS = {"overlap_grad_reduce": True, "ddp_bucket_size": 10000}
EARLY_WEIGHTS = SHARDED | EARLY_GRADIENTS | {"overlap_param_gather": True}
WHOLE_EXPERTS = {"expert_tensor_parallel_size": 1}
GATHERED = {"moe_token_dispatcher_type": "allgather"}


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    model: str
    processes: int
    values: Mapping[str, Any]


def case(name: str, model: str, processes: int, *parts: Mapping[str, Any]) -> Case:
    return Case(name=name, model=model, processes=processes, values={k: v for part in parts for k, v in part.items()})


CASES = [
    case("data 2", "Llama", 2),
    case("data 2, gradients reduced early", "Llama", 2, EARLY_GRADIENTS),
    case("data 2, optimizer sharded", "Llama", 2, SHARDED),
    case("data 2, optimizer sharded, gradients reduced early", "Llama", 2, SHARDED, EARLY_GRADIENTS),
    case("data 2, optimizer sharded, weights gathered early", "Llama", 2, EARLY_WEIGHTS),
    case("data 4, optimizer sharded twice", "Llama", 4, SHARDED, {"num_distributed_optimizer_instances": 2}),
    case("tensor 2", "Llama", 2, TENSOR),
    case("tensor 2", "GPT-2", 2, TENSOR),
    case("tensor 2, sequence", "Llama", 2, SEQUENCE),
    case("tensor 2, sequence", "Qwen", 2, SEQUENCE),
    case("tensor 4, sequence", "Llama", 4, SEQUENCE, {"tensor_model_parallel_size": 4}),
    case("pipeline 2", "Llama", 2, PIPELINE),
    case("pipeline 2, stages of 1 and 3 layers", "Llama", 2, PIPELINE, {"decoder_first_pipeline_num_layers": 1}),
    case("pipeline 4", "Llama", 4, {"pipeline_model_parallel_size": 4}),
    case("pipeline 2, virtual 2", "Llama", 2, INTERLEAVED),
    case("pipeline 2, virtual 2", "GPT-2", 2, INTERLEAVED),
    case("tensor 2 × data 2, optimizer sharded", "Llama", 4, TENSOR, SHARDED),
    case("tensor 2, sequence × data 2, weights gathered early", "Llama", 4, SEQUENCE, EARLY_WEIGHTS),
    case("tensor 2 × pipeline 2", "Llama", 4, TENSOR, PIPELINE),
    case("tensor 2, sequence × pipeline 2, virtual 2", "Qwen", 4, SEQUENCE, INTERLEAVED),
    case("pipeline 2 × data 2", "Llama", 4, PIPELINE),
    case("pipeline 2 × data 2, pipelines numbered first", "Llama", 4, PIPELINE, {"use_tp_pp_dp_mapping": True}),
    case("pipeline 2, virtual 2 × data 2, weights gathered early", "Llama", 4, INTERLEAVED, EARLY_WEIGHTS),
    case("data 2", "DeepSeek", 2),
    case("tensor 2, sequence, experts as the rest", "Mixtral", 2, SEQUENCE),
    case("tensor 2, sequence, experts as the rest", "DeepSeek", 2, SEQUENCE),
    case("pipeline 2", "DeepSeek", 2, PIPELINE),
    case("pipeline 2, virtual 2", "Mixtral", 2, INTERLEAVED),
    case("expert 2", "Mixtral", 2, EXPERT),
    case("expert 2, tokens gathered", "Mixtral", 2, EXPERT, GATHERED),
    case("expert 2", "DeepSeek", 2, EXPERT),
    case("expert 4", "Mixtral", 4, {"expert_model_parallel_size": 4}),
    case("expert 2 × data 2, weights gathered early", "Mixtral", 4, EXPERT, EARLY_WEIGHTS),
    case("expert 2 × expert tensor 2", "Mixtral", 4, EXPERT, {"expert_tensor_parallel_size": 2}),
    case("tensor 2, sequence; expert 2, experts whole", "Mixtral", 4, SEQUENCE, EXPERT, WHOLE_EXPERTS),
    case("tensor 2, sequence; expert 2 × expert tensor 2", "Mixtral", 4, SEQUENCE, EXPERT),
    case("tensor 2, sequence; expert 2 × expert tensor 2", "DeepSeek", 4, SEQUENCE, EXPERT),
    case("pipeline 2 × expert 2", "DeepSeek", 4, PIPELINE, EXPERT),
]


@dataclass(frozen=True, kw_only=True)
class Measured:
    case: Case
    loss: float
    grad_norm: float

    def row(self) -> str:
        keys = ", ".join(f"`{key}: {_yaml(value)}`" for key, value in self.case.values.items())
        facts = (self.case.model, self.case.name, self.case.processes, f"{self.loss:.1e}", f"{self.grad_norm:.1e}")
        return f"| {' | '.join(map(str, facts))} | {keys or '–'} |"


class Layouts:
    """Runs a model on one process once, and says how far others are from it."""

    def __init__(self, train: Start) -> None:
        self._train = train
        self._alone: dict[str, MegatronRun] = {}
        self._weights: dict[str, MegatronRun] = {}
        self._runs: dict[str, MegatronRun] = {}

    def alone(self, model: str) -> MegatronRun:
        """10 steps of one process."""
        if model not in self._alone:
            first = {"train_iters": 1, "lr_warmup_iters": 0}
            self._weights[model] = self._train(f"weights-{model}", **MODELS[model] | first)
            self._alone[model] = self.run(f"alone-{model}", model)
        return self._alone[model]

    def run(self, name: str, model: str, **options: Any) -> MegatronRun:
        start = {"load": str(self._weights[model].checkpoints.path), "finetune": True}
        self._runs[name] = self._train(name, **MODELS[model] | SHORT | start | options)
        return self._runs[name]

    def found(self, name: str, case: Case) -> MegatronRun:
        """A run that was made already, or is made now."""
        self.alone(case.model)
        return self._runs.get(name) or self.run(name, case.model, processes=case.processes, **case.values)


@pytest.fixture(scope="module")
def layouts(train: Start) -> Layouts:
    return Layouts(train)


def difference(run: MegatronRun, alone: MegatronRun, metric: str) -> float:
    """The largest of all steps, relative."""
    found, expected = run.metric(metric), alone.metric(metric)
    assert sorted(found) == sorted(expected) == list(range(1, 11))
    return max(abs(found[step] / expected[step] - 1) for step in expected)


@pytest.fixture(scope="module")
def measured() -> Iterator[list[Measured]]:
    """What the tests found; on request the page takes it when all have run."""
    found: list[Measured] = []
    yield found
    if os.environ.get("PRIMUS_WRITE_DOCS") and len(found) == len(CASES):
        text = PAGE.read_text(encoding="utf-8")
        rows = "\n".join(each.row() for each in found)
        PAGE.write_text(re.sub(r"(?<=\|---\|\n)(?:\|.*\n)*", rows + "\n", text, count=1), encoding="utf-8")


@pytest.mark.parametrize("each", CASES, ids=[f"{each.model}: {each.name}" for each in CASES])
def test_losses_and_gradients_are_those_of_one_process(each: Case, layouts: Layouts, measured: list[Measured]) -> None:
    alone = layouts.alone(each.model)
    run = layouts.run(f"layout-{CASES.index(each)}", each.model, processes=each.processes, **each.values)
    found = Measured(case=each, loss=difference(run, alone, "loss"), grad_norm=difference(run, alone, "grad_norm"))
    measured.append(found)
    assert found.loss < TOLERANCE
    assert found.grad_norm < TOLERANCE


@pytest.mark.parametrize("layout", ["expert 2", "pipeline 2", "tensor 2, sequence, experts as the rest"])
def test_other_losses_are_those_of_one_process(layout: str, layouts: Layouts) -> None:
    """The runs of the test before, if they were made."""
    (number,) = (index for index, each in enumerate(CASES) if (each.model, each.name) == ("DeepSeek", layout))
    alone, run = layouts.alone("DeepSeek"), layouts.found(f"layout-{number}", CASES[number])
    for metric in ("mtp_1_loss", "moe_seq_load_balancing_loss", "moe_imbalance"):
        assert difference(run, alone, metric) < TOLERANCE


def test_page_lists_every_layout() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## torchtitan")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (\d) \|", section, re.MULTILINE)
    assert rows == [(each.model, each.name, str(each.processes)) for each in CASES]


CONTINUED: dict[str, dict[str, Any]] = {"data": {}, "tensor": SEQUENCE, "pipeline": INTERLEAVED}


@pytest.mark.parametrize("layout", CONTINUED)
def test_two_processes_continue_what_one_began(layout: str, train: Start, straight: MegatronRun) -> None:
    run = train(
        f"continued-{layout}", processes=2, after=straight, at=10, disable_last_saving=True, **CONTINUED[layout]
    )
    expected = straight.metric("loss")
    losses = run.metric("loss")
    assert sorted(losses) == list(range(11, 21))
    assert losses == pytest.approx({step: expected[step] for step in losses}, rel=TOLERANCE)


@pytest.mark.parametrize("layout", [{}, TENSOR], ids=["data", "tensor"])
def test_two_processes_begin_with_the_weights_of_one(
    layout: dict[str, Any], train: Start, straight: MegatronRun
) -> None:
    values = {"train_iters": 3, "lr_decay_iters": 20, "disable_last_saving": True}
    losses = train(f"begun-{len(layout)}", processes=2, **values, **layout).metric("loss")
    assert losses == pytest.approx({step: straight.metric("loss")[step] for step in (1, 2, 3)}, rel=TOLERANCE)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_seed_gives_the_same_losses(processes: int, train: Start) -> None:
    values = {"hidden_dropout": 0.1, "attention_dropout": 0.1, **SHORT, "train_iters": 4, "processes": processes}
    once, twice = (train(f"seed-{processes}-{name}", **values) for name in ("once", "twice"))
    other = train(f"seed-{processes}-other", seed=5, **values)
    assert once.metric("loss") == twice.metric("loss")
    assert once.metric("grad_norm") == twice.metric("grad_norm")
    assert not set(once.metric("loss").values()) & set(other.metric("loss").values())


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
