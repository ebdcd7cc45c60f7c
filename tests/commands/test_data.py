from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def primus(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """`primus data prepare` in a process of its own."""
    command = [sys.executable, "-m", "primus", "data", "prepare", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_text_from_a_pipe_becomes_training_data(tmp_path: Path) -> None:
    done = primus("-", "--output", tmp_path / "out", "--tokenizer", "byte", stdin=b'{"text": "one"}\n{"text": "two"}\n')

    assert done.stdout == (
        f"Made {tmp_path}/out.bin, {tmp_path}/out.idx\n"
        "2 documents, 8 tokens as uint16, 0.0 MB of text; byte tokenizer, vocabulary 257\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.bin").stat().st_size == 16


def test_options_reach_their_place(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.log").write_text('{"content": "one"}\n{"content": 1}\n')
    (tmp_path / "texts" / "b.txt").write_text("no")
    options = ["--format", "torchtitan", "--glob", "*.log", "--read-as", "jsonl", "--key", "content"]

    done = primus(
        tmp_path / "texts", "--output", tmp_path / "out", "--tokenizer", "byte", *options, "--on-error", "skip"
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [
        "1 damaged documents were left out, such as:",
        f"  {tmp_path}/texts/a.log:2: 'content' must be a string, it is a number",
    ]
    assert (tmp_path / "out" / "corpus" / "000000.jsonl").read_text() == '{"text": "one"}\n'


@pytest.mark.parametrize(
    ("line", "options", "status", "message"),
    [
        ('{"text": 1}', [], 3, "Error: {file}:1: 'text' must be a string, it is a number"),
        ("", [], 3, "Error: there is no text in the input"),
        ("", ["--tokenizer", "nowhere"], 4, "Error: --tokenizer nowhere: no such file or folder; `byte` needs none"),
        ("", ["--eod", "x"], 2, "Error: --eod x: the byte tokenizer has its own end of document, 256"),
    ],
)
def test_an_error_is_one_line_with_its_exit_status(
    tmp_path: Path, line: str, options: list[str], status: int, message: str
) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text(line + "\n")

    done = primus(file, "--output", tmp_path / "out", "--tokenizer", "byte", *options)

    assert done.stderr == message.format(file=file) + "\n"
    assert done.returncode == status


def test_the_help_loads_nothing_heavy() -> None:
    script = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from primus.commands.data import app\n"
        "assert 'PREFIX.bin' in CliRunner().invoke(app, ['prepare', '--help']).output\n"
        "print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))\n"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)

    assert not {"numpy", "torch", "tokenizers", "sentencepiece", "multiprocessing"} & set(loaded)
