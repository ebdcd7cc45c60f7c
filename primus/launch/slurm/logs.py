"""Which files hold what a job prints. `primus slurm logs` shows them."""

from __future__ import annotations

from pathlib import Path

from primus.errors import MissingError
from primus.launch.slurm.record import JobFiles, read_record
from primus.run import RunDirectory


def choose(run: Path, *, node: int | None, rank: int | None) -> list[Path]:
    """The logs that are meant: of one rank, of one node, or of the job's script and its first node. They need not be
    there yet; MissingError for a node or a rank that the job does not have."""
    files = JobFiles(run)
    record = read_record(run)
    if node is not None and record is not None and node >= record.nnodes:
        raise MissingError(f"--node {node}: the job has {record.nnodes} nodes, counted from 0")
    if rank is not None:
        return [_of_rank(run, rank, node)]
    return [files.log, files.node_log(0)] if node is None else [files.node_log(node)]


def every(run: Path) -> dict[str, Path]:
    """All logs that are there, by what they are of."""
    files, run_dir = JobFiles(run), RunDirectory(run)
    found = {"job": files.log} if files.log.exists() else {}
    found |= {path.stem: path for path in sorted(files.logs.glob("node*.log"))}
    return found | {path.stem: path for path in sorted(run_dir.logs.glob("node*/rank*.log"))}


def _of_rank(run: Path, rank: int, node: int | None) -> Path:
    run_dir = RunDirectory(run)
    if node is None:
        known = sorted(run_dir.logs.glob(f"node*/rank{rank}.log"))
        if known:
            return known[0]
        record = read_record(run)
        count = None if record is None else record.options.get("nproc_per_node")
        if not count:
            raise MissingError(f"--rank {rank}: there is no log of it in {run_dir.logs}, or not yet")
        node = rank // int(count)
    return run_dir.log_path(node, rank)
