"""The tables of docs/launch.md say what the code does. PRIMUS_WRITE_DOCS=1 writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from primus.backends.log import DEFAULT_LIMIT
from primus.launch import stall
from primus.launch.care import Care
from primus.launch.collapse import DELAY
from primus.launch.environment import GPUS, MODELS, SETTINGS, Setting, model_settings
from primus.launch.guard import STALLED
from primus.revision import LARGEST_DIFF

PAGE = Path(__file__).parents[2] / "docs/launch.md"

ACCELERATORS = {("cpu", *GPUS): "", GPUS: "GPU", ("amd",): "AMD"}
NODES = {"any": "", "one": "one node", "many": "several nodes"}
EXPERTS = {None: "", True: "a model with experts", False: "a model without experts"}


def condition(setting: Setting) -> str:
    network = "RoCE" if "gid_index" in setting.facts else "InfiniBand or RoCE" if setting.rdma else ""
    data = "DATA_PATH is set" if "data_path" in setting.facts else ""
    words = (ACCELERATORS[setting.on], NODES[setting.nodes], network, EXPERTS[setting.experts], data)
    return ", ".join(filter(None, words)) or "always"


def setting_rows() -> Iterator[str]:
    for setting in SETTINGS:
        yield f"| `{setting.name}` | `{setting.value}` | {condition(setting)} | {setting.reason} |"


def model_rows() -> Iterator[str]:
    for path in sorted(MODELS.iterdir()):
        for variable in model_settings(path.stem):
            yield f"| `{variable.name}` | `{variable.value}` | {path.stem} | {variable.reason} |"


TABLES = {
    "| variable | value | when | why |": setting_rows,
    "| variable | value | model | why |": model_rows,
}


def test_tables_are_those_of_the_code(assert_tables):
    assert_tables(PAGE, TABLES)


def test_nothing_that_is_left_out_is_set():
    listed = PAGE.read_text(encoding="utf-8").partition("### Left out")[2]
    names = set(re.findall(r"`([A-Z_]+)`", listed.replace("NCCL_CHECK_POINTERS", "")))
    assert len(names) >= 7
    assert not names & {setting.name for setting in SETTINGS}


def test_the_limits_of_logs_and_diffs_are_said():
    text = PAGE.read_text(encoding="utf-8")
    assert (DEFAULT_LIMIT, LARGEST_DIFF, DELAY) == (1 << 30, 4 << 20, 0.2)
    assert "`PRIMUS_LOG_MAX_BYTES` (1G;" in text
    assert "up to 4 MiB" in text
    assert "within 0.2 s" in text


def test_the_time_that_nodes_wait_for_each_other_is_said():
    assert Care().rendezvous_timeout == 600
    assert "missing after ten minutes" in PAGE.read_text(encoding="utf-8")


def test_the_patience_with_a_rank_is_said():
    page = PAGE.read_text(encoding="utf-8")
    assert (stall.STEPS, stall.SHORTEST) == (10, 5 * 60)
    assert "10 times the median of its last 64 steps, and at least 5 minutes" in page
    assert (stall.LONG_PHASE, stall.LONG_PHASE_SHORTEST) == (10, 30 * 60)
    assert "10 times as long, and at least 30 minutes" in page
    assert f"exit status {STALLED}" in page
    assert f"`--grace`\nseconds, {Care().grace:g} without it" in page
