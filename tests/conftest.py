"""Toy jobs that really run: a launcher in a process of its own, with the workers of launch/workers/toy.py."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes is up to the machine.
settings.register_profile("primus", deadline=None)
settings.load_profile("primus")

WORKERS = Path(__file__).parent / "launch" / "workers"
STANDINS = Path(__file__).parent / "tuning" / "standins"


class ToyRun:
    """A launcher with toy workers."""

    def __init__(self, run_dir: Path, toy: str, environ: dict[str, str], **job: Any) -> None:
        self.run_dir = run_dir
        job.setdefault("resources", {})
        environment = os.environ | {"PYTHONPATH": str(WORKERS), "TOY": toy, "OMP_NUM_THREADS": "1"} | environ
        self.process = subprocess.Popen(
            [sys.executable, str(WORKERS / "submit_toy.py"), json.dumps({"run_dir": str(run_dir), **job})],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, timeout: float = 240) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of the launcher."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def wait_for(self, *names: str) -> None:
        """Wait until the workers have made these files in the run directory."""
        wait_until(lambda: all((self.run_dir / name).exists() for name in names))

    def pid(self, rank: int | str) -> int:
        return int((self.run_dir / f"pid-{rank}").read_text())

    def status(self) -> dict[str, Any]:
        return json.loads((self.run_dir / "status.json").read_text())

    def failure(self, rank: int = 0, node: int = 0) -> dict[str, Any]:
        return json.loads((self.run_dir / "failures" / f"node{node}-rank{rank}.json").read_text())

    def log(self, rank: int = 0, node: int = 0) -> str:
        return (self.run_dir / "logs" / f"node{node}" / f"rank{rank}.log").read_text()


def wait_until(condition: Callable[[], bool], timeout: float = 240) -> None:
    """Return when the condition holds; fail when it never does."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there and not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI everything that real tests need is there: one that is skipped would only look like a pass."""
    report = yield
    if os.environ.get("CI") and item.get_closest_marker("real") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a real test must not be skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole module."""
    report = yield
    if os.environ.get("CI") and "real" in collector.path.parts and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"a real test must not be skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits until a condition holds."""
    return wait_until


@pytest.fixture
def gone() -> Callable[..., None]:
    """Waits until processes have ended."""

    def wait(*pids: int) -> None:
        wait_until(lambda: not any(is_running(pid) for pid in pids))

    return wait


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., ToyRun]]:
    """Starts a launcher of toy workers that behave as named in workers/toy.py."""
    runs: list[ToyRun] = []

    def start(toy: str = "steps", environ: dict[str, str] | None = None, **job: Any) -> ToyRun:
        run_dir = Path(job.pop("run_dir", tmp_path / f"run{len(runs)}"))
        runs.append(ToyRun(run_dir, toy, environ or {}, **job))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGKILL)
        run.process.communicate()


def standin(name: str) -> ModuleType:
    """A module of tuning/standins: `kernels` knows what the fake GPUs answer."""
    spec = importlib.util.spec_from_file_location(f"standin_{name}", STANDINS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kernels() -> ModuleType:
    """Which solutions a problem has on the stand-ins, and how long each takes."""
    return standin("kernels")


@pytest.fixture(scope="session")
def rocm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like /opt/rocm with stand-ins: lib/libhipblaslt.so, lib/libamdhip64.so and bin/hipblaslt-bench."""
    install = standin("install")
    compiler = install.compiler()
    if compiler is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no C compiler (cc) to build the fake hipBLASLt with")
    folder = tmp_path_factory.mktemp("rocm")
    install.install_bench(folder)
    install.build_libraries(folder, compiler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIMUS_TUNE_LOCKS", str(folder))  # the fake GPUs are those of this session only
        yield folder
