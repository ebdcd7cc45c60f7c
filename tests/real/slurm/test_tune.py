"""All stages of tuning as jobs that wait for each other, with the fake library in the place of ROCm's."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Desk, read, sets

pytestmark = pytest.mark.real

HOOK = Path(__file__).parents[2] / "tuning/standins/hook"
TINY = {"train_iters": 2, "lr_warmup_iters": 1, "log_interval": 1, "micro_batch_size": 2, "global_batch_size": 4}


def test_the_last_of_three_jobs_trains_with_what_the_first_two_found(desk: Desk, rocm: Path) -> None:
    environment = {
        **{"PYTHONPATH": str(HOOK), "STANDIN_HOOK": str(rocm / "lib"), "ROCM_PATH": str(rocm)},
        **{"PRIMUS_MODEL": "tiny", "PRIMUS_TUNE_LOCKS": str(rocm), "USER": "tester", "TEAM": "amd"},
    }
    done = desk.primus(
        *("tune", "--stage", "all", "--target", "slurm", "--train-iters", "1", "--engine", "bench"),
        *("--exp", "megatron/tiny_llama", "--nproc-per-node", "1", *sets(**TINY, mock_data="true", data_path="null")),
        *("--", "--gpus-per-node", "0"),
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    jobs = [line.split()[-1] for line in done.stdout.splitlines()]
    running = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
    desk.cluster.wait_for(lambda: desk.cluster.job_state(jobs[-1]) not in running, "the end of stage 3", 180)
    assert [desk.cluster.job_state(job) for job in jobs] == ["COMPLETED"] * 3
    (facts,) = (desk.folder / "output").rglob("tuning.json")
    assert read(facts)["stage"] == 3
    assert read(facts)["proof"]["used"] == read(facts)["proof"]["asked"] > 5
