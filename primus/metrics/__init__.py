"""What a run measures of itself: speed, model FLOPs, memory, warnings, and the services that get the numbers.

The training loops of all backends use it inside the worker; `primus estimate` uses the parts that need no torch.
"""
