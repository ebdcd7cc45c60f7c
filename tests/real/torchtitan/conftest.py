"""Real torchtitan runs on this machine's CPU: a tiny Llama on real text, a few seconds each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from primus.backends.torchtitan import BACKEND
from primus.backends.torchtitan.checkpoint_folder import checkpoints
from primus.experiment import load, resolve
from primus.job import Resources
from primus.run import RunDirectory

TINY = """
[model]
name = "{family}"
flavor = "custom"
hf_assets_path = "{corpus}/tokenizer"
[model.custom]
dim = 64
n_layers = 4
n_heads = 4
vocab_size = 260
{sizes}
[training]
dataset = "text"
dataset_path = "{corpus}"
local_batch_size = 8
seq_len = 128
steps = 20
mixed_precision_param = "float32"
[optimizer]
lr = 4e-3
[lr_scheduler]
warmup_steps = 2
[activation_checkpoint]
mode = "none"
[metrics]
log_freq = 1
[checkpoint]
enable = true
interval = 10
last_save_model_only = false
[debug]
seed = 7
"""

LLAMA = {"n_kv_heads": 2, "multiple_of": 32}
"""Sizes of the tiny Llama besides those that all families have."""


class Zygote:
    """Starts workers, with torchtitan imported already."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("zygote.py")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def ask(self, **request: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


class Run:
    """The workers of one run."""

    def __init__(self, zygote: Zygote, folder: Path, directory: RunDirectory, pids: list[int]) -> None:
        self.zygote = zygote
        self.folder = folder
        self.directory = directory
        self.pids = pids

    def wait(self) -> list[int]:
        """Exit statuses of all workers."""
        return [self.zygote.ask(wait=pid) for pid in self.pids]

    def send(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)

    def wait_for_step(self, step: int) -> None:
        end = time.monotonic() + 120
        while step not in self.metric("loss"):
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def log(self, rank: int = 0) -> str:
        path = self.directory.log_path(0, rank)
        return path.read_text() if path.exists() else ""

    def metric(self, name: str) -> dict[int, float]:
        """A metric by step."""
        path = self.directory.metrics
        lines = path.read_text().splitlines() if path.exists() else []
        return {line["step"]: line[name] for line in map(json.loads, lines) if name in line}

    def steps(self) -> list[int]:
        """Of the complete checkpoints."""
        return [each.step for each in checkpoints(self.folder / "checkpoints")]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of Python's own source code, as `primus data prepare` makes it."""
    source = Path(json.__file__).parents[1]
    output = tmp_path_factory.mktemp("data") / "corpus"
    folders = [str(source / name) for name in ("json", "email", "http")]
    options = ["--glob", "*.py", "--output", str(output), "--tokenizer", "byte", "--format", "torchtitan"]
    subprocess.run([sys.executable, "-m", "primus", "data", "prepare", *folders, *options], check=True)
    return output


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    found = Zygote()
    yield found
    found.process.kill()
    found.process.communicate()


@pytest.fixture(scope="session")
def run_script(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """What a script prints, run with one argument in a process that has torchtitan and the CPU adapter."""
    output = tmp_path_factory.mktemp("script") / "output"

    def run(script: Path, argument: str = "") -> str:
        pid = zygote.ask(script=str(script), argument=argument, output=str(output))
        assert zygote.ask(wait=pid) == 0, output.read_text()
        return output.read_text()

    return run


@pytest.fixture(scope="session")
def start(zygote: Zygote, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Starts a run of the tiny experiment: `start(name, "training.steps=5", processes=2, resume="require")`."""
    workspace = tmp_path_factory.mktemp("workspace")
    file = workspace / "tiny.toml"

    def start(
        name: str,
        *sets: str,
        processes: int = 1,
        resume: str = "auto",
        after: Run | None = None,
        at: int | None = None,
        environ: dict[str, str] | None = None,
        family: str = "llama3",
        sizes: Mapping[str, Any] = LLAMA,
    ) -> Run:
        """With `after`, begin with a copy of that run's checkpoints, up to step `at`."""
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in sizes.items())
        file.write_text(TINY.format(corpus=corpus, family=family, sizes=lines))
        options = ("work_group=group", "user_name=user", f"exp_name={name}", f"workspace={workspace}", *sets)
        experiment, problems = resolve(load(file, sets=options, environ={}), BACKEND.schema())
        resources = Resources(nproc_per_node=processes)
        errors = [each for each in (*problems, *BACKEND.check(experiment, resources)) if each.severity == "error"]
        assert not errors
        runs = experiment.folder / "runs"
        directory = RunDirectory(runs / f"run{len(list(runs.glob('*')))}")
        job = BACKEND.plan(experiment, resources, run_dir=directory.path, resume=resume)  # type: ignore[arg-type]
        directory.create(job.files)
        if after is not None:
            for each in checkpoints(after.folder / "checkpoints"):
                if at is None or each.step <= at:
                    shutil.copytree(each.path, experiment.folder / "checkpoints" / each.path.name)
        shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0"}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), **(environ or {})}
        pids = [
            zygote.ask(run_dir=str(directory.path), resume=resume, environ=shared | {"RANK": rank, "LOCAL_RANK": rank})
            for rank in map(str, range(processes))
        ]
        return Run(zygote, experiment.folder, directory, pids)

    return start


@pytest.fixture(scope="session")
def train(start: Callable[..., Run]) -> Callable[..., Run]:
    """Like start, and waits for a good end."""

    def train(name: str, *sets: str, **options: Any) -> Run:
        run = start(name, *sets, **options)
        statuses = run.wait()
        assert not any(statuses), "\n".join(run.log(rank)[-3000:] for rank in range(len(statuses)))
        return run

    return train


@pytest.fixture(scope="session")
def straight(train: Callable[..., Run]) -> Run:
    """20 steps in one process, with checkpoints after 10 and 20."""
    return train("straight")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
