"""The start of Megatron-LM's training."""

import torch


def initialize_megatron(args, allow_no_cuda=False):
    assert allow_no_cuda or torch.cuda.is_available(), "needs CUDA"
    torch.distributed.init_process_group(args.distributed_backend)
    from megatron.core import parallel_state

    parallel_state.initialize_model_parallel()
