"""Replacing parts of megatron.core and torch in this process, in the open: each replacement has a name and a reason,
and is announced at start. The tables are cpu.py (no GPU) and local_layers.py (no Transformer Engine)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One replacement."""

    target: str
    """What is replaced, as it is called in its package."""

    reason: str
    apply: Callable[[], None]


class Patches:
    """A table of patches, filled by decorated functions in the order in which they are applied."""

    def __init__(self, occasion: str) -> None:
        self._occasion = occasion
        self._patches: list[Patch] = []

    def __call__(self, target: str, reason: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
        def register(apply: Callable[[], None]) -> Callable[[], None]:
            self._patches.append(Patch(target=target, reason=reason, apply=apply))
            return apply

        return register

    @property
    def all(self) -> Sequence[Patch]:
        return tuple(self._patches)

    def install(self) -> None:
        """Apply all, saying so."""
        for patch in self._patches:
            patch.apply()
            print(f"{self._occasion}: replaced {patch.target}: {patch.reason}")

    def leave_out(self, target: str) -> None:
        """Forget a patch: for tests, which see whether it is still needed."""
        self._patches = [patch for patch in self._patches if patch.target != target]
