"""What megatron.core 0.16 gets wrong with its own layers and torch's AdamW, which it falls back on without Transformer
Engine. The worker installs these when the experiment runs on the `local` layers."""

from __future__ import annotations

from primus.backends.megatron.patches import Patches

patch = Patches("Without Transformer Engine")
install = patch.install
