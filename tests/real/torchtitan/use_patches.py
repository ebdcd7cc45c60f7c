"""Uses what the CPU adapter replaces. Run by test_cpu.py in a process that has the adapter."""

import torch

print("counts:", torch.histc(torch.tensor([0, 1, 1]), bins=2, min=0, max=2).tolist())
with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU, None]):
    print("profiled")

from torchtitan.tools import utils  # noqa: E402

print("device:", utils.device_type, utils.device_module.get_device_name())
