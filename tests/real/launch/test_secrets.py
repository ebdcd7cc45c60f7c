"""Secrets of many kinds are planted wherever a user has them; none may be in the run directory, on the terminal or in
the process list afterwards, whether training succeeds or fails."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
PEM_BODY = base64.b64encode(bytes(range(7, 199))).decode()
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}\n-----END RSA PRIVATE KEY-----"

SECRETS = {  # what must not turn up, and the text that it is planted in
    "Hugging Face": ("hf_AbCdEfGhIjKlMnOpQrSt", "{}"),
    "Weights & Biases": ("5f3a9c1e7b2d4860a1b2c3d4e5f60718293a4b5c", "WANDB_API_KEY={}"),
    "GitHub": ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "{}"),
    "GitHub, fine-grained": ("github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ", "{}"),
    "AWS id": ("AKIAIOSFODNN7EXAMPLE", "{}"),
    "AWS secret": ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY={}"),
    "Google": (PEM_BODY, '{{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\\\n{}\\\\n"}}'),
    "Azure": ("Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA", "DefaultEndpointsProtocol=https;AccountKey={}==;EndpointSuffix=x"),
    "OpenAI": ("sk-proj-4f8a2b6c9d1e3f5a7b9c", "{}"),
    "Slack": ("xoxb-123456789012-AbCdEfGhIj", "{}"),
    "JSON web token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN", "{}"),
    "PEM": (PEM_BODY[10:90], PEM.replace("{", "{{")),
    "URL": ("sw0rdf1sh", "https://me:{}@mlflow.example.org/x"),
    "query": ("q5w3e2r1t9", "https://host.example.org/x?token={}&page=2"),
    "Bearer": ("b3ar3rT0ken99", "curl -H 'Authorization: Bearer {}'"),
    "Basic": ("bWU6c3dvcmQxMjM=", "Authorization: Basic {}"),
    "option": ("opt1onValue77", "train.py --hf-token={} --lr 1"),
    "password": ("c0rrecthorse", "DB_PASSWORD={}"),
    "Docker": ("ZG9ja2VyOnNlY3JldDEyMw==", '{{"auths": {{"x": {{"auth": "{}"}}}}}}'),
    "Primus-SaFE": ("ak-1234567890abcdef1234", "{}"),
    "kubeconfig": ("k8sT0kenValue123456", "users:\n- user:\n    token: {}"),
    "SSH": ("my long passphrase 9", "SSH_PASSPHRASE='{}'"),
    "signature": ("sIgNaTuRe%2Bvalue", "https://x.blob.core.windows.net/c?sv=2024&sig={}"),
    "netrc": ("n3trcpassw0rd", "machine api.wandb.ai login user password {}"),
}
TEXTS = [text.format(secret) for secret, text in SECRETS.values()]

EXPERIMENT = """\
exp_name: secrets
workspace: %s
modules:
  pre_trainer:
    framework: megatron
    config: pre_trainer.yaml
    model: tiny_llama.yaml
    overrides: {train_iters: 2, lr_warmup_iters: 0, log_interval: 1, seq_length: 64, micro_batch_size: 2, lr: 1e-3,
                global_batch_size: 4, bf16: false, use_distributed_optimizer: false, mock_data: true,
                tokenizer_type: NullTokenizer, vocab_size: 256, num_workers: 0, save_interval: null,
                wandb_exp_name: "${MINE}"}
"""


@dataclass
class Run:
    """What one `primus train` left behind."""

    status: int
    terminal: str
    folder: Path
    commands: set[bytes] = field(default_factory=set)
    """Command lines of every process that Primus started."""

    @property
    def run_dir(self) -> Path:
        return max(self.folder.glob("*/*/*/runs/*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A checkout with a secret in its remote, and secrets in what was changed."""
    folder = tmp_path_factory.mktemp("project")

    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)

    git("init")
    (folder / "notes.txt").write_text("nothing\n")
    git("add", "notes.txt")
    git("commit", "-m", "one")
    git("remote", "add", "origin", f"https://me:{SECRETS['URL'][0]}@github.com/org/project.git")
    (folder / "notes.txt").write_text("\n".join(["ordinary line", *TEXTS]) + "\n")
    return folder


