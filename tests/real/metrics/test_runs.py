"""Real runs of both backends, with every service switched on: what they measure, and where it arrives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from primus.metrics.names import METRICS, is_known

pytestmark = pytest.mark.real

MEGATRON = """
work_group: team
user_name: me
workspace: {workspace}
modules:
  pre_trainer:
    framework: megatron
    config: pre_trainer.yaml
    model: tiny_llama.yaml
    overrides:
      {{mock_data: true, num_workers: 0, bf16: false, use_distributed_optimizer: false, hidden_size: 64, num_layers: 2,
       ffn_hidden_size: 96, num_experts: 4, moe_router_topk: 2, moe_ffn_hidden_size: 32, moe_grouped_gemm: false,
       moe_permute_fusion: false, moe_router_load_balancing_type: aux_loss, moe_aux_loss_coeff: 0.01, mtp_num_layers: 1,
       seq_length: 64, micro_batch_size: 2, global_batch_size: 8, train_iters: 6, lr: 1.0e-3, lr_warmup_iters: 1,
       eval_interval: 3, eval_iters: 1, disable_tensorboard: false, disable_wandb: false, disable_mlflow: false}}
"""

TORCHTITAN = """
work_group = "team"
user_name = "me"
workspace = "{workspace}"
[model]
name = "llama3"
flavor = "custom"
hf_assets_path = "{corpus}/tokenizer"
[model.custom]
dim = 64
n_layers = 2
n_heads = 4
n_kv_heads = 2
multiple_of = 32
vocab_size = 260
[training]
dataset = "text"
dataset_path = "{corpus}"
local_batch_size = 4
seq_len = 64
steps = 6
mixed_precision_param = "float32"
[compile]
enable = false
[activation_checkpoint]
mode = "none"
[metrics]
log_freq = 1
enable_tensorboard = true
enable_wandb = true
enable_mlflow = true
[checkpoint]
enable = false
"""


def primus(*arguments, folder, expect=0, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    environment = clean | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "HOME": str(folder)} | environment
    command = [sys.executable, "-m", "primus", *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stderr


def run_of(workspace, name):
    """What a run has left."""
    folder = workspace / "team" / "me" / name
    (run_dir,) = (folder / "runs").iterdir()
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return SimpleNamespace(folder=folder, run_dir=run_dir, lines=lines, steps=[one for one in lines if "loss" in one])


@pytest.fixture(scope="module")
def megatron(tmp_path_factory):
    """Experts and multi-token prediction on two processes."""
    folder = tmp_path_factory.mktemp("megatron")
    (folder / "experts.yaml").write_text(MEGATRON.format(workspace=folder))
    primus("train", "--exp", folder / "experts.yaml", "--nproc-per-node", 2, folder=folder)
    return run_of(folder, "experts")


@pytest.fixture(scope="module")
def torchtitan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchtitan")
    corpus, source = folder / "corpus", Path(json.__file__).parent
    made = ("--glob", "*.py", "--output", corpus, "--tokenizer", "byte", "--format", "torchtitan")
    primus("data", "prepare", source, *made, folder=folder)
    (folder / "llama.toml").write_text(TORCHTITAN.format(workspace=folder, corpus=corpus))
    primus("train", "--exp", folder / "llama.toml", folder=folder)
    return run_of(folder, "llama")


@pytest.fixture(params=["megatron", "torchtitan"])
def run(request):
    return request.getfixturevalue(request.param)


COMMON = {
    *("step", "time", "loss", "lr", "grad_norm", "step_time", "data_time", "tokens_per_second"),
    *("tokens_per_second_per_gpu", "tflops_per_gpu", "memory_gib"),
}


def test_every_report_of_both_backends_has_the_same_metrics(run):
    assert [line["step"] for line in run.steps] == [1, 2, 3, 4, 5, 6]
    assert all(line.keys() >= COMMON for line in run.steps)


def test_all_metrics_are_in_the_table(run):
    assert [name for line in run.lines for name in line if not is_known(name)] == []


def test_the_numbers_fit_together(run):
    for line in run.steps:
        assert 0 <= line["data_time"] < line["step_time"]
        assert 0.1 < line["memory_gib"] < 64
        assert 0 < line["tokens_per_second_per_gpu"] <= line["tokens_per_second"]
    per_token = [line["tflops_per_gpu"] * 1e12 / line["tokens_per_second_per_gpu"] for line in run.steps]
    assert per_token == [pytest.approx(per_token[0])] * 6


def test_a_machine_without_a_known_accelerator_reports_no_mfu(run):
    assert "mfu" in METRICS
    assert not [line for line in run.lines if "mfu" in line]


def test_two_processes_share_the_tokens(megatron):
    for line in megatron.steps:
        assert line["tokens_per_second"] == pytest.approx(2 * line["tokens_per_second_per_gpu"])
        assert line["tokens_per_second"] == pytest.approx(8 * 64 / line["step_time"])


def test_experts_are_watched(megatron):
    # Four experts: 1 when all get the same, 4 when one gets everything, and two at least share it.
    assert all(1 <= line["moe_imbalance"] <= 2 for line in megatron.steps)
    assert all({"moe_load_balancing_loss", "mtp_1_loss"} <= line.keys() for line in megatron.steps)


def test_tensorboard_has_what_metrics_jsonl_has(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.run_dir / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {name for line in run.lines for name in line} - {"step", "time"}
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(line["step"], pytest.approx(line["loss"])) for line in run.steps]


def test_mlflow_has_the_run_with_its_settings_and_its_end(run):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{run.folder}/mlflow.db")
    experiment = client.get_experiment_by_name(run.folder.name)
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", run.run_dir.name)
    losses = client.get_metric_history(found.info.run_id, "loss")
    assert {one.step: one.value for one in losses} == {line["step"]: line["loss"] for line in run.steps}
    settings = found.data.params
    assert "64" in (settings.get("seq_length"), settings.get("training.seq_len"))


def test_wandb_keeps_the_run_for_later(run):
    (kept,) = (run.run_dir / "wandb").glob("offline-run-*/run-*.wandb")
    assert kept.stat().st_size > 1000
    assert run.run_dir.name in kept.name


def test_a_service_whose_package_is_missing_ends_a_training_before_it_starts(tmp_path):
    (tmp_path / "experts.yaml").write_text(MEGATRON.format(workspace=tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['wandb'] = None\n")
    said = primus("train", "--exp", tmp_path / "experts.yaml", folder=tmp_path, expect=4, PYTHONPATH=str(tmp_path))
    assert "disable_wandb: reports to wandb need the package wandb" in said
    assert not (tmp_path / "team").exists()


def test_services_learn_that_a_run_has_failed(tmp_path):
    from mlflow.tracking import MlflowClient

    (tmp_path / "bad.yaml").write_text(MEGATRON.format(workspace=tmp_path))
    sets = ("--set", "lr=1e30", "--set", "disable_wandb=true", "--set", "disable_tensorboard=true")
    primus("train", "--exp", tmp_path / "bad.yaml", *sets, folder=tmp_path, expect=1)
    client = MlflowClient(f"sqlite:///{tmp_path}/team/me/bad/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("bad").experiment_id])
    assert found.info.status == "FAILED"


def test_a_slow_process_is_named(tmp_path):
    script = Path(__file__).with_name("slow_rank.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=120)
    warnings = [line for line in done.stdout.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("Warning: step 3: rank 2 is slow and holds the others up")
