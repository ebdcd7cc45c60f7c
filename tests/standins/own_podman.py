"""The real podman with images of a test's own, which hold busybox alone; Python and torch are this machine's, mounted.
Debian: podman runc conmon busybox-static (scripts/test_packages.sh)."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

_BUSYBOX = Path("/bin/busybox")
_NUMBERS = count()

_SETTINGS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
"""What a machine without systemd and cgroups v2 takes."""

EXPERIMENT = """\
exp_name: toy
modules:
  pre_trainer:
    framework: megatron
    overrides:
      {train_iters: 4, lr_decay_iters: 20, num_layers: 1, hidden_size: 64, num_attention_heads: 4, seq_length: 32,
       max_position_embeddings: 32, micro_batch_size: 1, mock_data: true, tokenizer_type: NullTokenizer,
       vocab_size: 256, lr: 1e-3, save_interval: 2, num_workers: 0}
"""
"""A training of seconds."""


class Podman:
    """The program, an image's name for it, and what has to be mounted into that."""

    def __init__(self, folder: Path) -> None:
        self.image = f"localhost/primus-test-{os.getpid()}-{next(_NUMBERS)}"
        self.conf = folder / "containers.conf"
        self.conf.write_text(_SETTINGS)
        self.environ = os.environ | {"CONTAINERS_CONF": str(self.conf), "OMP_NUM_THREADS": "1"}
        folders = ["/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix]
        self.mounts = [f"{path}:{path}:ro" for path in dict.fromkeys(folders) if Path(path).exists()]

    def make_image(self, name: str, python: Path | None, *settings: str) -> str:
        """An image whose python3 is this one; returns its name."""
        folder = (python or Path(sys.executable)).parent
        changes = [f"ENV PATH={folder}:/bin", *settings]
        command = ["import", "--quiet", *(f"--change={change}" for change in changes), "-", f"{self.image}:{name}"]
        self(*command, stdin=rootfs())
        return f"{self.image}:{name}"

    def __call__(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(["podman", *arguments], input=stdin, env=self.environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def running(self) -> list[str]:
        """Containers of these images, ended ones too."""
        lines = self("ps", "--all", "--format={{.Image}} {{.Names}}").splitlines()
        return [line.split()[1] for line in lines if line.startswith(f"{self.image}:")]


@contextmanager
def own_podman(folder: Path) -> Iterator[Podman]:
    """Podman with a folder for its settings; its images are gone afterwards. Skips a test where there is none."""
    missing = [name for name in ("podman", "runc", "conmon") if shutil.which(name) is None]
    if missing or not _BUSYBOX.exists():
        pytest.skip(f"not installed: {', '.join(missing) or _BUSYBOX} (scripts/test_packages.sh installs it)")
    made = Podman(folder)
    yield made
    made("rmi", "--force", *made("images", "--quiet", made.image).split())


def rootfs() -> bytes:
    """A file system with busybox and folders."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(_BUSYBOX, "bin/busybox")
        for name in ("tmp", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(folder)
    return out.getvalue()
