"""CPU time of checking experiments: one of some 600 keys with its presets, and hundreds of files in one command.

    python benchmarks/config_check.py [--rounds 10] [--files 200]

Every number is the best of several rounds of a fresh process, taken in turns, in milliseconds of CPU beyond those of
`python -c pass`, with compiled bytecode as after an installation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from primus.backends.megatron import BACKEND
from primus.experiment import load
from primus.experiment.dump import format_data
from primus.experiment.paths import configs_dir

MODEL = "llama3_8B"
PASS = "python -c pass"
AIMS = {"check of one": 60, "show of one": 100, "check of all": 1500}


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, half, all_files = folder / "one", folder / "half", folder / "all"
        write_presets(folder)
        for target, count in ((one, 1), (half, options.files // 2), (all_files, options.files)):
            keys = write_experiments(target, count)
        commands = {
            PASS: [sys.executable, "-c", "pass"],
            "import typer": [sys.executable, "-c", "import typer"],
            "import typer and yaml": [sys.executable, "-c", "import typer, yaml"],
            "check of one": primus("check", one / "0.yaml"),
            "show of one": primus("show", one / "0.yaml"),
            "check of half": primus("check", half),
            "check of all": primus("check", all_files),
        }
        best = measure(commands, options.rounds, folder)
    report(best, keys, options.files)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--files", type=int, default=200)
    return parser.parse_args()


def write_presets(folder: Path) -> None:
    """A module preset as upstream's: every key of the backend, and every foreign one at a harmless value."""
    schema = BACKEND.schema()
    values = {key.name: key.default for key in schema.keys.values() if key.default is not None or "none" in key.types}
    values |= {
        name: answer.harmless[-1] for name, answer in schema.answers.items() if answer.harmless and "." not in name
    }
    (folder / "every_key.yaml").write_text("".join(f"{name}: {format_data(data)}\n" for name, data in values.items()))
    shipped = configs_dir() / "modules/megatron/pre_trainer.yaml"
    (folder / "module.yaml").write_text(f"extends: [every_key.yaml, {shipped}]\n")


def write_experiments(folder: Path, count: int) -> int:
    """Copies of a shipped experiment with that module preset; the number of values that each file merges."""
    text = (configs_dir() / f"experiments/megatron/{MODEL}.yaml").read_text()
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.yaml").write_text(text.replace("config: pre_trainer.yaml", "config: ../module.yaml"))
    return len(list(load(folder / "0.yaml").leaves()))


def primus(verb: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "primus", "config", verb, str(path)]


def measure(commands: dict[str, list[str]], rounds: int, folder: Path) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    best = dict.fromkeys(commands, float("inf"))
    for turn in range(rounds + 1):
        for name, argv in commands.items():
            milliseconds = cpu(argv, environment)
            if turn:  # the first one fills the caches
                best[name] = min(best[name], milliseconds)
    return best


def cpu(argv: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(argv)} failed")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def report(best: dict[str, float], keys: int, files: int) -> None:
    print(f"{keys} keys in each of {files} files; {PASS}: {best[PASS]:.0f} ms\n")
    print(f"{'':24}{'CPU ms':>8}{'x typer':>9}{'aim':>8}")
    beyond = {name: milliseconds - best[PASS] for name, milliseconds in best.items() if name != PASS}
    for name, milliseconds in beyond.items():
        aim = f"< {AIMS[name]}" if name in AIMS else ""
        print(f"{name:24}{milliseconds:8.0f}{milliseconds / beyond['import typer']:9.2f}{aim:>8}")
    few, many = (
        (beyond[f"check of {name}"] - beyond["check of one"]) / (count - 1)
        for name, count in (("half", files // 2), ("all", files))
    )
    print(f"\nfor each further file {few:.2f} ms of {files // 2}, {many:.2f} ms of {files}: {many / few:.2f} x")


if __name__ == "__main__":
    main()
