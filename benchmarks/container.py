"""Time from command to the first line of a worker in a container: `primus train --image` against podman itself with the
same image, mounts and worker, in turns. Needs podman (scripts/test_packages.sh) and the packages of torch.

    python benchmarks/container.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests/standins"
EXPERIMENT = """\
exp_name: first_line
modules:
  pre_trainer:
    framework: megatron
    config: pre_trainer.yaml
    model: tiny_llama.yaml
    overrides: {train_iters: 1, seq_length: 64, micro_batch_size: 1, bf16: false, mock_data: true, lr: 1e-3,
                save_interval: null, use_distributed_optimizer: false, tokenizer_type: NullTokenizer, vocab_size: 256,
                num_workers: 0}
"""
AIM = 0.1


def main() -> None:
    options = parse()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where Primus is installed: the first round compiles
    sys.path.insert(0, str(TESTS))
    from own_podman import Podman  # the image of the tests

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "first_line.yaml").write_text(EXPERIMENT)
        podman = Podman(folder)
        image = podman.make_image("benchmark", None)
        mounts = [word for mount in podman.mounts for word in ("--mount", mount)]
        train = [
            "--exp",
            "first_line.yaml",
            "--image",
            image,
            "--container",
            "podman",
            "--nproc-per-node",
            "1",
            *mounts,
        ]
        ours, theirs = [], []
        for turn in range(options.rounds + 1):  # the first one fills the caches
            before = set(folder.glob("output/*/*/*/runs/*"))
            ours.append(first_line([sys.executable, "-m", "primus", "train", *train], folder, podman.environ, before))
            theirs.append(bare(folder, podman.environ, turn))
        podman("rmi", "--force", image)
    report(ours[1:], theirs[1:])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args()


def first_line(argv: list[str], folder: Path, environ: Mapping[str, str], before: set[Path]) -> float:
    """Seconds until the worker's log has a line."""
    return measure(argv, folder, environ, lambda: set(folder.glob("output/*/*/*/runs/*")) - before)


def bare(folder: Path, environ: Mapping[str, str], turn: int) -> float:
    """The same worker under podman alone: the command that Primus ran last, with a run directory of its own."""
    [last] = sorted(folder.glob("output/*/*/*/runs/*"), key=os.path.getmtime)[-1:]
    run_dir = folder / "bare" / str(turn)
    (run_dir / "logs/node0").mkdir(parents=True)
    (run_dir / "experiment.yaml").write_text((last / "experiment.yaml").read_text())
    manifest = json.loads((last / "manifest.json").read_text())
    container = manifest["container"]
    argv = ["podman", "run", "--rm", "--network=host", "--ipc=host", "--uts=host", "--pids-limit=-1", "--user=0:0"]
    argv += ["--cap-add=SYS_PTRACE", f"--workdir={folder}", *(f"--volume={mount}" for mount in container["mounts"])]
    argv += [f"--env={name}={value}" for name, value in manifest["environment"].items()]
    argv += ["--env=PYTHONPATH=/opt/primus", container["image"], "python3"]
    argv += [word.replace(str(last), str(run_dir)) for word in manifest["worker"][1:]]
    return measure(argv, folder, environ, lambda: {run_dir})


def measure(argv: list[str], folder: Path, environ: Mapping[str, str], runs) -> float:
    begin = time.perf_counter()
    process = subprocess.Popen(
        argv, cwd=folder, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    seconds = None
    while seconds is None and process.poll() is None:
        if any(log.exists() and log.stat().st_size for run in runs() for log in [run / "logs/node0/rank0.log"]):
            seconds = time.perf_counter() - begin
        time.sleep(0.002)
    output, _ = process.communicate()
    if process.returncode or seconds is None:
        sys.exit(f"{' '.join(argv)} failed:\n{output.decode(errors='replace')}")
    return seconds


def report(ours: list[float], theirs: list[float]) -> None:
    difference = statistics.median(one - other for one, other in zip(ours, theirs, strict=True))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{os.cpu_count()} cores; seconds from command to the worker's first line, {len(ours)} rounds in turns\n")
    print(f"{'primus train --image':>22}{'podman run':>22}{'difference':>12}{'ratio':>8}   aim")
    columns = [f"{statistics.median(each):.3f} ({min(each):.3f})" for each in (ours, theirs)]
    print(f"{columns[0]:>22}{columns[1]:>22}{difference:>+12.3f}{ratio:>8.2f}   at most {AIM:+.1f} s")


if __name__ == "__main__":
    main()
