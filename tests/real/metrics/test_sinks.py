"""Reports as TensorBoard, Weights & Biases (offline) and MLflow (a local database, a folder) really keep them."""

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).with_name("report.py")
RUN = "20260131T120000Z-abc123"


def report(folder, *, records, settings, state="succeeded", **environment):
    """Send reports from a process of their own; what it warned of."""
    # A home without anybody's key.
    environment = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "HOME": str(folder), **environment}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    asked = {"folder": str(folder), "run": RUN, "settings": settings, "records": records, "state": state}
    command = [sys.executable, str(SCRIPT), json.dumps(asked)]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return [line for line in done.stdout.splitlines() if line.startswith("Warning: ")]


FIRST = [{"step": step, "loss": 5.0 / step, "grad_norm": "NaN" if step == 3 else 1.0} for step in range(1, 6)]
SECOND = [{"step": step, "loss": float(step)} for step in range(4, 7)]
"""A second attempt that goes on from the checkpoint of step 3."""

EXPECTED = [(1, 5.0), (2, 2.5), (3, pytest.approx(5 / 3, rel=1e-6)), (4, 4.0), (5, 5.0), (6, 6.0)]


@pytest.fixture(scope="module")
def run_twice(tmp_path_factory):
    """The folder of an experiment with one run in two attempts, the first of which failed, told to all services."""
    folder = tmp_path_factory.mktemp("llama")
    settings = {
        "disable_tensorboard": False,
        "wandb_project": "small",
        "wandb_exp_name": "first try",
        "disable_mlflow": False,
    }
    assert report(folder, records=FIRST, settings=settings, state="failed") == []
    assert report(folder, records=SECOND, settings=settings) == []
    return folder


def test_tensorboard_shows_both_attempts_as_one(run_twice):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_twice / "runs" / RUN / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == EXPECTED
    assert math.isnan(events.Scalars("grad_norm")[2].value)


def test_wandb_keeps_reports_for_later_in_the_run_directory(run_twice):
    first, second = wandb_runs(run_twice / "runs" / RUN)
    assert [row["step"] for row in first["history"]] == [1, 2, 3, 4, 5]
    assert [row["loss"] for row in second["history"]] == [4.0, 5.0, 6.0]
    assert first["project"] == "small"
    assert first["name"] == "first try"
    assert first["id"] == second["id"] == RUN
    assert first["config"]["optimizer"] == {"lr": 0.001}
    assert (first["exit_code"], second["exit_code"]) == (1, 0)


def wandb_runs(run_dir):
    """What the files of offline runs hold, oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for path in sorted(run_dir.glob("wandb/offline-run-*/*.wandb")):
        run = {"history": []}
        for record in map(Record.FromString, wandb_records(path.read_bytes())):
            if record.HasField("run"):
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                facts = {"project": record.run.project, "name": record.run.display_name, "id": record.run.run_id}
                run |= facts | {"config": config}
            if record.HasField("history"):
                run["history"].append({item.nested_key[0]: json.loads(item.value_json) for item in record.history.item})
            if record.HasField("exit"):
                run["exit_code"] = record.exit.exit_code
        found.append(run)
    return found


def wandb_records(data):
    """The records of a .wandb file: after 7 bytes, LevelDB's log format in blocks of 32 KiB."""
    position, record = 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
        _, size, kind = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # a whole one, or the last part
            yield record
            record = b""


def test_mlflow_shows_both_attempts_as_one_run(run_twice):
    client = mlflow_client(f"sqlite:///{run_twice}/mlflow.db")
    experiment = client.get_experiment_by_name("llama")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == RUN
    assert run.data.params == {"optimizer.lr": "0.001", "name": "llama"}
    losses = sorted(client.get_metric_history(run.info.run_id, "loss"), key=lambda one: (one.step, one.timestamp))
    assert [one.step for one in losses] == [1, 2, 3, 4, 4, 5, 5, 6]
    assert run.data.metrics["loss"] == 6.0


def test_mlflow_writes_where_its_own_variable_says(tmp_path):
    store = tmp_path / "store"
    settings = {"mlflow_experiment_name": "mine", "mlflow_run_name": "one"}
    where = {"MLFLOW_TRACKING_URI": store.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    assert report(tmp_path / "llama", records=FIRST, settings=settings, state="interrupted", **where) == []
    assert not (tmp_path / "llama" / "mlflow.db").exists()
    metrics = list(store.glob("*/*/metrics/loss"))
    assert len(metrics) == 1
    assert [line.split()[2] for line in metrics[0].read_text().splitlines()] == ["1", "2", "3", "4", "5"]
    assert "run_name: one" in (metrics[0].parents[1] / "meta.yaml").read_text()


def mlflow_client(uri):
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def test_tensorboard_dir_gets_a_folder_for_the_run(tmp_path):
    chosen = tmp_path / "chosen"
    assert report(tmp_path / "llama", records=FIRST, settings={"tensorboard_dir": str(chosen)}) == []
    assert list((chosen / RUN).glob("events.out.tfevents.*"))
    assert not (tmp_path / "llama" / "runs" / RUN / "tensorboard").exists()


def test_services_that_are_down_or_refuse_are_warned_of_once_and_stop_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    nobody = "http://127.0.0.1:9"
    settings = {"wandb_project": "small", "disable_mlflow": False, "tensorboard_dir": str(tmp_path / "file")}
    where = {"MLFLOW_TRACKING_URI": nobody, "WANDB_MODE": "online"}
    warnings = report(tmp_path / "llama", records=FIRST, settings=settings, **where)
    starts = (
        "TensorBoard: can't write to",
        "MLflow: API request to http://127.0.0.1:9",
        "Weights & Biases: No API key",
    )
    assert len(warnings) == 3
    for start in starts:
        assert any(f"no reports to {start}" in warning for warning in warnings), warnings


def test_a_package_that_is_not_installed_is_warned_of(tmp_path):
    missing = tmp_path / "packages"
    for name in ("wandb", "mlflow"):
        (missing / name).mkdir(parents=True)
        (missing / name / "__init__.py").write_text(f"raise ImportError('no {name} here')")
    settings = {"disable_wandb": False, "disable_mlflow": False}
    warnings = report(tmp_path / "llama", records=FIRST, settings=settings, PYTHONPATH=str(missing))
    assert [warning.partition("pip install ")[2] for warning in warnings] == ["'primus[wandb]'", "'primus[mlflow]'"]
