"""Checkpoints that were cut off, damaged or of something else: the one before loads, or the run says why it can't."""

import os
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

KILLER = """
import os, signal
from torch.distributed.checkpoint import filesystem

original = filesystem.FileSystemWriter.finish

def finish(self, metadata, results):
    # All data is written; {when} the index is.
    if {when!r} == "after":
        original(self, metadata, results)
    if "20" in str(self.path):
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, metadata, results)

filesystem.FileSystemWriter.finish = finish
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_save_cut_off_by_kill_leaves_the_checkpoint_before(start, train, straight, tmp_path, when):
    name = f"killed-{when}"
    (tmp_path / "killer.py").write_text(KILLER.format(when=when))
    environ = {"PYTHONPATH": str(tmp_path)}
    killed = start(name, "experimental.custom_import=killer", after=straight, at=10, environ=environ)
    assert killed.wait() == [-signal.SIGKILL]
    assert killed.steps() == [10]
    assert (killed.folder / "checkpoints" / "saving-20").is_dir()

    resumed = train(name, resume="require")
    assert resumed.metric("loss")[20] == straight.metric("loss")[20]
    assert sorted(path.name for path in (resumed.folder / "checkpoints").iterdir()) == ["step-10", "step-20"]


def test_a_damaged_checkpoint_is_passed_over(start, straight):
    run = start("damaged", "training.steps=21", after=straight)
    file = next((run.folder / "checkpoints" / "step-20").glob("*.distcp"))
    os.truncate(file, file.stat().st_size // 2)
    assert run.wait() == [0]
    assert "step-20 is damaged" in run.log()
    assert "Training goes on after step 10" in run.log()


def test_a_checkpoint_of_another_model_is_refused(start, straight):
    run = start("other-model", "model.custom.dim=32", after=straight)
    assert run.wait() == [3]
    assert "is a checkpoint of another model" in run.log()
    assert "tok_embeddings.weight: [260, 64] in the checkpoint, [260, 32] here" in run.log()


def test_weights_alone_are_not_gone_on_from(start, train):
    weights = train("weights", "training.steps=2", "checkpoint.last_save_model_only=true")
    assert "Nothing left to do" in train("weights", "training.steps=2").log()

    more = start("weights", "training.steps=3")
    assert more.wait() == [4]
    assert "holds only weights" in more.log()

    path = weights.folder / "checkpoints" / "step-2"
    other = train("fresh", f"checkpoint.initial_load_path={path}", "training.steps=1")
    assert other.metric("loss")[1] < weights.metric("loss")[1]


def test_asynchronous_saves_appear_too(train):
    run = train("asynchronous", "checkpoint.async_mode=async", "checkpoint.interval=2", "training.steps=5")
    assert run.steps() == [5, 4, 2]
    assert not list(Path(run.folder / "checkpoints").glob("saving-*"))


def test_a_seed_checkpoint_is_where_training_starts(train):
    train("seed", "checkpoint.create_seed_checkpoint=true")
    run = train("seed", "training.steps=1", resume="require")
    assert "Training goes on after step 0" in run.log()
    assert run.steps() == [1, 0]


def test_an_earlier_step_can_be_gone_on_from_and_replaces_what_came_after(train, start, straight):
    run = train("earlier", "checkpoint.load_step=10", after=straight)
    assert run.metric("loss")[20] == straight.metric("loss")[20]
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["step-10", "step-20"]

    missing = start("earlier", "checkpoint.load_step=7")
    assert missing.wait() == [4]
    assert "there is no complete checkpoint" in missing.log()
