"""The command line as a user meets it: help, errors with their exit statuses, completion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from primus import __version__
from primus.cli import COMMANDS


def primus(*arguments, **options):
    environment = os.environ | {"COLUMNS": "100"} | options.pop("environment", {})
    argv = [sys.executable, "-m", "primus", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, **options)


def in_process(code, **options):
    """Run Python code that ends in cli.main(), as the console script does."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


def test_help_lists_every_command_with_its_line():
    done = primus("--help")
    assert done.returncode == 0
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:<{max(map(len, COMMANDS))}}  {line}" in done.stdout


def test_help_imports_no_command_and_nothing_heavy():
    code = """
import sys
from primus.cli import main
sys.argv = ["primus", "--help"]
try:
    main()
except SystemExit:
    print(*sys.modules)
"""
    loaded = set(in_process(code).stdout.splitlines()[-1].split())
    ours = ("primus.commands.", "primus.experiment", "primus.backends", "primus.launch")
    assert "primus.cli" in loaded
    assert not [name for name in loaded if name.startswith(ours)]
    assert not loaded & {"rich", "yaml", "torch", "numpy", "pydantic", "importlib.metadata"}


def test_without_arguments_the_help_is_shown():
    done = primus()
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_training_without_an_experiment_says_what_is_missing():
    done = primus("train", environment={"EXP": ""})
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --exp FILE is missing")


def test_the_version_is_shown():
    assert primus("--version").stdout == f"primus {__version__}\n"


def test_a_misspelt_command_suggests_the_nearest():
    done = primus("trian")
    assert done.returncode == 2
    assert "No such command 'trian'. Did you mean 'train'?" in done.stderr


@pytest.mark.parametrize("arguments", [["train", "--expp", "x"], ["train", "--exp", "x", "--nnodes", "two"]])
def test_wrong_usage_has_status_2_and_no_traceback(arguments):
    done = primus(*arguments, environment={"EXP": ""})
    assert done.returncode == 2
    assert "Usage: primus train" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_option_suggests_the_nearest():
    assert "--exp" in primus("train", "--expp", "x").stderr.rpartition("No such option")[2]


RAISE = """
import sys
from primus import cli, errors
def train():
    raise {error}
import types
module = types.ModuleType("boom")
module.app = cli.typer.Typer()
module.app.command()(train)
sys.modules["boom"] = module
cli.COMMANDS["train"] = ("boom", "")
sys.argv = ["primus", "train"]
cli.main()
"""


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        ("errors.UsageError('no')", 2, "Error: no\n"),
        ("errors.ExperimentError([errors.Problem(message='a'), errors.Problem(message='b')])", 3, "a\nb\n"),
        ("errors.MissingError('gone')", 4, "Error: gone\n"),
        ("errors.ServiceError('down')", 5, "Error: down\n"),
        ("KeyboardInterrupt", 130, ""),
        ("SystemExit(7)", 7, ""),
    ],
)
def test_an_expected_failure_is_its_text_and_its_status(error, status, text):
    done = in_process(RAISE.format(error=error))
    assert (done.returncode, done.stderr) == (status, text)


def test_a_warning_among_problems_is_marked():
    error = "errors.ExperimentError([errors.Problem(message='a', severity='warning')])"
    assert in_process(RAISE.format(error=error)).stderr == "Warning: a\n"


def test_a_fault_of_ours_shows_its_traceback_and_has_status_1():
    done = in_process(RAISE.format(error="ZeroDivisionError('x')"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: x" in done.stderr
    assert "fault of Primus" in done.stderr


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("models > /dev/full", 4),
        ("--help > /dev/full", 4),
        ("models > /dev/full 2> /dev/full", 4),
        ("config check no_such_file 2> /dev/full", 4),
    ],
)
def test_output_to_a_full_disk_is_no_fault_and_the_status_is_true(command, status):
    argv = ["sh", "-c", f'"{sys.executable}" -m primus {command}']
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr in ("", "Error: can't write the output: No space left on device\n")


def test_a_file_that_the_machine_refuses_is_no_fault_of_ours():
    done = in_process(RAISE.format(error="PermissionError(13, 'Permission denied', 'output/someone')"))
    assert done.returncode == 4
    assert done.stderr == "Error: output/someone: Permission denied\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "status"), [("models", 0), ("config check no_such_file", 4)])
def test_a_closed_stream_is_no_fault_and_the_status_is_true(command, status, closed):
    argv = ["sh", "-c", f'"{sys.executable}" -m primus {command} {closed}']
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_working_directory_that_was_removed_is_no_fault_of_ours(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    argv = ["sh", "-c", f'rmdir "$PWD"; "{sys.executable}" -m primus config check megatron/tiny_llama']
    done = subprocess.run(argv, cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == "Error: the working directory is gone: it was removed, or its disk is not there\n"


def test_ctrl_c_while_a_command_is_loaded_leaves_no_traceback():
    code = """
import sys
from primus import cli
def load(name):
    raise KeyboardInterrupt
cli._load = load
sys.argv = ["primus", "models"]
cli.main()
"""
    done = in_process(code)
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_while_primus_itself_is_loaded_leaves_no_traceback():
    code = """
import os, signal, sys
class Loading:
    def find_spec(self, name, *_):
        if name == "primus.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Loading())
from primus.__main__ import run
run()
"""
    done = in_process(code)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_ctrl_c_is_an_exception_where_commands_run_unless_the_shell_has_it_ignored():
    code = """
import signal, sys
from primus import cli
cli.run = lambda: print(signal.getsignal(signal.SIGINT).__name__)
from primus.__main__ import run
run()
"""
    assert in_process(code).stdout == "default_int_handler\n"
    ignoring = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{code}".replace("__name__", "name")
    assert in_process(ignoring).stdout == "SIG_IGN\n"


def test_a_reader_that_goes_away_is_no_fault():
    code = RAISE.format(error="SystemExit(0)").replace("raise SystemExit(0)", "print('line\\n' * 100_000)")
    command = f'{sys.executable} -c "$CODE" | head -1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command], env=os.environ | {"CODE": code}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "line\n141\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("primus ", "train"),
        ("primus tr", "train"),
        ("primus train --nno", "--nnodes"),
        ("primus train --exp llama3_8", "llama3_8B"),
        ("primus train --exp megatron/llama3_8B --set micro_batch_s", "micro_batch_size="),
    ],
)
def test_the_shell_completes_commands_options_and_values(words, offered):
    environment = {
        "_PRIMUS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    assert offered in primus(environment=environment).stdout.split()


def test_the_completion_script_can_be_shown():
    # Otherwise typer looks for the shell among the processes above this one, and make's is none that it knows.
    done = primus("--show-completion", "bash", environment={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert "_PRIMUS_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_only_the_root_offers_to_install_completion(name):
    assert "--install-completion" not in primus(name, "--help").stdout


def test_ends_of_children_are_seen_where_whoever_starts_primus_ignores_them():
    code = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from primus import cli
cli.run = lambda: print(signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL)
from primus.__main__ import run
run()
"""
    assert in_process(code).stdout == "True\n"
