"""The folder behind model.hf_assets_path: one on this machine, or the files of a repository of the Hugging Face Hub.
The worker calls local_folder() before it imports anything heavy."""

from __future__ import annotations

from pathlib import Path

from primus.backends.assets import from_hub, is_hub_name
from primus.backends.worker import Worker
from primus.errors import MissingError

_KEY = "model.hf_assets_path"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_WEIGHTS = ("config.json", "model.safetensors.index.json", "*.safetensors")


def local_folder(name: str, worker: Worker, *, weights: bool) -> str:
    """The folder with the tokenizer, and with `weights` also the model's weights; MissingError when there is none."""
    if Path(name).is_dir():
        return name
    if not is_hub_name(name):
        raise MissingError(
            f"{_KEY}: {name} is not a folder here. It holds the tokenizer: tokenizer.json and tokenizer_config.json. "
            "A repository of the Hugging Face Hub (ORGANIZATION/NAME) is downloaded."
        )
    patterns = (*_TOKENIZER, *(_WEIGHTS if weights else ()))
    return str(from_hub(name, patterns, worker, needs=_TOKENIZER[:1], key=_KEY))
