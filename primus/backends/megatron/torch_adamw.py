"""What megatron.core 0.16's distributed optimizer gets wrong with torch's AdamW when it loads a checkpoint. It falls
back on that optimizer without Transformer Engine and Apex; the worker installs these then, with or without a GPU."""

from __future__ import annotations

from typing import Any

import torch

from primus.backends.megatron.patches import Patches

patch = Patches("torch's AdamW")
install = patch.install


def is_used() -> bool:
    """Whether megatron.core has no fused optimizer here."""
    from megatron.core import optimizer

    return bool(optimizer.USING_PYTORCH_OPTIMIZER)


@patch("DistributedOptimizer.sharded_state_dict", "it asks an AdamW that has made no step yet for its step")
def _state_before_the_first_step() -> None:
    from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

    original = DistributedOptimizer.sharded_state_dict

    def sharded_state_dict(self: Any, model: Any, is_loading: bool = False, **options: Any) -> Any:
        if is_loading and not self.optimizer.state:
            self._init_optimizer_states_with_dummy_values()
        return original(self, model, is_loading, **options)

    DistributedOptimizer.sharded_state_dict = sharded_state_dict


@patch("DistributedOptimizer._set_main_param_and_optimizer_states", "it looks for AdamW's step among the tensors")
def _tensors_without_step() -> None:
    from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def set_states(self: Any, model_param: Any, tensors: dict[str, torch.Tensor]) -> None:
        group, order = self.model_param_group_index_map[model_param]
        main = self.optimizer.param_groups[group]["params"][order]
        for name, target in {"param": main, **self.optimizer.state[main]}.items():
            if name != "step":
                target.detach().copy_(tensors[name])

    DistributedOptimizer._set_main_param_and_optimizer_states = set_states


@patch("DistributedOptimizer.load_state_dict", "it gives all parameters one step counter, which each of them counts up")
def _step_of_its_own() -> None:
    from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

    original = DistributedOptimizer.load_state_dict

    def load_state_dict(self: Any, state: Any) -> None:
        original(self, state)
        for tensors in self.optimizer.state.values():
            tensors["step"] = tensors["step"].clone()

    DistributedOptimizer.load_state_dict = load_state_dict
