"""Our Megatron loop against a floor: nothing but megatron.core's forward-backward and optimizer step, on the same
model, in the same process, in turns. Also what our loop itself costs in a step. Needs torch and megatron-core.

    python benchmarks/megatron_loop.py [--size tiny|1B] [--rounds 20] [--block 5] [--json]

The size is 1B on a GPU and tiny without one. Ours makes batches, schedules the learning rate, looks for NaN and reports
every step; the floor trains on one batch all the time. Without a GPU the times are those of one core's work, which the
load of the machine does not change; with one they are wall times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

AIM_RATIO, AIM_OWN = 0.97, 1.0

COMMON = {"mock_data": True, "tokenizer_type": "NullTokenizer", "lr": 1.0e-4, "lr_warmup_iters": 10, "num_workers": 0}
COMMON |= {"save_interval": None, "disable_last_saving": True, "use_distributed_optimizer": False}

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "model": "tiny_llama.yaml",
        "overrides": {"vocab_size": 255, "bf16": False, "seq_length": 256, "micro_batch_size": 4},
    },
    "1B": {
        "model": "llama3.2_1B.yaml",
        "overrides": {"seq_length": 4096, "micro_batch_size": 2, "global_batch_size": 8},
    },
}


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), options)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['device']}, Llama {result['size']}, {result['rounds']} rounds of {options.block} steps in turns\n")
    print(f"{'':<24}{'tokens/s':>12}{'ms per step':>14}{'MFU':>8}")
    for row, title in (("floor", "megatron.core only"), ("ours", "our loop")):
        mfu = "-" if result[row]["mfu"] is None else f"{result[row]['mfu']:.1%}"
        print(f"{title:<24}{result[row]['tokens_per_second']:>12,.0f}{result[row]['ms']:>14.1f}{mfu:>8}")
    print(f"\nratio of tokens/s: {result['ratio']:.3f}   (aim: at least {AIM_RATIO})")
    print(f"our own work in a step, median: {result['own_ms']:.2f} ms   (aim: below {AIM_OWN} ms)")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, help="of the model; by default what fits the device")
    parser.add_argument("--rounds", type=int, default=20, help="pairs of blocks; one more warms up")
    parser.add_argument("--block", type=int, default=5, help="steps of ours, then of the floor, in a round")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args()


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train in this process, as a worker that `primus train` has started does."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    os.environ |= {"TORCHDYNAMO_DISABLE": os.environ.get("TORCHDYNAMO_DISABLE", "1")}
    import torch

    gpu = torch.cuda.is_available()
    if gpu:
        del os.environ["TORCHDYNAMO_DISABLE"]
        os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] = "1"
    size = options.size or ("1B" if gpu else "tiny")
    with (folder / "log").open("w") as log, contextlib.redirect_stdout(log):
        worker, arguments = set_up(folder, size, steps=(options.rounds + 1) * options.block, gpu=gpu)
        from primus.backends.megatron import loop

        inner = Stopwatch()
        loop.forward_backward = inner.wrap(loop.forward_backward)
        loop.take_step = inner.wrap(loop.take_step)
        run = in_turns(loop.Loop, options.block, inner)(worker, arguments)
        run.run()
    torch.distributed.destroy_process_group()
    return figures(run, worker, size, options.block)


def set_up(folder: Path, size: str, *, steps: int, gpu: bool) -> tuple[Any, Any]:
    """A worker with its run directory, and the configuration of megatron.core."""
    from primus.backends.worker import Worker
    from primus.experiment import dump, load
    from primus.run import RunDirectory

    values = SIZES[size]
    overrides = COMMON | values["overrides"] | {"train_iters": steps}
    modules = {"pre_trainer": {"framework": "megatron", "config": "pre_trainer.yaml", "model": values["model"]}}
    modules["pre_trainer"]["overrides"] = overrides
    file = folder / "loop.yaml"
    file.write_text(yaml.safe_dump({"workspace": str(folder), "modules": modules}))
    directory = RunDirectory(folder / "run")
    directory.create({"experiment.yaml": dump(load(file))})
    worker = Worker(directory)
    plain = worker.experiment.plain()
    if not gpu:
        from primus.backends.megatron import cpu

        cpu.install()
        plain = cpu.adjust(plain)
    from primus.backends.megatron import arguments, local_layers, torch_adamw

    built = arguments.build(plain, world_size=1, gpu=gpu)
    if built.transformer.transformer_impl == "local":
        local_layers.install()
    if torch_adamw.is_used():
        torch_adamw.install()
    return worker, built


class Stopwatch:
    """Seconds inside some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began = clock()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += clock() - began

        return timed


