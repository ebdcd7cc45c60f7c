from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.data.corpus import Segment, Shard, cut, find_sources
from primus.data.documents import is_text, read_documents
from primus.errors import Problem

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def read(path: Path, *, key: str = "text", shard_bytes: int = 1 << 20) -> tuple[list[bytes], list[str]]:
    """All documents of a file, and what was wrong in it."""
    problems: list[Problem] = []
    shards = cut(find_sources([path], globs=(), read_as=None), shard_bytes=shard_bytes)
    documents = [text for shard in shards for text in read_documents(shard, key=key, report=problems.append)]
    return documents, [str(problem).replace(str(path), "FILE") for problem in problems]


def test_each_line_is_a_document(jsonl: Callable[..., Path]) -> None:
    assert read(jsonl("one", "zwei\nZeilen", "три")) == ([b"one", b"zwei\nZeilen", "три".encode()], [])


def test_empty_texts_and_blank_lines_are_left_out(jsonl: Callable[..., Path]) -> None:
    assert read(jsonl("one", "", b"", b"  ", "two")) == ([b"one", b"two"], [])


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}')

    assert read(path)[0] == [b"one", b"two"]


def test_lines_may_end_as_on_windows_and_begin_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b' {"text": "one"}\r\n{"text": "two"} \r\n')

    assert read(path) == ([b"one", b"two"], [])


def test_the_text_may_have_another_key(jsonl: Callable[..., Path]) -> None:
    assert read(jsonl("one", key="content"), key="content")[0] == [b"one"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "cut sho', "not valid JSON: Unterminated string starting at (column 10)"),
        (b'{"text": "one"} {"text": "two"}', "not valid JSON: Extra data (column 17)"),
        (b'{"txt": "one", "id": 1}', "no key 'text' in this object; its keys: txt, id. Did you mean txt?"),
        (b"{}", "no key 'text' in this object; its keys: none."),
        (b'{"text": 7}', "'text' must be a string, it is a number"),
        (b'{"text": null}', "'text' must be a string, it is null"),
        (b'["one"]', "a JSON object was expected, this is a list"),
        (b'{"text": "\xff"}', "not UTF-8: byte 0xff at column 11"),
        (b'{"text": "fine", "id": "\xff"}', "not UTF-8: byte 0xff at column 25"),
        (b'{"text": "\\ud800"}', "half of a surrogate pair (\\ud800 to \\udfff) is no character"),
        (b'{"text": "one",', "not valid JSON: Expecting property name enclosed in double quotes (column 16)"),
        (b"[" * 100_000, "nested too deeply for JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) (column 1)"),
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_read(jsonl: Callable[..., Path], line: bytes, message: str) -> None:
    documents, problems = read(jsonl("one", line, "two"))

    assert documents == [b"one", b"two"]
    assert problems == [f"FILE:2: {message}"]


def test_the_line_number_is_right_in_any_shard(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": f"document {number}"}) + "\n" for number in range(50)) + "{}\n")
    shards = [
        Shard(index=0, segments=(Segment(source=source, start=1000, stop=source.size),))
        for source in find_sources([path], globs=(), read_as=None)
    ]
    problems: list[Problem] = []

    list(read_documents(shards[0], key="text", report=problems.append))

    assert [problem.where and problem.where.line for problem in problems] == [51]


@given(texts=st.lists(TEXT, max_size=20), size=st.integers(1, 300))
def test_every_document_is_read_once_however_the_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    source = find_sources([path], globs=(), read_as=None)[0]
    segments = tuple(
        Segment(source=source, start=start, stop=min(start + size, source.size))
        for start in range(0, source.size, size)
    )

    documents = list(read_documents(Shard(index=0, segments=segments), key="text", report=pytest.fail))

    assert documents == [text.encode() for text in texts if text]


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(b"\xef\xbb\xbfFirst line\r\nsecond")

    assert read(path) == ([b"\xef\xbb\xbfFirst line\r\nsecond"], [])


@pytest.mark.parametrize(("data", "line"), [(b"one\ntwo\xff\n", 2), (b"\x80", 1), ("one\ntwo\nzwölf".encode()[:-3], 3)])
def test_a_text_file_that_is_not_utf8_is_named_with_the_line(tmp_path: Path, data: bytes, line: int) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(data)

    documents, problems = read(path)

    assert documents == []
    assert problems[0].startswith(f"FILE:{line}: not UTF-8")


@given(data=st.binary(max_size=40), size=st.integers(1, 5))
def test_a_file_read_in_pieces_is_judged_as_one_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "book.txt"
    path.write_bytes(b"0" + data)
    source = find_sources([path], globs=(), read_as=None)[0]
    found: dict[str, list[Problem]] = {"at once": [], "in pieces": []}
    segment = Segment(source=source, start=0, stop=source.size)

    whole = list(read_documents(Shard(index=0, segments=(segment,)), key="", report=found["at once"].append))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("primus.data.documents._BLOCK", size)
        valid = is_text(segment, found["in pieces"].append)

    assert valid == bool(whole)
    places = {kind: [problem.where for problem in problems] for kind, problems in found.items()}
    assert places["at once"] == places["in pieces"]
