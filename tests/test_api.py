"""Primus from Python, up to the point where workers start; the training itself is in tests/real/test_api.py."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import primus

MADE_UP = {"mock_data": True, "data_path": None}


def tiny(**values: object) -> primus.Experiment:
    return primus.load("tiny_llama", backend="megatron", values={**MADE_UP, **values})


def test_importing_primus_imports_nothing_else():
    program = "import sys, primus; print([name for name in sys.modules if name.startswith('primus.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_reading_and_planning_import_nothing_heavy():
    program = (
        "import sys, primus\n"
        "primus.plan(primus.load('llama3_8B', backend='megatron'), nproc_per_node=8)\n"
        "print([name for name in ('torch', 'numpy', 'megatron.core', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", [name for name in primus.__all__ if name != "__version__"])
def test_every_name_that_is_promised_is_there_and_explained(name):
    assert name in dir(primus)
    assert getattr(primus, name).__doc__


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lauch'"):
        _ = primus.lauch


def test_values_keep_their_types():
    experiment = tiny(lr=1e-4, train_iters=7, exp_name="1e5")
    assert experiment.plain()["lr"] == 1e-4
    assert experiment.plain()["train_iters"] == 7
    assert experiment.exp_name == "1e5"


def test_an_experiment_that_there_is_not_is_missing():
    with pytest.raises(primus.MissingError, match="nowhere"):
        primus.load("nowhere.yaml")


def test_an_unknown_backend_suggests_the_nearest():
    with pytest.raises(primus.UsageError, match="Did you mean torchtitan"):
        primus.load("tiny_llama", backend="torchtatin")


def test_a_good_experiment_has_no_problems():
    assert primus.check(tiny(), nproc_per_node=1) == []


def test_problems_of_keys_and_of_the_layout_are_listed_together():
    problems = primus.check(tiny(micro_batch_szie=3, tensor_model_parallel_size=3), nproc_per_node=4)
    text = "\n".join(map(str, problems))
    assert "Did you mean micro_batch_size?" in text
    assert "tensor_model_parallel_size" in text


def test_a_plan_is_for_any_number_of_nodes_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = primus.plan(tiny(global_batch_size=256), nnodes=2, nproc_per_node=8)
    assert (job.resources.world_size, job.total_steps) == (16, 200)
    assert job.run_dir == tmp_path / "output/amd" / job.run_dir.parts[-4] / "tiny_llama/runs/TIME-ID"
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_a_wrong_experiment_raises_all_its_errors():
    with pytest.raises(primus.ExperimentError) as caught:
        primus.plan(tiny(micro_batch_szie=3, lrr=1.0))
    assert len(caught.value.problems) == 2


def test_an_estimate_is_what_the_command_prints():
    command = [sys.executable, "-m", "primus", "estimate", "--exp", "llama3_8B", "--backend", "megatron"]
    command += ["--accelerator", "MI300X", "--nnodes", "2"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = primus.estimate(primus.load("llama3_8B", backend="megatron"), accelerator="MI300X", nnodes=2)
    assert f"{found}\n" == printed
    assert found.as_data()["parameters"]["total"] == 8_030_261_248


def test_a_search_is_what_the_command_prints():
    from primus.estimate.call import layouts

    command = [sys.executable, "-m", "primus", "estimate", "--exp", "llama3_8B", "--backend", "megatron"]
    command += ["--accelerator", "MI300X", "--search"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = layouts(primus.load("llama3_8B", backend="megatron"), accelerator="MI300X")
    assert f"{found}\n" == printed
    assert found.as_data()["fitting"] == len(found.found.fitting) > 0


def test_an_estimate_of_a_wrong_experiment_raises_all_its_errors():
    with pytest.raises(primus.ExperimentError, match="micro_batch_szie"):
        primus.estimate(tiny(micro_batch_szie=3))


def test_an_estimate_without_an_accelerator_has_no_time():
    found = primus.estimate(primus.load("llama3_8B", backend="megatron"))
    assert (found.timing, found.limit) == (None, None)


def test_a_wrong_experiment_is_not_launched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(primus.ExperimentError, match="micro_batch_szie"):
        primus.launch(tiny(micro_batch_szie=3))
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_here_keeps_a_training_from_starting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(primus.MissingError, match=r"corpus\.bin does not exist here"):
        primus.launch(primus.load("tiny_llama", backend="megatron"), nproc_per_node=1)


def test_node_0_is_told_what_keeps_another_node_from_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = primus.load("tiny_llama", backend="megatron", values={"micro_batch_size": 8})
    with socket.create_server(("127.0.0.1", 0)) as node_0:
        place = {"master_addr": "127.0.0.1", "master_port": node_0.getsockname()[1]}
        with pytest.raises(primus.MissingError):
            primus.launch(experiment, nnodes=2, node_rank=1, nproc_per_node=1, **place)
        with node_0.accept()[0] as connection, connection.makefile() as lines:
            told = json.loads(lines.readline())
    assert told["rank"] == 1
    assert "corpus.bin does not exist here" in told["refusal"]


def test_a_thread_that_signals_do_not_reach_is_refused():
    caught: list[BaseException] = []

    def call() -> None:
        try:
            primus.launch(tiny())
        except primus.UsageError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_the_package_and_the_function_are_one_name():
    import primus.launch.care

    assert callable(primus.launch)
    assert callable(primus.estimate)
    assert primus.launch.care.Care is primus.Care


def test_the_types_are_shipped():
    assert (Path(primus.__file__).parent / "py.typed").exists()


def test_a_type_checker_sees_what_a_program_uses(tmp_path):
    (tmp_path / "program.py").write_text(
        "import primus\n"
        "run = primus.launch(primus.load('x'), nproc_per_node=1)\n"
        "reveal_type(run.exit_status)\n"
        "primus.launch('x')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'Revealed type is "int"' in done.stdout.replace("builtins.", ""), done.stdout
    assert 'incompatible type "str"; expected "Experiment"' in done.stdout