def train(project, folder, **variables):
    """Run `primus train` with secrets in the environment and on the command line, and watch its processes."""
    planted = {f"PLANTED_{number}": text for number, text in enumerate(TEXTS)}
    named = ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "SSH_PASSPHRASE", "DB_PASSWORD")
    kinds = ("Weights & Biases", "AWS secret", "SSH", "password")
    planted |= {name: SECRETS[kind][0] for name, kind in zip(named, kinds, strict=True)}
    planted |= {"MINE": SECRETS["GitHub"][0], "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE / "spoil")}
    (project / "secrets.yaml").write_text(EXPERIMENT % folder)
    argv = [sys.executable, "-m", "primus", "train", "--exp", "secrets.yaml", "--ranks", "all"]
    argv += ["--set", f"wandb_project={SECRETS['Hugging Face'][0]}", "--set", "disable_wandb=true"]
    process = subprocess.Popen(
        [*argv, "--nproc-per-node", "2"],
        cwd=project,
        env=os.environ | planted | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    commands: set[bytes] = set()
    watcher = threading.Thread(target=watch, args=(process, commands))
    watcher.start()
    terminal = process.communicate(timeout=300)[0].decode()
    watcher.join()
    return Run(process.returncode, terminal, folder, commands)


def watch(process, commands):
    """Collect the command lines of everything below a process until it ends, but for what its user has typed: that is
    also what a child shows until it becomes another program."""
    below, typed = {process.pid}, Path(f"/proc/{process.pid}/cmdline").read_bytes()
    while process.poll() is None:
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit():
                    stat = (entry / "stat").read_text(errors="replace")
                    if int(stat.rpartition(")")[2].split()[1]) in below:
                        below.add(int(entry.name))
                        commands |= {(entry / "cmdline").read_bytes()} - {typed}
            except (FileNotFoundError, ProcessLookupError):
                continue
        time.sleep(0.02)


@pytest.fixture(scope="module")
def succeeded(project, tmp_path_factory):
    return train(project, tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def failed(project, tmp_path_factory):
    return train(project, tmp_path_factory.mktemp("bad"), SPOIL="\n".join(TEXTS))


@pytest.fixture(params=["succeeded", "failed"])
def run(request):
    return request.getfixturevalue(request.param)


def leaks(text):
    return [kind for kind, (secret, _) in SECRETS.items() if secret in text]


def test_the_runs_end_as_they_should(succeeded, failed):
    assert succeeded.status == 0, succeeded.terminal
    assert "step 2/2" in succeeded.terminal
    assert failed.status == 1
    assert "RuntimeError" in failed.terminal


def test_no_file_of_the_run_holds_a_secret(run):
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"manifest.json", "experiment.yaml", "status.json", "agent.log", "rank1.log"} <= names
    found = {str(path.relative_to(run.folder)): leaks(path.read_text(errors="replace")) for path in files}
    assert not {name: kinds for name, kinds in found.items() if kinds}


def test_the_terminal_shows_no_secret(run):
    assert leaks(run.terminal) == []


def test_no_process_has_a_secret_in_its_arguments(run):
    assert any(b"primus.backends.megatron.worker" in command for command in run.commands)
    assert leaks(b"\n".join(run.commands).decode(errors="replace")) == []


def test_the_changes_of_the_project_are_kept_without_their_secrets(succeeded):
    diff = (succeeded.run_dir / "facts/working_directory.diff").read_text()
    assert "+ordinary line" in diff
    assert diff.count("[redacted]") >= len(SECRETS)


def test_the_effective_experiment_refers_to_its_secrets(succeeded):
    text = (succeeded.run_dir / "experiment.yaml").read_text()
    assert 'wandb_exp_name: "${MINE}"' in text
    assert 'wandb_project: "${PRIMUS_SECRET_WANDB_PROJECT}"' in text


def test_a_dry_run_shows_no_secret(project, tmp_path):
    (project / "secrets.yaml").write_text(EXPERIMENT % tmp_path)
    argv = [sys.executable, "-m", "primus", "train", "--exp", "secrets.yaml", "--dry-run"]
    argv += ["--set", f"wandb_project={SECRETS['Hugging Face'][0]}"]
    planted = {"MINE": SECRETS["GitHub"][0], "NCCL_DEBUG": TEXTS[0]}
    done = subprocess.run(argv, cwd=project, env=os.environ | planted, capture_output=True, text=True, check=True)
    assert leaks(done.stdout + done.stderr) == []
    assert "MINE='[redacted]'" in done.stdout


def again(succeeded, project, *arguments, **variables):
    environment = os.environ | {"MINE": SECRETS["GitHub"][0], "PRIMUS_SECRET_WANDB_PROJECT": "y"} | variables
    argv = [sys.executable, "-m", "primus", "train", "--from-run", str(succeeded.run_dir), *arguments]
    return subprocess.run(argv, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_the_run_can_be_started_again_with_its_own_settings(succeeded, project):
    done = again(succeeded, project, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Experiment: secrets (megatron)" in done.stdout
    assert "Processes:  2 on" in done.stdout
    more = again(succeeded, project, "--dry-run", "--set", "train_iters=7", "--nproc-per-node", "1", EXP="other.yaml")
    assert "Processes:  1 on" in more.stdout
    assert "Steps:      7" in more.stdout


def test_starting_it_again_makes_a_new_run_of_the_same_experiment(succeeded, project):
    first = succeeded.run_dir
    done = again(succeeded, project, "--no-resume", NCCL_DEBUG="WARN", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "Warning: NCCL_DEBUG: none then, WARN now" in done.stderr
    second = succeeded.run_dir
    assert second != first
    assert (second / "experiment.yaml").read_text() == (first / "experiment.yaml").read_text()
    steps = [json.loads(line)["loss"] for line in (second / "metrics.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["loss"] for line in (first / "metrics.jsonl").read_text().splitlines()]


def test_a_secret_that_is_missing_when_it_is_started_again_is_named(succeeded, project):
    done = again(succeeded, project, "--dry-run", PRIMUS_SECRET_WANDB_PROJECT="")
    assert done.returncode == 0  # set to nothing is a value
    environment = {name: value for name, value in os.environ.items() if name != "MINE"}
    argv = [sys.executable, "-m", "primus", "train", "--from-run", str(succeeded.run_dir), "--dry-run"]
    missing = subprocess.run(argv, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert missing.returncode == 3
    assert "the environment variable MINE is not set" in missing.stderr


def test_an_experiment_and_a_run_at_once_are_wrong_usage(succeeded, project):
    done = again(succeeded, project, "--exp", "secrets.yaml")
    assert done.returncode == 2
    assert "--exp and --from-run" in done.stderr
