"""The dataset `text`: folders of JSONL or Parquet, and what is said of folders that have neither."""

import json
import shutil

import pytest

pytestmark = pytest.mark.real


@pytest.fixture
def trained_on(train, tmp_path):
    """The first loss of a run on these documents, in files of this kind."""

    def first_loss(name, write):
        write(tmp_path)
        return train(name, f"training.dataset_path={tmp_path}", "training.steps=1").metric("loss")[1]

    return first_loss


def documents(corpus):
    lines = [line for path in (corpus / "corpus").iterdir() for line in path.read_text().splitlines()]
    return [json.loads(line)["text"] for line in lines]


def test_parquet_files_are_read_too(trained_on, corpus, straight):
    def write(folder):
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"text": documents(corpus)}), folder / "some.parquet")

    assert trained_on("parquet", write) == straight.metric("loss")[1]


def test_documents_come_in_the_same_order_wherever_the_files_are(trained_on, corpus, straight):
    assert (
        trained_on("moved", lambda folder: shutil.copytree(corpus / "corpus", folder, dirs_exist_ok=True))
        == (straight.metric("loss")[1])
    )


def test_processes_that_load_ahead_divide_the_text(train, straight):
    run = train("ahead", "training.dataloader.num_workers=2", "training.steps=4", "metrics.log_freq=1")
    losses = list(run.metric("loss").values())
    assert len(set(losses)) == 4
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no *.jsonl or *.parquet files"),
        ('{"body": "x"}\n', "have no `text`, only body"),
        ('{"text": "x"}\n', "has 1 documents, fewer than the 2 processes"),
    ],
)
def test_a_folder_that_can_not_be_trained_on_is_an_error(start, tmp_path, content, message):
    if content is not None:
        (tmp_path / "documents.jsonl").write_text(content)
    run = start("no-data", f"training.dataset_path={tmp_path}", processes=2)
    assert run.wait() == [4, 4]
    assert message in run.log()
