"""Which checkpoints count, and what happens to the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from primus.backends.megatron.checkpoint_folder import CheckpointFolder


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints")


def publish(folder: CheckpointFolder, step: int, data: bytes = b"weights") -> Path:
    (folder.begin(step) / "weights.bin").write_bytes(data)
    return folder.publish(step, {"step": step})


def test_folder_that_is_not_there_has_no_checkpoint(folder: CheckpointFolder) -> None:
    assert folder.steps() == []
    assert folder.newest() is None


def test_newest_is_the_one_with_the_most_steps(folder: CheckpointFolder) -> None:
    for step in (100, 20):
        publish(folder, step)
    assert folder.newest() == folder.path / "iter_0000100"
    assert folder.steps() == [20, 100]


def test_unfinished_checkpoint_does_not_count_and_is_removed(folder: CheckpointFolder) -> None:
    publish(folder, 1)
    folder.begin(2)
    assert folder.steps() == [1]
    folder.clean()
    assert not folder.partial(2).exists()


def test_facts_come_back(folder: CheckpointFolder) -> None:
    publish(folder, 3)
    assert folder.facts(3)["step"] == 3
    assert folder.damage(3) is None


def test_checkpoint_of_the_same_step_is_replaced(folder: CheckpointFolder) -> None:
    publish(folder, 3, b"old")
    publish(folder, 3, b"new")
    assert (folder.path_of(3) / "weights.bin").read_bytes() == b"new"
    assert sorted(path.name for path in folder.path.iterdir()) == ["iter_0000003", "latest_checkpointed_iteration.txt"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "weights.bin is missing"), (b"short", "has 5 bytes instead of 7"), (b"weiGhts", "has changed")],
)
def test_damage_is_found(folder: CheckpointFolder, data: bytes | None, reason: str) -> None:
    file = publish(folder, 1) / "weights.bin"
    file.unlink() if data is None else file.write_bytes(data)
    assert reason in (folder.damage(1) or "")


def test_unreadable_facts_are_damage(folder: CheckpointFolder) -> None:
    (publish(folder, 1) / "primus.json").write_text("{")
    assert "primus.json" in (folder.damage(1) or "")


def test_checkpoint_of_megatron_itself_has_no_facts_and_no_damage(folder: CheckpointFolder) -> None:
    folder.path_of(5).mkdir(parents=True)
    assert folder.facts(5) == {}
    assert folder.damage(5) is None


@pytest.mark.parametrize(
    ("keep_last", "retain_interval", "left"),
    [(None, None, [1, 2, 3, 4, 5]), (2, None, [4, 5]), (1, 2, [2, 4, 5]), (None, 3, [3, 5])],
)
def test_old_checkpoints_go(
    folder: CheckpointFolder, keep_last: int | None, retain_interval: int | None, left: list[int]
) -> None:
    for step in range(1, 6):
        publish(folder, step)
    folder.prune(keep_last=keep_last, retain_interval=retain_interval)
    assert folder.steps() == left


def test_set_aside_keeps_everything(folder: CheckpointFolder) -> None:
    publish(folder, 1)
    aside = folder.set_aside("run7")
    assert aside == folder.path.with_name("checkpoints-before-run7")
    assert CheckpointFolder(aside).steps() == [1]
    assert folder.steps() == []
    assert folder.set_aside("run8") is None
