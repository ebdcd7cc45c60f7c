from __future__ import annotations

from typing import Any

import pytest

from primus.launch.k8s.workload import Workload


@pytest.fixture
def workload():
    """Makes workloads: a small one, and what a test wants otherwise."""

    def make(**fields: Any) -> Workload:
        given: dict[str, Any] = {
            "name": "tiny",
            "exp": "tiny.yaml",
            "backend": "megatron",
            "experiment": "exp_name: tiny\n",
            "folder": "/shared/project",
            "source": "/shared/primus",
            "image": "registry/primus:1",
            "cpu": 96,
            "gpu": 8,
            "memory": "1024Gi",
            "ephemeral_storage": "100Gi",
            "ttl": 36000,
            "max_retry": 1,
            "user": "ann",
            "request": "0123456789ab",
        }
        return Workload(**(given | fields))

    return make
