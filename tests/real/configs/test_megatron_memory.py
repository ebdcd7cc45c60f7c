"""The memory of the shipped experiments is worked out for what megatron.core really puts on each GPU."""

import json
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from primus.backends.megatron import BACKEND
from primus.backends.megatron.memory import stage_memories
from primus.backends.megatron.parameters import complete_values
from primus.backends.prepare import prepare
from primus.commands.models import gpus_of
from primus.experiment.paths import shipped

pytestmark = pytest.mark.real

NODE = 8
EXPERIMENTS = [name for name in shipped("experiments", "megatron") if not name.startswith("tiny")]


def processes(name):
    """On as many whole nodes as the experiment needs."""
    return max(NODE, gpus_of(prepare(f"megatron/{name}", environ={})))


@pytest.fixture(scope="module")
def stages():
    """Parameters on a GPU of each pipeline stage of the real model, by experiment."""
    found = {}
    for count, names in groupby(sorted(EXPERIMENTS, key=processes), key=processes):
        found |= _build(count, list(names))
    return found


def _build(count, names):
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("build_stages.py")), str(count), *names]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_weights_and_gradients_are_those_of_the_real_stages(name, stages):
    values = complete_values(prepare(f"megatron/{name}", environ={}).usable().plain(), BACKEND.schema())
    memories = stage_memories(values, processes(name), "local")
    assert [memory.dense + memory.experts for memory in memories] == stages[name]
    # Buffers of the distributed optimizer are padded.
    assert [memory.weights / 2 for memory in memories] == pytest.approx(stages[name], rel=1e-4)
    assert [memory.gradients / 4 for memory in memories] == pytest.approx(stages[name], rel=1e-4)
