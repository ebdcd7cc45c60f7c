"""What each training process runs: `python -m primus.backends.megatron.worker RUN_DIR`. Nothing heavy is imported
before the process has its log file, and nothing at all again in the processes that save checkpoints."""

from __future__ import annotations

from primus.backends.worker import Worker, run
from primus.lifeline import end_with_parent


def train(worker: Worker) -> None:
    """Set up megatron.core for this machine and train."""
    import torch

    values = worker.experiment.plain()
    gpu = torch.cuda.is_available()
    if not gpu:
        from primus.backends.megatron import cpu

        cpu.install()
        values = cpu.adjust(values)
    from primus.backends.megatron import arguments, local_layers, loop, torch_adamw

    built = arguments.build(values, world_size=worker.world_size, gpu=gpu)
    if built.transformer.transformer_impl == "local":
        local_layers.install()
    if torch_adamw.is_used():
        torch_adamw.install()
    loop.train(worker, built)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    run(train)
elif __name__ == "__mp_main__":  # a process that helps to save a checkpoint
    end_with_parent()
