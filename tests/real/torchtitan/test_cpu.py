"""The CPU adapter replaces nothing that works without it. Each test shows what fails unpatched: when it fails itself,
the patch can go."""

import importlib.util
import subprocess
import sys
import textwrap

import pytest
import torch

from primus.backends.torchtitan import cpu

pytestmark = [pytest.mark.real, pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")]


def run(code):
    """In a process of its own: what is imported and patched must not reach the other tests."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_torchtitan_needs_triton_to_be_imported():
    assert importlib.util.find_spec("triton") is None
    assert "No module named 'triton'" in run("import torchtitan.models.moe")


def test_torchtitan_takes_cuda_without_a_gpu():
    code = """
        from primus.backends.torchtitan import cpu
        cpu._leave_out_triton()
        from torchtitan.tools import utils
        print("device:", utils.device_type)
    """
    assert "device: cuda" in run(code)


def test_integers_can_not_be_counted_on_a_cpu():
    with pytest.raises(RuntimeError, match="histogram"):
        torch.histc(torch.tensor([0, 1, 1]), bins=2, min=0, max=2)


def test_the_profiler_can_not_record_none():
    activities = [torch.profiler.ProfilerActivity.CPU, None]
    with pytest.raises((TypeError, AttributeError, AssertionError)):
        torch.profiler.profile(activities=activities).start()


def test_gloo_can_not_scale_while_it_adds():
    code = """
        import torch, torch.distributed as dist
        dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
        dist.all_reduce(torch.ones(1), op=dist._make_nccl_premul_sum(2.0))
    """
    assert "Error" in run(code)


@pytest.fixture(scope="module")
def patched():
    """What a process says that uses what the adapter replaces."""
    return run("""
        from primus.backends.torchtitan import cpu
        cpu.install()
        import torch
        print("counts:", torch.histc(torch.tensor([0, 1, 1]), bins=2, min=0, max=2).tolist())
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU, None]):
            print("profiled")
        from torchtitan.tools import utils
        print("device:", utils.device_type, utils.device_module.get_device_name())
    """)


def test_the_adapter_says_what_it_replaces(patched):
    assert sum(line.startswith("CPU: ") for line in patched.splitlines()) == len(cpu._PATCHES)


@pytest.mark.parametrize("line", ["counts: [1, 2]", "profiled", "device: cpu cpu"])
def test_what_is_replaced_works(patched, line):
    assert line in patched.splitlines()


def test_the_adapter_is_not_imported_where_a_gpu_is():
    code = """
        import sys
        import torch
        torch.cuda.is_available = lambda: True
        from primus.backends.torchtitan import worker
        try:
            worker._train(None, None, None, "")
        except ModuleNotFoundError as error:
            print("then:", error.name)
        print("adapter:", "primus.backends.torchtitan.cpu" in sys.modules)
    """
    said = run(code)
    assert "then: triton" in said
    assert "adapter: False" in said
