"""What a report of a long run costs: how long `primus report` takes, the size of the page, and how soon Chromium has
drawn it. The limit beside it is `json.loads` of each line, which is what reading with the standard library alone costs.

    python benchmarks/report.py [--steps 1000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from primus.run import RunDirectory, Status

AIMS = {"page": 5.0, "make": 5.0, "open": 1.0}
"""MB, seconds, seconds; for a million steps."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), options.steps)
        size = (run / "metrics.jsonl").stat().st_size / 1e6
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.steps:,} steps, {size:,.0f} MB of metrics"
        )
        print(f"{'round':<7}{'json.loads, s':>14}{'report, s':>11}{'its CPU, s':>12}{'page, MB':>10}{'opened, s':>11}")
        rows = [measure(run) for _ in range(options.rounds)]
    for number, row in enumerate(rows, 1):
        print(line(str(number), row))
    print(line("median", [statistics.median(column) for column in zip(*rows, strict=True)]))
    print(f"{'aim':<7}{'':>14}{AIMS['make']:>11.2f}{'':>12}{AIMS['page']:>10.2f}{AIMS['open']:>11.2f}")


def make_run(folder: Path, steps: int) -> Path:
    """A run as Megatron's loop leaves it, with every digit that it writes."""
    run = RunDirectory.named(folder / "big", "long")
    run.create({"experiment.yaml": "modules: {pre_trainer: {framework: megatron}}\n", "manifest.json": "{}"})
    run.write_status(Status(state="succeeded", exit_status=0))
    draw = random.Random(0).random
    with run.metrics.open("w") as file:
        for step in range(1, steps + 1):
            report = {
                "step": step,
                "loss": 2 + 8 * math.exp(-step / 1e5) + 0.1 * draw(),
                "lr": 3e-4 * (1 - step / steps),
            }
            report |= {"grad_norm": 1 + draw(), "step_time": 0.2 + 0.05 * draw(), "data_time": 7e-4 * draw()}
            report |= {"tokens_per_second": 8e6 * (1 + draw()), "tokens_per_second_per_gpu": 8e3 * (1 + draw())}
            report |= {
                "tflops_per_gpu": 400 + draw(),
                "mfu": 0.4 + 0.01 * draw(),
                "memory_gib": 100.0,
                "time": step * 0.2,
            }
            file.write(json.dumps(report) + "\n")
    return run.path


def measure(run: Path) -> list[float]:
    begin = time.perf_counter()
    with (run / "metrics.jsonl").open("rb") as file:
        for each in file:
            json.loads(each)
    plain = time.perf_counter() - begin
    begin, used = time.perf_counter(), children()
    subprocess.run([sys.executable, "-m", "primus", "report", str(run)], check=True, stdout=subprocess.DEVNULL)
    made, cpu = time.perf_counter() - begin, children() - used
    page = run / "report.html"
    return [plain, made, cpu, page.stat().st_size / 1e6, opened(page)]


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def opened(page: Path) -> float:
    """Seconds from the beginning of navigation until everything is drawn, as the page itself has measured; NaN
    without a browser. For that, a script is put into it and the policy that would refuse it taken out."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return float("nan")
    asking = page.with_name("asking.html")
    script = "<script>addEventListener('load', () => { document.title = 'ms=' + performance.now(); });</script></body>"
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    asking.write_text(policy.sub("", page.read_text()).replace("</body>", script))
    flags = ["--headless", "--disable-gpu", "--dump-dom", f"--user-data-dir={page.parent / 'profile'}"]
    flags += ["--no-sandbox"] * (os.geteuid() == 0)
    done = subprocess.run([browser, *flags, asking.as_uri()], capture_output=True, text=True, check=True)
    found = re.search(r"<title>ms=([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    return float(found[1]) / 1000


def line(name: str, row: list[float]) -> str:
    plain, made, cpu, size, drawn = row
    return f"{name:<7}{plain:>14.2f}{made:>11.2f}{cpu:>12.2f}{size:>10.2f}{drawn:>11.2f}"


if __name__ == "__main__":
    main()
