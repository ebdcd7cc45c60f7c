"""`primus k8s` against curl asking the same of the same server: a workload, a list of 10,000 in pages of 100, and 5,000
nodes. The server is the stand-in of the tests, in a process of its own.

    python benchmarks/k8s.py [--rounds 15] [--workloads 10000] [--nodes 5000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/standins"))
from safe_server import SafeServer, serving

KEY = "ak-right"
PAGE = 100
AT_ONCE = 8
"""Pages that Primus has on their way at a time; curl gets as many."""


@dataclass(frozen=True)
class Measured:
    """Of one command, over all rounds."""

    seconds: float
    """Median."""

    megabytes: float
    """The most memory that it ever used."""


def main() -> None:
    options = parse()
    receiver, sender = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(sender, options.workloads, options.nodes), daemon=True)
    server.start()
    url = receiver.recv()
    try:
        found = {
            what: measure(curl, ours, rounds)
            for what, curl, ours, rounds in (
                ("get", ask(url, "/workloads/w-00001"), primus(url, "get", "--workload-id", "w-00001"), options.rounds),
                (f"list of {options.workloads}", pages(url, options.workloads), primus(url, "list"), 3),
                (f"nodes ({options.nodes})", ask(url, "/nodes?limit=-1"), primus(url, "nodes"), options.rounds),
            )
        }
        loaded = imported(url)
    finally:
        server.terminate()
    print(f"{os.cpu_count()} cores; medians, taken in turns\n")
    sys.exit(report(found, loaded))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workloads", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=5_000)
    return parser.parse_args()


def serve(sender: Connection, workloads: int, nodes: int) -> None:
    """Tell the address, and answer until the end of the process."""
    state = SafeServer()
    for number in range(workloads):
        id = f"w-{number:05}"
        state.workloads[id] = workload(id)
    state.nodes = [dict(state.nodes[0], nodeId=f"n-{number}", nodeName=f"n-{number}") for number in range(nodes)]
    with serving(state):
        sender.send(state.url)
        time.sleep(3600)


def workload(id: str) -> dict[str, object]:
    """With all the fields that the newest servers tell of each item of a list."""
    return {
        "workloadId": id, "workspaceId": "team", "displayName": id, "userId": f"user-{id}", "userName": "ann",
        "description": f"primus train --exp llama3_8B (megatron) [primus {id}]", "clusterId": "cluster-1",
        "phase": "Running", "message": "", "priority": 1, "creationTime": "2026-01-01T00:00:00",
        "startTime": "2026-01-01T00:01:00", "endTime": "", "deletionTime": "", "duration": "1h2m3s",
        "secondsUntilTimeout": 3600, "queuePosition": 0, "dispatchCount": 1, "isTolerateAll": False, "timeout": 7200,
        "groupVersionKind": {"group": "kubeflow.org", "version": "v1", "kind": "PyTorchJob"},
        "workloadUid": f"8f14e45f-ceea-467f-a83c-{id}", "k8sObjectUid": f"45c48cce-2e2d-4fbd-aa10-{id}",
        "avgGpuUsage": -1, "pods": [],
        "resources": [
            {"replica": 1, "cpu": "96", "gpu": "8", "memory": "1024Gi", "ephemeralStorage": "100Gi"},
            {"replica": 3, "cpu": "96", "gpu": "8", "memory": "1024Gi", "ephemeralStorage": "100Gi"},
        ],
    }  # fmt: skip


def ask(url: str, *paths: str) -> list[str]:
    every = [f"{url}/api/v1{path}" for path in paths]
    return ["curl", "--silent", "--no-progress-meter", "--fail", "--header", f"Authorization: Bearer {KEY}", *every]


def pages(url: str, workloads: int) -> list[str]:
    paths = [f"/workloads?limit={PAGE}&offset={offset}" for offset in range(0, workloads, PAGE)]
    return [*ask(url, *paths), "--parallel", "--parallel-max", str(AT_ONCE)]


def primus(url: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "primus", "k8s", "--url", url, *words, "-o", "json"]


def measure(curl: list[str], ours: list[str], rounds: int) -> tuple[Measured, Measured]:
    """Both, in turns; the first round fills the caches."""
    taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for turn in range(rounds + 1):
        for argv, results in zip((curl, ours), taken, strict=True):
            result = once(argv)
            if turn:
                results.append(result)
    both = [Measured(statistics.median(s for s, _ in each), max(m for _, m in each)) for each in taken]
    return both[0], both[1]


def once(argv: list[str]) -> tuple[float, float]:
    """Seconds and megabytes of a command whose output goes into a file."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(argv, stdout=out, env={**os.environ, "PRIMUS_SAFE_API_KEY": KEY})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv[:6]} failed")
    return seconds, usage.ru_maxrss / 1024


def imported(url: str) -> bool:
    """Whether a command for a server loads the client for clusters."""
    script = (
        "import sys; sys.argv = ['primus', 'k8s', '--url', sys.argv[1], 'nodes', '-o', 'id']\n"
        "from primus.cli import main\n"
        "try: main()\n"
        "finally: sys.stderr.write(str('kubernetes' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, url], env={**os.environ, "PRIMUS_SAFE_API_KEY": KEY},
                          capture_output=True, text=True, check=True)  # fmt: skip
    return done.stderr.endswith("True")


def report(found: dict[str, tuple[Measured, Measured]], loaded: bool) -> int:
    """Print a table; 1 when a limit is not kept."""
    print(f"{'':<18}{'curl ms':>10}{'primus ms':>12}{'more':>8}{'ratio':>8}{'primus MB':>12}")
    for what, (curl, ours) in found.items():
        more, ratio = 1000 * (ours.seconds - curl.seconds), ours.seconds / curl.seconds
        print(
            f"{what:<18}{1000 * curl.seconds:>10.0f}{1000 * ours.seconds:>12.0f}{more:>8.0f}{ratio:>8.2f}"
            f"{ours.megabytes:>12.0f}"
        )
    (get_curl, get), (_, listed), (_, nodes) = found.values()
    limits = {
        "get: at most 250 ms more than curl": get.seconds - get_curl.seconds <= 0.25,
        "list: under 100 MB": listed.megabytes < 100,
        "nodes: under 2 s": nodes.seconds < 2,
        "the client for clusters is not loaded": not loaded,
    }
    print()
    for limit, kept in limits.items():
        print(f"{'kept' if kept else 'BROKEN':<8}{limit}")
    return int(not all(limits.values()))


if __name__ == "__main__":
    main()
