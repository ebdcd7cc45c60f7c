"""Puts the stand-ins into a folder: bin/hipblaslt-bench, lib/libhipblaslt.so and lib/libamdhip64.so, as ROCm has them.

By hand: `python tests/tuning/standins/install.py FOLDER`, then ROCM_PATH=FOLDER.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

BENCH = """#!{python} -SE
import sys
sys.path.insert(0, {folder!r})
import bench
bench.main()
"""

FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden")


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def install_bench(rocm: Path, python: str = sys.executable) -> Path:
    bench = rocm / "bin" / "hipblaslt-bench"
    bench.parent.mkdir(parents=True, exist_ok=True)
    bench.write_text(BENCH.format(python=python, folder=str(HERE)))
    bench.chmod(0o755)
    return bench


def build_libraries(rocm: Path, cc: str) -> Path:
    """The folder with both."""
    lib = rocm / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    hip, blas = lib / "libamdhip64.so", lib / "libhipblaslt.so"
    subprocess.run([cc, *FLAGS, "-o", hip, HERE / "fake_hip.c", "-pthread"], check=True)
    sources = [HERE / f"{name}.c" for name in ("fake_hipblaslt", "fake_log", "fake_override")]
    link = [f"-L{lib}", "-lamdhip64", "-Wl,-rpath,$ORIGIN", "-pthread"]
    subprocess.run([cc, *FLAGS, "-o", blas, *sources, *link], check=True)
    return lib


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = compiler()
    if found is None:
        sys.exit("no C compiler: install cc")
    print(install_bench(folder))
    print(build_libraries(folder, found))