def in_turns(base: Any, block: int, inner: Stopwatch) -> Any:
    """Our loop, which lets the floor train for as many steps after each block of its own."""

    class InTurns(base):  # type: ignore[misc]
        def run(self) -> None:
            self.ours, self.floor, self.own = [], [], []  # seconds of a step; `own` without what the floor does as well
            zeroed = [(self._training.optimizer, "zero_grad")]
            zeroed += [(chunk, "zero_grad_buffer") for chunk in self._training.chunks]
            for owner, name in zeroed:
                setattr(owner, name, inner.wrap(getattr(owner, name)))
            self.floor_step = floor_of(self._training, self._batches(self._data.train))
            self._start_block()
            super().run()

        def _asked_to_stop(self) -> bool:
            stop = bool(super()._asked_to_stop())
            if self._progress.step % block == 0:
                self.ours.append((now() - self.began) / block)
                self.own.append(self.ours[-1] - inner.seconds / block)
                began = now()
                for _ in range(block):
                    self.floor_step()
                self.floor.append((now() - began) / block)
                self._start_block()
            return stop

        def _start_block(self) -> None:
            inner.seconds = 0.0
            self.began = now()

    return InTurns


def floor_of(training: Any, batches: list[Iterator[Any]]) -> Callable[[], None]:
    """One step of nothing but megatron.core, always on the same batch."""
    import torch
    from megatron.core.num_microbatches_calculator import get_num_microbatches
    from megatron.core.pipeline_parallel import get_forward_backward_func

    settings = training.arguments.settings
    batch = {name: tensor.to(training.device) for name, tensor in next(batches[0]).items()}

    def loss_of(mask: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        return torch.sum(output.view(-1).float() * mask.view(-1)), mask.sum().to(torch.int), {}

    def forward(_: Any, model: Any) -> Any:
        output = model(batch["tokens"], batch["position_ids"], None, labels=batch["labels"])
        return output, lambda given: loss_of(batch["loss_mask"], given)

    def step() -> None:
        for chunk in training.chunks:
            chunk.zero_grad_buffer()
        training.optimizer.zero_grad()
        get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=[None] * len(training.chunks),
            model=training.chunks,
            num_microbatches=get_num_microbatches(),
            seq_length=settings.seq_length,
            micro_batch_size=settings.micro_batch_size,
            forward_only=False,
        )
        training.optimizer.step()

    return step


def clock() -> float:
    import torch

    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def now() -> float:
    """The time when the device has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock()


def figures(run: Any, worker: Any, size: str, block: int) -> dict[str, Any]:
    """Medians without the first round, which warms up."""
    from primus.metrics.device import accelerator_here

    arguments = run._arguments
    tokens = arguments.global_batch_size * arguments.settings.seq_length
    ours, floor, own = (times[1:] for times in (run.ours, run.floor, run.own))
    accelerator = accelerator_here()
    peak = None if accelerator is None else accelerator.peak("bf16")
    flops = flops_per_token(worker, run)

    def row(times: list[float]) -> dict[str, float | None]:
        seconds = statistics.median(times)
        mfu = None if peak is None else tokens / seconds * flops / peak
        return {"tokens_per_second": tokens / seconds, "ms": 1000 * seconds, "mfu": mfu}

    return {
        "size": size,
        "device": device_name(),
        "rounds": len(ours),
        "block": block,
        "ours": row(ours),
        "floor": row(floor),
        "ratio": statistics.median(floor) / statistics.median(ours),
        "own_ms": 1000 * statistics.median(own),
    }


def flops_per_token(worker: Any, run: Any) -> int:
    from primus.backends.megatron import BACKEND
    from primus.backends.megatron.parameters import complete_values
    from primus.backends.megatron.shape import shape_of
    from primus.metrics.flops import training_flops

    values = complete_values(worker.experiment.plain(), BACKEND.schema())
    return training_flops(shape_of(values, vocabulary=run._training.vocabulary))


def device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
