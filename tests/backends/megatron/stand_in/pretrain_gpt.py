"""A training program with the outside of Megatron-LM's, and a model of one weight inside."""

from __future__ import annotations

from megatron.training import pretrain

if __name__ == "__main__":
    pretrain()
