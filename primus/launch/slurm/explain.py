"""What `primus slurm submit --dry-run` prints: the options and where each is from, the command, the script. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from primus.launch.slurm.options import RULES
from primus.launch.slurm.plan import Submission, describe_command
from primus.launch.slurm.script import passed_names
from primus.run import RunDirectory


def explain(submission: Submission, origins: Mapping[str, str]) -> str:
    """The submission in a few paragraphs."""
    parts = {
        "Options": _options(submission, origins),
        "Runs": [_run(submission, index) for index in range(len(submission.runs))],
        "Files that would be written": _files(submission),
        "Environment that goes along": [", ".join(passed_names(submission.environ))],
        "Command": describe_command(submission).splitlines(),
    }
    text = "".join(f"{title}:\n" + "".join(f"  {line}\n" for line in lines) + "\n" for title, lines in parts.items())
    return f"{text}{submission.first.script}:\n{submission.script}"


def _options(submission: Submission, origins: Mapping[str, str]) -> list[str]:
    values = {name: getattr(submission.options, name) for name in ("nnodes", *RULES)}
    shown = {name: value for name, value in values.items() if value not in (None, (), False)}
    texts = {name: " ".join(value) if isinstance(value, tuple) else str(value) for name, value in shown.items()}
    width = max(len(name) + len(text) for name, text in texts.items()) + 3
    return [f"{f'{name} = {text}':<{width}}  # {origins.get(name, 'default')}" for name, text in texts.items()]


def _run(submission: Submission, index: int) -> str:
    run = submission.runs[index]
    return " ".join([f"{index}:" if submission.is_array else "", *run.task.sets, str(run.path)]).strip()


def _files(submission: Submission) -> list[str]:
    """Those of one run; of an array every run has them."""
    files, run_dir = submission.first, RunDirectory(submission.first.run)
    setup = [files.setup] if submission.options.setup else []
    code = [files.code] if submission.tree else []
    experiment = [] if submission.examines else [files.experiment]
    listed = [files.record, files.script, files.environment, *experiment, *setup, *code, files.attempts]
    report = [run_dir.report, run_dir.page] if submission.examines else []
    return [str(path) for path in [*listed, files.log, files.node_log(0), *report]]
