"""Primus: pre-train large language models with Megatron-Core or TorchTitan on AMD Instinct clusters."""

__version__ = "0.1.0"
