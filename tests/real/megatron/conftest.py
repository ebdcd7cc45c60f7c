"""Real Megatron runs on this machine's CPU, each of a tiny model and a few seconds."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from primus.backends.megatron.checkpoint_folder import CheckpointFolder
from primus.run import RunDirectory

sys.path.insert(0, str(Path(__file__).parent))
from worker_process import PRELOAD, work

LLAMA: dict[str, Any] = {
    "num_layers": 4,
    "hidden_size": 64,
    "ffn_hidden_size": 128,
    "num_attention_heads": 4,
    "group_query_attention": True,
    "num_query_groups": 2,
    "swiglu": True,
    "normalization": "RMSNorm",
    "position_embedding_type": "rope",
    "untie_embeddings_and_output_weights": True,
    "add_bias_linear": False,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "tokenizer_type": "NullTokenizer",
    "vocab_size": 255,
    "make_vocab_size_divisible_by": 64,
    "mock_data": True,
    "split": "98,1,1",
    "num_workers": 0,
    "create_attention_mask_in_dataloader": False,
    "seq_length": 64,
    "micro_batch_size": 2,
    "global_batch_size": 8,
    "train_iters": 20,
    "lr": 3.0e-3,
    "min_lr": 3.0e-4,
    "lr_decay_style": "cosine",
    "lr_warmup_iters": 2,
    "weight_decay": 0.1,
    "log_interval": 1,
    "dist_ckpt_optim_fully_reshardable": True,
}
"""A Llama of 4 layers on generated numbers, 20 steps."""

LATENT: dict[str, Any] = {
    "multi_latent_attention": True,
    "group_query_attention": None,
    "num_query_groups": None,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_head_dim": 16,
    "qk_pos_emb_head_dim": 8,
    "v_head_dim": 16,
    "kv_channels": 16,
    "qk_layernorm": True,
    "rope_type": "rope",
}
"""What makes its attention latent."""

EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "moe_router_topk": 2,
    "moe_ffn_hidden_size": 64,
    "moe_router_dtype": "fp32",
    "moe_token_dispatcher_type": "alltoall",
}
"""What gives it experts."""


class MegatronRun:
    """Worker processes of one run."""

    def __init__(self, folder: Path, run_dir: Path, processes: list[BaseProcess], *, nodes: bool) -> None:
        self.folder = folder
        self.nodes = nodes
        self.directory = RunDirectory(run_dir)
        self.processes = processes
        self.checkpoints = CheckpointFolder(folder / "checkpoints")

    def wait(self, timeout: float = 120) -> list[int]:
        """Exit statuses of all workers; when one fails, the others are killed as torchrun does it."""
        end = time.monotonic() + timeout
        while any(process.exitcode is None for process in self.processes):
            assert time.monotonic() < end, f"still running after {timeout} s: {self.log()}"
            if any(process.exitcode for process in self.processes):
                time.sleep(1)
                self.kill()
            time.sleep(0.02)
        return [process.exitcode or 0 for process in self.processes]

    def kill(self, number: int = signal.SIGKILL, *, rank: int | None = None) -> None:
        """Send a signal to all workers, or to one."""
        for process in self.processes if rank is None else [self.processes[rank]]:
            if process.exitcode is None and process.pid is not None:
                os.kill(process.pid, number)

    def log(self, rank: int = 0) -> str:
        return self.directory.log_path(rank if self.nodes else 0, rank).read_text()

    def metric(self, name: str) -> dict[int, float]:
        """A metric by step."""
        lines = self.directory.metrics.read_text().splitlines() if self.directory.metrics.exists() else []
        return {line["step"]: line[name] for line in map(json.loads, lines) if name in line}


Start = Callable[..., MegatronRun]


@pytest.fixture(scope="session")
def forkserver() -> Iterator[Any]:
    """Processes forked from one with everything imported."""
    # Functions are compiled when their modules are imported, which is before the CPU adapter comes in here.
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    yield context
    for child in multiprocessing.active_children():
        child.kill()


@pytest.fixture(scope="session")
def start(forkserver: Any, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts the workers of a run: `start(name, processes=2, resume="auto", after=other run, **values)`."""
    workspace = tmp_path_factory.mktemp("workspace")

    def start(
        name: str,
        *,
        processes: int = 1,
        resume: str = "auto",
        after: MegatronRun | None = None,
        at: int | None = None,
        leave_out: str = "",
        nodes: bool = False,
        **values: Any,
    ) -> MegatronRun:
        """With `after`, begin with a copy of that run's checkpoints, up to step `at`. With `nodes`, each process
        believes to be on a node of its own."""
        folder = workspace / "group" / "user" / name
        run_dir = folder / "runs" / f"run{len(list(folder.glob('runs/*')))}"
        run_dir.mkdir(parents=True)
        overrides = {key: value for key, value in (LLAMA | values).items() if value is not None}
        header = {"work_group": "group", "user_name": "user", "exp_name": name, "workspace": str(workspace)}
        experiment = header | {"modules": {"pre_trainer": {"framework": "megatron", "overrides": overrides}}}
        RunDirectory(run_dir).experiment.write_text(json.dumps(experiment))
        if after is not None:
            for step in after.checkpoints.steps():
                if at is None or step <= at:
                    shutil.copytree(after.checkpoints.path_of(step), folder / "checkpoints" / f"iter_{step:07d}")
        port = str(_free_port())
        workers = []
        for rank in range(processes):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "MASTER_PORT": port}
            place |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
            if nodes:
                place |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank)}
            workers.append(forkserver.Process(target=work, args=(str(run_dir), resume, place, leave_out)))
            workers[-1].start()
        return MegatronRun(folder, run_dir, workers, nodes=nodes)

    return start


@pytest.fixture(scope="session")
def train(start: Start) -> Start:
    """Like start, and waits for a good end."""

    def train(name: str, **options: Any) -> MegatronRun:
        run = start(name, **options)
        statuses = run.wait()
        assert not any(statuses), "\n".join(run.log(rank)[-3000:] for rank in range(len(statuses)))
        return run

    return train


@pytest.fixture(scope="session")
def straight(train: Start) -> MegatronRun:
    """20 steps in one process, with checkpoints after 10 and 20."""
    return train("straight", save_interval=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
