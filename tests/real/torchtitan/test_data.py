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


def save_to_disk(found, folder):
    found.save_to_disk(folder)


def save_in_parts(found, folder):
    import datasets

    datasets.DatasetDict({"validation": found.select(range(2)), "train": found}).save_to_disk(folder)


def save_as_on_the_hub(found, folder):
    (folder / "data").mkdir()
    found.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    found.select(range(2)).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    (folder / "README.md").write_text("A data set.\n")


@pytest.mark.parametrize("save", [save_to_disk, save_in_parts, save_as_on_the_hub])
def test_a_dataset_of_hugging_face_is_read_too(trained_on, corpus, straight, save):
    def write(folder):
        import datasets

        save(datasets.Dataset.from_dict({"text": documents(corpus)}), folder)

    assert trained_on(save.__name__, write) == straight.metric("loss")[1]


def test_a_dataset_without_a_part_for_training_is_an_error(start, tmp_path):
    import datasets

    found = datasets.Dataset.from_dict({"text": ["x"]})
    datasets.DatasetDict({"test": found, "validation": found}).save_to_disk(tmp_path)
    run = start("no-training", f"training.dataset_path={tmp_path}")
    assert run.wait() == [4]
    assert "has no part 'train', only test, validation" in run.log()


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
