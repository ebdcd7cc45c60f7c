"""`--snapshot`: a copy of the working tree in the run directory, so that the job runs the code as it was submitted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from primus.errors import MissingError, UsageError
from primus.run import explained


def find_tree(directory: Path) -> Path:
    """Top folder of the git checkout that holds a directory."""
    return Path(os.fsdecode(_git(directory, "rev-parse", "--show-toplevel")).rstrip("\n"))


def copy_tree(tree: Path, target: Path) -> None:
    """Copy what git tracks and what it does not ignore. What it ignores is reached through links to the original: data,
    environments and outputs are not code."""
    with explained(f"can't copy {tree} to {target}"):
        target.mkdir(parents=True)
        for name in _listed(tree, "--cached", "--others", "--exclude-standard"):
            source, copy = tree / name, target / name
            if source.is_symlink() or source.is_file():  # a submodule is a folder, a deleted file is not there
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy, follow_symlinks=False)
            elif source.is_dir():
                shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        for name in _listed(tree, "--others", "--ignored", "--exclude-standard", "--directory"):
            link = target / name.rstrip("/")
            if not _is_bytecode(name) and not link.exists() and not target.is_relative_to(tree / name):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(tree / name)


def _is_bytecode(name: str) -> bool:
    return name.endswith(".pyc") or "__pycache__" in name


def _listed(tree: Path, *options: str) -> list[str]:
    """Names below the tree. A folder that is not tracked at all is named as such with `--directory`."""
    return [os.fsdecode(name) for name in _git(tree, "ls-files", "-z", *options).split(b"\0") if name]


def _git(folder: Path, *arguments: str) -> bytes:
    if shutil.which("git") is None:
        raise MissingError("--snapshot: git is not installed here, which knows what belongs to the working tree")
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise UsageError(f"--snapshot: {folder} is not in a git checkout ({reason})")
    return done.stdout
