"""The folder behind model.hf_assets_path: one on this machine, or the files of a repository of the Hugging Face Hub.
The worker calls local_folder() before it imports anything heavy."""

from __future__ import annotations

import re
import time
from pathlib import Path

from primus.backends.worker import Worker
from primus.errors import MissingError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_WEIGHTS = ("config.json", "model.safetensors.index.json", "*.safetensors")
_PATIENCE = 1800
"""Seconds that the other processes of a node wait for the one that downloads."""


def local_folder(name: str, worker: Worker, *, weights: bool) -> str:
    """The folder with the tokenizer, and with `weights` also the model's weights; MissingError when there is none."""
    if Path(name).is_dir():
        return name
    if not _REPOSITORY.fullmatch(name):
        raise MissingError(
            f"model.hf_assets_path: {name} is not a folder here. It holds the tokenizer: tokenizer.json and "
            "tokenizer_config.json. A repository of the Hugging Face Hub (ORGANIZATION/NAME) is downloaded."
        )
    patterns = [*_TOKENIZER, *(_WEIGHTS if weights else ())]
    return _download(name, patterns) if worker.local_rank == 0 else _await_download(name, patterns)


def _download(repository: str, patterns: list[str]) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    print(f"Takes {repository} from the Hugging Face Hub, or from its cache here")
    try:
        folder = Path(snapshot_download(repository, allow_patterns=patterns))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        reason = "needs a token of an account that may read it: set HF_TOKEN"
        raise MissingError(f"model.hf_assets_path: {repository} does not exist on the Hub, or {reason}.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, ConnectionError, TimeoutError) as error:
        remedy = f"On a machine that reaches it: hf download {repository} --local-dir FOLDER"
        cause = str(error).splitlines()[0]
        raise MissingError(f"model.hf_assets_path: can't reach {repository} on the Hub ({cause}). {remedy}") from error
    if not (folder / _TOKENIZER[0]).is_file():
        raise MissingError(f"model.hf_assets_path: {repository} has no {_TOKENIZER[0]}.")
    return str(folder)


def _await_download(repository: str, patterns: list[str]) -> str:
    """Until the first process of this node has it: a thousand processes that ask the Hub are turned away."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            folder = Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
            if all((folder / name).is_file() for name in _TOKENIZER):
                return str(folder)
        except LocalEntryNotFoundError:
            pass  # not yet
        time.sleep(1)
    raise MissingError(f"model.hf_assets_path: the download of {repository} took more than {_PATIENCE} seconds.")
