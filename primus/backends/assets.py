"""Files of a repository of the Hugging Face Hub, downloaded once per node. The workers of both backends call from_hub()
for a tokenizer or weights that an experiment names as ORGANIZATION/NAME."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from primus.errors import MissingError
from primus.run import write_text

if TYPE_CHECKING:
    from primus.backends.worker import Worker

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PATIENCE = 1800
"""Seconds that the other processes of a node wait for the one that downloads."""


def is_hub_name(name: str) -> bool:
    """Whether a name that is no path here can be a repository's."""
    return _REPOSITORY.fullmatch(name) is not None


def from_hub(repository: str, patterns: Sequence[str], worker: Worker, *, needs: Sequence[str], key: str) -> Path:
    """The folder with the repository's files that match `patterns`; MissingError, which names the experiment's `key`,
    when they can't be had, or when none of the files that `needs` names is among them.

    The first process of a node downloads: a thousand that ask the Hub are turned away.
    """
    note = worker.run_dir.path / f"hub-node{worker.node_rank}.json"
    if worker.local_rank:
        return _await(note, repository, key)
    folder = _download(repository, patterns, key)
    if not any((folder / name).is_file() for name in needs):
        raise MissingError(f"{key}: {repository} has no {' and no '.join(needs)}.")
    write_text(note, json.dumps({repository: str(folder)}))
    return folder


def _download(repository: str, patterns: Sequence[str], key: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise MissingError(f"{key}: {repository} is on the Hub: pip install huggingface_hub") from error
    print(f"Takes {repository} from the Hugging Face Hub, or from its cache here")
    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        reason = "needs a token of an account that may read it: set HF_TOKEN"
        raise MissingError(f"{key}: {repository} does not exist on the Hub, or {reason}.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, ConnectionError, TimeoutError) as error:
        remedy = f"On a machine that reaches it: hf download {repository} --local-dir FOLDER"
        cause = str(error).splitlines()[0]
        raise MissingError(f"{key}: can't reach {repository} on the Hub ({cause}). {remedy}") from error


def _await(note: Path, repository: str, key: str) -> Path:
    """The folder that the first process of this node notes when all is there."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if note.exists():
            folder = json.loads(note.read_text(encoding="utf-8")).get(repository)
            if folder and Path(folder).is_dir():  # not one that an earlier attempt noted on another machine
                return Path(folder)
        time.sleep(0.2)
    raise MissingError(f"{key}: the download of {repository} took more than {_PATIENCE} seconds.")
