"""Stands in for Megatron-LM's megatron.training in tests of Primus: the same outside, next to nothing inside."""

from megatron.training.global_vars import get_args
from megatron.training.training import pretrain

__all__ = ["get_args", "pretrain"]
