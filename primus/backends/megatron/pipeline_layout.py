"""Pipeline layouts written out, such as `Et*3|(tt|)*29,m|L`: which layers each stage holds. Checks read them here;
megatron.core has a reader of its own."""

from __future__ import annotations

import re
from typing import Any

LAYERS = {"E": "embedding", "t": "decoder", "m": "mtp", "L": "loss"}
LONGEST = 10_000
"""Characters that a layout may unfold to."""

_GROUP = re.compile(r"\(([^()]*)\)\*(\d+)")
_REPEAT = re.compile(r"([EtmL|])\*(\d+)")


def read_layout(layout: str | list[Any]) -> list[list[str]]:
    """The layers of each stage, first all stages of the first virtual stage. ValueError says what can't be read."""
    stages = _unfolded(layout) if isinstance(layout, str) else layout
    found = []
    for stage in stages:
        if not isinstance(stage, (list, str)):
            raise ValueError(f"`{stage}` is no stage; expected a list of layers")
        found.append([_layer(layer) for layer in stage])
    return found


def fault(layout: str | list[Any], *, stages: int, num_layers: int, mtp_num_layers: int) -> str | None:
    """What is wrong with a layout for `stages` pipeline stages, or None."""
    try:
        read = read_layout(layout)
    except ValueError as error:
        return str(error)
    flat = [layer for stage in read for layer in stage]
    if len(read) % stages:
        return f"it has {len(read)} stages, which pipeline_model_parallel_size {stages} does not divide"
    if flat[:1] != ["embedding"] or flat.count("embedding") != 1:
        return "it must begin with the embedding (E), once"
    if flat[-1:] != ["loss"] or flat.count("loss") != 1:
        return "it must end with the loss (L), once"
    for name, word, number in (("decoder", "num_layers", num_layers), ("mtp", "mtp_num_layers", mtp_num_layers)):
        if flat.count(name) != number:
            return f"it has {flat.count(name)} {name} layers, but {word} is {number}"
    return _prediction_fault(read, stages, mtp_num_layers)


def _prediction_fault(read: list[list[str]], stages: int, mtp_num_layers: int) -> str | None:
    if not mtp_num_layers:
        return None
    holding = [index for index, stage in enumerate(read) if "mtp" in stage]
    if len(holding) > 1 or holding[0] < len(read) - stages:
        return "all mtp layers (m) must be in one stage, the last virtual one of its process"
    flat = [layer for stage in read for layer in stage]
    return "mtp layers (m) come after the last decoder layer" if "decoder" in flat[flat.index("mtp") :] else None


def _unfolded(layout: str) -> list[str]:
    """Repetitions written out, as megatron.core does: groups first, then single letters. Commas mean nothing."""
    text = re.sub(r"[,\s]", "", layout)
    for pattern in (_GROUP, _REPEAT):
        if sum(len(match[1]) * int(match[2]) for match in pattern.finditer(text)) > LONGEST:
            raise ValueError(f"`{layout}` unfolds to more than {LONGEST:,} layers")
        text = pattern.sub(lambda match: match[1] * int(match[2]), text)
    return text.split("|")


def _layer(name: Any) -> str:
    if isinstance(name, str):
        word = LAYERS.get(name, name.strip().lower())
        if word in LAYERS.values():
            return word
    known = ", ".join(f"{letter} ({word})" for letter, word in LAYERS.items())
    raise ValueError(f"`{name}` is no layer; known are {known}, and | between stages")
