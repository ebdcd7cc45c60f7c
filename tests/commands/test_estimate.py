"""`primus estimate` says what a training needs, and shows what can be shown of a bad request."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def estimate(tmp_path):
    def run(*words):
        command = [sys.executable, "-m", "primus", "estimate", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    return run


@pytest.mark.parametrize("name", ["megatron/deepseek_v3", "torchtitan/deepseek_v3_671b"])
def test_an_estimate_names_every_part(name, estimate):
    done = estimate("--exp", name, "--nnodes", "16", "--accelerator", "MI300X")
    assert done.returncode == 0, done.stderr
    for word in (
        "experts",
        "GFLOP per token",
        "stage 0",
        "It fits",
        "all-to-all",
        "bubble",
        "Checkpoint",
        "Rates: assumed",
    ):
        assert word in done.stdout


def test_json_has_exact_numbers(estimate):
    done = estimate("--exp", "megatron/llama3_8B", "--accelerator", "MI300X", "--json")
    found = json.loads(done.stdout)
    assert found["parameters"]["total"] == sum(found["parameters"]["parts"].values()) == 8_030_261_248
    assert found["fits"] is True
    assert found["time"]["step"] > 0


def test_an_unknown_accelerator_is_answered_with_the_nearest(estimate):
    done = estimate("--exp", "llama3_8B", "--accelerator", "MI300")
    assert done.returncode == 2
    assert "Did you mean MI300X?" in done.stderr


def test_without_an_accelerator_there_is_memory_but_no_time(estimate):
    done = estimate("--exp", "llama3_8B")
    assert done.returncode == 0
    assert "stage 0" in done.stdout
    assert "Time: name an accelerator" in done.stdout


def test_an_experiment_that_does_not_check_is_shown_with_its_errors(estimate):
    done = estimate("--exp", "llama3_8B", "--set", "tensor_model_parallel_size=3", "--accelerator", "MI300X")
    assert done.returncode == 3
    assert "GFLOP per token" in done.stdout
    assert "tensor_model_parallel_size" in done.stderr


def test_an_experiment_that_makes_no_sense_has_its_errors_only(estimate):
    done = estimate("--exp", "llama3_8B", "--set", "num_layers=many")
    assert done.returncode == 3
    assert "num_layers" in done.stderr
    assert "Traceback" not in done.stderr


def test_rates_of_the_doctor_replace_the_assumed_ones(estimate, tmp_path):
    measured = {"rates": {"gemm_tflops": {"bf16": 700}, "all_reduce_gb": {"node": 300, "all": 40}}}
    (tmp_path / "doctor.json").write_text(json.dumps(measured))
    done = estimate("--exp", "llama3_8B", "--accelerator", "MI300X", "--rates", "doctor.json")
    assert done.returncode == 0, done.stderr
    assert "Rates: measured (doctor.json): 300 GB/s in a node" in done.stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"rates": {"gemm_tflops": {"bf16": "fast"}}}'])
def test_rates_that_are_none_are_refused(text, estimate, tmp_path):
    (tmp_path / "rates.json").write_text(text)
    done = estimate("--exp", "llama3_8B", "--accelerator", "MI300X", "--rates", "rates.json")
    assert done.returncode == 2
    assert "rates.json" in done.stderr


def test_a_search_lists_what_fits_and_why_the_rest_fails(estimate):
    done = estimate("--exp", "torchtitan/llama3_70b", "--nnodes", "2", "--accelerator", "MI300X", "--search", "--json")
    found = json.loads(done.stdout)
    speeds = [each["tokens_per_second"] for each in found["best"]]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds
    assert found["tried"] == found["fitting"] + sum(row["count"] for row in found["rejected"].values())
    assert all(row["example"] for row in found["rejected"].values())
    assert "needs more memory than there is" in found["rejected"]


def test_a_search_needs_an_accelerator(estimate):
    done = estimate("--exp", "llama3_8B", "--search")
    assert done.returncode == 2
    assert "--search needs --accelerator" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--accelerator", "H100"], "unknown accelerator. Did you mean H100 SXM or H100 PCIe?"),
        (["--accelerator", ""], "unknown accelerator. Known are MI250X"),
        (["--nnodes", "99999999999"], "99,999,999,999 nodes of 8: 1,000,000 accelerators are the most"),
        (["--efficiency", "nan"], "nan is no number"),
    ],
)
def test_wrong_usage_is_said(estimate, words, said):
    done = estimate("--exp", "megatron/llama3_8B", *words)
    assert done.returncode == 2
    assert said in done.stderr
