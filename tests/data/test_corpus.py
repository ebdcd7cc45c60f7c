from __future__ import annotations

from pathlib import Path

import pytest

from primus.data.corpus import cut, find_sources, fingerprint
from primus.errors import MissingError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with text in it, some of it hidden."""
    for name in ("b.txt", "a.jsonl", "sub/c.py", "sub/deep/d.txt", ".hidden/e.txt", "sub/.f.txt"):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "texts"


def names(folder: Path, *globs: str) -> list[str]:
    return [str(Path(source.name).relative_to(folder)) for source in find_sources([folder], globs=globs, read_as=None)]


def test_a_folder_is_read_through_in_a_fixed_order_without_hidden_files(folder: Path) -> None:
    assert names(folder) == ["a.jsonl", "b.txt", "sub/c.py", "sub/deep/d.txt"]


def test_globs_choose_by_name_or_by_path(folder: Path) -> None:
    assert names(folder, "*.txt") == ["b.txt", "sub/deep/d.txt"]
    assert names(folder, "*.txt", "*.py") == ["b.txt", "sub/c.py", "sub/deep/d.txt"]
    assert names(folder, "sub/*.txt") == ["sub/deep/d.txt"]


def test_the_name_of_a_file_tells_how_to_read_it_unless_it_is_said(folder: Path) -> None:
    by_name = find_sources([folder], globs=["a.*", "b.*"], read_as=None)
    as_text = find_sources([folder], globs=["a.*", "b.*"], read_as="text")

    assert [source.reading for source in by_name] == ["jsonl", "text"]
    assert [source.reading for source in as_text] == ["text", "text"]


def test_an_input_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nothing: no such file or folder"):
        find_sources([tmp_path / "nothing"], globs=(), read_as=None)


def test_a_folder_without_a_matching_file_is_an_error(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"no file that matches \*\.md or \*\.rst in this folder"):
        find_sources([folder], globs=["*.md", "*.rst"], read_as=None)


def test_a_file_named_twice_is_an_error(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"b\.txt is named twice"):
        find_sources([folder, folder / "sub" / ".." / "b.txt"], globs=(), read_as=None)


def test_a_compressed_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.zst"
    path.write_bytes(b"")

    with pytest.raises(UsageError, match=r"is compressed; pipe it in: zstdcat .*corpus\.jsonl\.zst \|"):
        find_sources([path], globs=(), read_as=None)


def test_small_files_share_a_shard_and_large_lines_are_divided(tmp_path: Path) -> None:
    for name, size in (("a.txt", 10), ("b.txt", 20), ("c.jsonl", 3 << 20), ("d.txt", 3 << 20), ("empty.txt", 0)):
        (tmp_path / name).write_bytes(b"x" * size)

    shards = cut(find_sources([tmp_path], globs=(), read_as=None), shard_bytes=1 << 20)

    parts = [
        [(Path(segment.source.name).name, segment.stop - segment.start) for segment in shard.segments]
        for shard in shards
    ]
    assert parts == [
        [("a.txt", 10), ("b.txt", 20), ("c.jsonl", 1 << 20)],
        [("c.jsonl", 1 << 20)],
        [("c.jsonl", 1 << 20)],
        [("d.txt", 3 << 20)],
    ]
    assert [shard.index for shard in shards] == [0, 1, 2, 3]


def test_the_fingerprint_changes_with_any_file(folder: Path) -> None:
    before = fingerprint(find_sources([folder], globs=(), read_as=None))
    assert fingerprint(find_sources([folder], globs=(), read_as=None)) == before

    (folder / "b.txt").write_text("B.txt")

    assert fingerprint(find_sources([folder], globs=(), read_as=None)) != before
