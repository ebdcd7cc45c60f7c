"""A real SLURM on this machine, for the tests: munge, slurmctld and a few nodes, each with a host name, an /etc/hosts
and processes of its own. conftest.py starts one; everything of it ends with the process that started it."""

from __future__ import annotations

import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

TEMPLATE = Path(__file__).with_name("slurm.conf.in")
GPUS = 8
CPUS = 16
MEMORY = 64000
"""Megabytes of each node; like its GPUs and CPUs, only SLURM believes in them."""

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "setpriv")
_SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_PATIENCE = 240.0


def why_not() -> str | None:
    """Why no cluster can run here, or None."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_SEARCHED) is None]
    if missing:
        return f"needs {', '.join(missing)}: scripts/test_packages.sh installs them"
    done = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    return f"no right to make namespaces: {done.stderr.strip()}" if done.returncode else None


class Cluster:
    """Starts when it is made. `root` is an empty folder with a short path: a socket goes there."""

    def __init__(self, root: Path, *, nodes: int = 4) -> None:
        self.root = root
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {"SLURM_CONF": str(root / "etc/slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._vital: set[str] = set()
        for name in ("etc", "run", "log", "state", "spool", "dev"):
            (root / name).mkdir()
        try:
            self._start_munge()
            self._start_slurm()
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of SLURM, or any other, on the login node, which is this machine."""
        environment = {**os.environ, **self.environment, **options.pop("env", {})}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=check, **options)

    def crash(self, node: str, *, noticed: bool = False) -> None:
        """Kill a node with everything that runs on it, as a power failure does. The controller notices that after some
        15 seconds, or at once when it is told."""
        self._end(node, signal.SIGKILL)
        if noticed:
            self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crashed")

    def restart(self, node: str) -> None:
        """Start a crashed node again, and wait until it can be used."""
        self._start_node(node)
        self.wait_for(lambda: self.state(node) == "idle", f"{node} to come back")

    def stop_controller(self) -> None:
        self._vital.discard("slurmctld")
        self._end("slurmctld", signal.SIGTERM)

    def start_controller(self) -> None:
        """Start the controller again; its jobs are still there."""
        self._daemon("slurmctld", "slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
        self._vital.add("slurmctld")
        self.wait_for(lambda: self.run("scontrol", "ping", check=False).returncode == 0, "the controller")

    def state(self, node: str) -> str:
        """Of a node, as `idle` or `mixed`; an asterisk stands behind it when the node does not answer."""
        return self.run("sinfo", "-h", "-p", "main", "-n", node, "-o", "%T", check=False).stdout.strip()

    def job_state(self, job: str) -> str:
        """As `PENDING` or `COMPLETED`; empty when SLURM does not know the job."""
        return self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T", check=False).stdout.strip()

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = _PATIENCE) -> None:
        """Return when the condition holds; fail when it does not in time, or when a daemon that it needs has ended."""
        end = time.monotonic() + timeout
        while not condition():
            assert all(self._daemons[name].poll() is None for name in self._vital), self.describe()
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.describe()}"
            time.sleep(0.05)

    def describe(self) -> str:
        """What one wants to read when a test has failed."""
        shown = [self.run(*command, check=False).stdout for command in (("sinfo", "-N", "-l"), ("squeue", "-t", "all"))]
        shown.append(", ".join(f"{node} {self.state(node)}" for node in self.nodes))
        logs = [f"{path.name}:\n{_tail(path)}" for path in sorted((self.root / "log").iterdir())]
        return "\n".join(shown + logs)

    def clear(self) -> None:
        """End all jobs and bring every node back, for the next test."""
        jobs = self.run("squeue", "-h", "-o", "%A", check=False).stdout.split()
        if jobs:
            self.run("scancel", *jobs, check=False)
        for node in self.nodes:
            if self._daemons[node].poll() is not None:
                self._start_node(node)
            if any(word in self.state(node) for word in ("down", "drain")):
                self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        self.wait_for(lambda: not self.run("squeue", "-h", check=False).stdout, "the end of all jobs")
        # `mixed` may be old news: without another change it stays for half a minute after the last job
        self.wait_for(lambda: all(self.state(node) in ("idle", "mixed") for node in self.nodes), "nodes to be ready")

    def stop(self) -> None:
        """End every process of the cluster."""
        self._vital.clear()
        if "slurmctld" in self._daemons and self._daemons["slurmctld"].poll() is None:
            self.run("scancel", "--user", getpass.getuser(), check=False)
        for node in self.nodes:
            self._end(node, signal.SIGKILL)
        for name in ("slurmctld", "munged"):
            self._end(name, signal.SIGTERM)

    def _start_munge(self) -> None:
        key, run, log = self.root / "etc/munge.key", self.root / "run", self.root / "log"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {"key": key, "socket": run / "munge.socket", "pid": run / "munged.pid", "log": log / "munged.log"}
        options = [f"--{name}-file={path}" for name, path in files.items() if name != "socket"]
        seed = f"--seed-file={run / 'munged.seed'}"
        # --force: pytest's folders can't be entered by other users, who have nothing to do here
        self._daemon("munged", "munged", "-F", "--force", *options, f"--socket={files['socket']}", seed)
        self.wait_for((run / "munge.socket").exists, "munge")

    def _start_slurm(self) -> None:
        for number in range(GPUS):
            (self.root / f"dev/gpu{number}").symlink_to("/dev/null")  # slurmd insists on a character device
        addresses = "".join(f"{_address(number)} {node}\n" for number, node in enumerate(self.nodes, 1))
        for node in self.nodes:
            names = f"127.0.0.1 localhost {socket.gethostname()}\n{addresses}"
            (self.root / f"etc/hosts.{node}").write_text(names)
        folder = self.root / "nocgroup"
        (self.root / "etc/cgroup.conf").write_text(f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={folder}\n")
        (self.root / "etc/gres.conf").write_text(
            f"AutoDetect=off\nNodeName=n[1-{len(self.nodes)}] Name=gpu File={self.root}/dev/gpu[0-{GPUS - 1}] "
            "Flags=nvidia_gpu_env,amd_gpu_env\n"
        )
        port = _free_ports(1 + len(self.nodes))
        Path(self.environment["SLURM_CONF"]).write_text(self._configuration(port))
        self.start_controller()
        for node in self.nodes:
            self._start_node(node)
        self.wait_for(lambda: all(self.state(node) == "idle" for node in self.nodes), "idle nodes")

    def _configuration(self, port: int) -> str:
        nodes = (
            f"NodeName={node} NodeHostname=localhost NodeAddr={_address(number)} Port={port + number} CPUs={CPUS} "
            f"Sockets=1 CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory={MEMORY} Gres=gpu:{GPUS} State=UNKNOWN"
            for number, node in enumerate(self.nodes, 1)
        )
        values = {"PORT": port, "USER": getpass.getuser(), "ROOT": self.root, "NODES": "\n".join(nodes)}
        text = TEMPLATE.read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def _start_node(self, node: str) -> None:
        """The first process of a node: when it is killed, the kernel kills all others of the node."""
        setup = 'hostname "$1" && mount --bind "$2" /etc/hosts && { slurmd -D -N "$1" -f "$SLURM_CONF" & wait; }'
        hosts = str(self.root / f"etc/hosts.{node}")
        self._daemon(node, *_unshare(), "sh", "-c", setup, "node", node, hosts)

    def _daemon(self, name: str, *command: str) -> None:
        """A process that the kernel kills when the one that started the cluster ends, however that does."""
        environment: Mapping[str, str] = {**os.environ, **self.environment, "PATH": _SEARCHED}
        with (self.root / f"log/{name}.out").open("ab") as output:
            self._daemons[name] = _spawn(["setpriv", "--pdeathsig", "KILL", *command], environment, output)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._daemons.get(name)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _spawn(command: list[str], environment: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )


def _unshare() -> list[str]:
    """Own mounts, host name and processes; whoever is not root gets the rights for that in a user namespace."""
    user = [] if os.getuid() == 0 else ["--map-current-user", "--keep-caps"]
    kinds = ["--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    return ["unshare", *user, *kinds, "--propagation", "private"]


def _address(number: int) -> str:
    return f"127.0.1.{number}"


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row, below those that the kernel gives to clients."""
    while True:
        first = random.randrange(10000, 19000)
        try:
            for port in range(first, first + count):
                socket.create_server(("", port)).close()
        except OSError:
            continue
        return first


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
