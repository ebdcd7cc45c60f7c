"""With KUBECONFIG set, a real cluster checks what Primus would send it. It keeps nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("kind", ["job", "jobset", "pytorchjob"])
def test_a_real_cluster_accepts_the_manifests(kind):
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster to ask")
    command = [sys.executable, "-m", "primus", "k8s", "--kubeconfig", os.environ["KUBECONFIG"], "create"]
    done = subprocess.run([*command, "--exp", "llama2_7B", "--kind", kind, "--dry-run=server"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
