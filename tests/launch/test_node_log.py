"""The log of a node."""

from __future__ import annotations

import re

from primus.launch.node_log import NodeLog


def test_a_note_has_its_time_and_no_secret(tmp_path):
    log = NodeLog(tmp_path / "agent.log")
    log.note("started\nwith --hf-token=abc")
    text = (tmp_path / "agent.log").read_text()
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"{time} started\n{time} with --hf-token=\[redacted\]\n", text)


def test_a_folder_that_is_gone_is_no_obstacle(tmp_path):
    log = NodeLog(tmp_path / "gone" / "agent.log")
    log.note("ended")
    assert not log.path.exists()
