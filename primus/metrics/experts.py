"""How evenly a mixture-of-experts model uses its experts. The backends feed it from their routers."""

from __future__ import annotations

import torch
import torch.distributed as dist


class ExpertLoad:
    """Tokens of each expert in each layer since the last report, kept on the device."""

    def __init__(self, *, layers: int, experts: int, device: torch.device) -> None:
        self._tokens = torch.zeros(layers, experts, dtype=torch.float64, device=device)

    def add(self, layer: int | torch.Tensor, tokens: torch.Tensor) -> None:
        """Count a forward pass: `tokens` holds a number for each expert of the layer, which counts from 0; or with
        several layers a row for each."""
        self._tokens[layer] += tokens

    def report(self) -> float | None:
        """The busiest expert's tokens over the average expert's, mean of all layers that had some; 1 is even.

        All processes must call it: each has seen other tokens, or other layers.
        """
        total = self._tokens.clone()
        self._tokens.zero_()
        if dist.is_initialized():
            dist.all_reduce(total)
        used = total[total.sum(dim=1) > 0]
        if not len(used):
            return None
        return float((used.max(dim=1).values / used.mean(dim=1)).mean())
