"""The CPU adapter replaces nothing that works without it. Each test shows what fails unpatched: when it fails itself,
the patch can go."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from primus.backends.torchtitan import cpu

pytestmark = [pytest.mark.real, pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def unpatched():
    """What a process says that does without the adapter. It is one process: each import of torchtitan takes seconds."""
    return run("""
        import sys
        import torch
        from primus.backends.torchtitan import worker

        torch.cuda.is_available = lambda: True
        try:
            worker._train(None, None, None, "")
        except ModuleNotFoundError as error:
            print("missing:", error.name)
        print("adapter:", "primus.backends.torchtitan.cpu" in sys.modules)

        torch.cuda.is_available = lambda: False
        from primus.backends.torchtitan import cpu
        for name in [name for name in sys.modules if name.startswith("torchtitan")]:
            del sys.modules[name]
        cpu._sort_tokens_without_triton()
        from torchtitan.tools import utils
        print("device:", utils.device_type)
    """)


def test_torchtitan_needs_triton_to_be_imported(unpatched):
    assert "missing: triton" in unpatched


def test_torchtitan_takes_cuda_without_a_gpu(unpatched):
    assert "device: cuda" in unpatched


def test_the_adapter_is_not_imported_where_a_gpu_is(unpatched):
    assert "adapter: False" in unpatched


def test_integers_can_not_be_counted_on_a_cpu():
    with pytest.raises(RuntimeError, match="histogram"):
        torch.histc(torch.tensor([0, 1, 1]), bins=2, min=0, max=2)


def test_the_profiler_can_not_record_none():
    activities = [torch.profiler.ProfilerActivity.CPU, None]
    with pytest.raises((TypeError, AttributeError, AssertionError)):
        torch.profiler.profile(activities=activities).start()


def test_gloo_can_not_scale_while_it_adds():
    said = run("""
        import torch, torch.distributed as dist
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        dist.all_reduce(torch.ones(1), op=dist._make_nccl_premul_sum(2.0))
    """)
    assert any("PREMUL_SUM" in line or "Error" in line for line in said)


def test_the_adapter_says_what_it_replaces(straight):
    assert sum(line.startswith("CPU: ") for line in straight.log().splitlines()) == len(cpu._PATCHES)


def test_what_is_replaced_works(run_script):
    said = run_script(HERE / "use_patches.py").splitlines()
    assert said == ["counts: [1, 2]", "profiled", "device: cpu cpu"]


def run(code):
    """In a process of its own: what is imported and patched must not reach the other tests."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()
