from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from primus.data.corpus import CorpusError
from primus.data.prepare import Outcome
from primus.errors import MissingError, UsageError

from .conftest import as_bytes, read_indexed

Run = Callable[..., Outcome]
Jsonl = Callable[..., Path]

MANY = [f"document {number} " * (number % 7 + 1) for number in range(200)]


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_corpus_becomes_tokens_with_an_index_and_a_note(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    outcome = run(jsonl("one", "zwölf", "", "drei"))

    assert read_indexed(tmp_path / "out") == as_bytes("one", "zwölf", "drei")
    note = json.loads((tmp_path / "out.json").read_text())
    assert (note["documents"], note["tokens"], note["text_bytes"], note["skipped"]) == (3, 16, 13, 0)
    assert (note["format"], note["dtype"], note["tokenizer"]["vocab_size"]) == ("megatron", "uint16", 257)
    assert outcome.fresh
    assert outcome.note == note
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "out.bin", "out.idx", "out.json"]


def test_each_text_file_of_a_folder_is_a_document(tmp_path: Path, run: Run) -> None:
    (tmp_path / "texts" / "sub").mkdir(parents=True)
    (tmp_path / "texts" / "b.py").write_text("b = 2\n")
    (tmp_path / "texts" / "sub" / "a.py").write_text("a = 1\n")
    (tmp_path / "texts" / "note.md").write_text("no")

    run(tmp_path / "texts", globs=("*.py",))

    assert read_indexed(tmp_path / "out") == as_bytes("b = 2\n", "a = 1\n")


@pytest.mark.usefixtures("small_shards")
def test_the_output_is_the_same_with_any_number_of_workers(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    corpus = jsonl(*MANY)

    for workers in (1, 2, 5):
        run(corpus, output=tmp_path / f"made{workers}" / "out", workers=workers)

    assert read_indexed(tmp_path / "made1" / "out") == as_bytes(*MANY)
    assert files(tmp_path / "made1") == files(tmp_path / "made2") == files(tmp_path / "made5")


def test_a_large_text_file_is_streamed_with_the_same_result(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.\n" * 50
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("primus.data.megatron._STREAMED", 100)
    monkeypatch.setattr("primus.data.documents._BLOCK", 7)
    monkeypatch.setattr("primus.data.megatron.MegatronFormat.shard_bytes", 100)

    run(tmp_path / "a.txt", tmp_path / "b.txt")

    assert read_indexed(tmp_path / "out") == as_bytes(text, text)


def test_a_wide_vocabulary_is_written_as_int32(
    tmp_path: Path, huggingface: Path, jsonl: Jsonl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = jsonl("The quick brown fox", "jumps over the lazy dog.")
    run(corpus, tokenizer=str(huggingface))
    narrow = read_indexed(tmp_path / "out")
    monkeypatch.setattr("primus.data.tokenizers.TokenizerInfo.dtype", "int32")

    outcome = run(corpus, tokenizer=str(huggingface), output=tmp_path / "wide")

    assert outcome.note["dtype"] == "int32"
    assert read_indexed(tmp_path / "wide") == narrow


def test_a_corpus_for_torchtitan_is_text_with_its_tokenizer(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    run(jsonl("one", "zwei\nZeilen", "", key="content"), format="torchtitan", key="content")

    lines = (tmp_path / "out" / "corpus" / "000000.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"text": "one"}, {"text": "zwei\nZeilen"}]
    note = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert (note["format"], note["documents"], note["text_bytes"]) == ("torchtitan", 2, 14)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "out"]


def test_the_byte_tokenizer_for_torchtitan_has_the_ids_of_the_one_for_megatron(
    tmp_path: Path, jsonl: Jsonl, run: Run
) -> None:
    from tokenizers import Tokenizer

    text = "".join(map(chr, range(256))) + "Zwölf Boxkämpfer 🥊\n\n  jagen"
    run(jsonl(text), format="torchtitan")

    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer" / "tokenizer.json"))
    assert tokenizer.encode(text).ids == list(text.encode())
    assert tokenizer.decode(list(text.encode())) == text
    assert tokenizer.token_to_id("<|endoftext|>") == 256
    assert tokenizer.get_vocab_size() == 257


def test_the_tokenizer_for_torchtitan_ends_documents_as_asked(
    tmp_path: Path, huggingface: Path, jsonl: Jsonl, run: Run
) -> None:
    run(jsonl("one"), format="torchtitan", tokenizer=str(huggingface), eod="<pad>")

    copied = tmp_path / "out" / "tokenizer"
    assert (copied / "tokenizer.json").read_bytes() == (huggingface / "tokenizer.json").read_bytes()
    assert json.loads((copied / "tokenizer_config.json").read_text()) == {"eos_token": "<pad>", "bos_token": None}


def test_torchtitan_takes_no_sentencepiece_model(sentencepiece: Path, jsonl: Jsonl, run: Run) -> None:
    with pytest.raises(UsageError, match=r"torchtitan reads a tokenizer\.json"):
        run(jsonl("one"), format="torchtitan", tokenizer=str(sentencepiece))


@pytest.mark.parametrize("format", ["megatron", "torchtitan"])
def test_the_same_again_is_up_to_date(tmp_path: Path, jsonl: Jsonl, run: Run, format: str) -> None:
    corpus = jsonl("one", "two")
    first = run(corpus, format=format)
    before = files(tmp_path)

    again = run(corpus, format=format)

    assert not again.fresh
    assert again.note == first.note
    assert files(tmp_path) == before


@pytest.mark.parametrize("format", ["megatron", "torchtitan"])
def test_an_output_of_other_text_is_replaced_only_by_force(tmp_path: Path, jsonl: Jsonl, run: Run, format: str) -> None:
    run(jsonl(*MANY), format=format)
    before = files(tmp_path)
    other = jsonl("other", name="other.jsonl")

    with pytest.raises(UsageError, match=r"exists, made from other text or with other options; --force replaces it"):
        run(other, format=format)
    assert files(tmp_path) == before | {"other.jsonl": other.read_bytes()}

    assert run(other, format=format, force=True).note["documents"] == 1
    run(other, format=format, output=tmp_path / "fresh" / "out")
    made = {name: data for name, data in files(tmp_path).items() if name.startswith("out")}
    assert made == files(tmp_path / "fresh")


def test_a_folder_of_others_is_never_replaced(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")

    with pytest.raises(UsageError, match="was not made by this command"):
        run(jsonl("one"), format="torchtitan", force=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    (tmp_path / "out").mkdir()

    assert run(jsonl("one"), format="torchtitan").fresh


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_first_damaged_document_stops_it_and_nothing_is_published(
    tmp_path: Path, jsonl: Jsonl, run: Run, workers: int
) -> None:
    corpus = jsonl(*MANY[:90], b"{}", *MANY[90:120], b"[]", *MANY[120:])

    with pytest.raises(CorpusError, match=r"corpus\.jsonl:91: no key 'text'"):
        run(corpus, workers=workers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "out.partial"]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("format", ["megatron", "torchtitan"])
def test_damaged_documents_can_be_left_out_and_are_counted(tmp_path: Path, jsonl: Jsonl, run: Run, format: str) -> None:
    corpus = jsonl(*MANY[:90], b"{}", *MANY[90:], b"[]", b"{", b"\xff", b"7")

    outcome = run(corpus, format=format, on_error="skip")

    assert (outcome.note["skipped"], outcome.note["documents"]) == (5, len(MANY))
    assert len(outcome.examples) == 3
    with pytest.raises(UsageError, match="exists"):
        run(corpus, format=format)


def test_after_a_stop_the_rest_can_be_had_without_the_damaged(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    corpus = jsonl("one", b"{}", "two")
    with pytest.raises(CorpusError):
        run(corpus)

    run(corpus, on_error="skip")

    assert read_indexed(tmp_path / "out") == as_bytes("one", "two")


def test_a_corpus_without_text_is_an_error(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    with pytest.raises(CorpusError, match="there is no text in the input"):
        run(jsonl("", b""))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_a_file_that_changes_meanwhile_is_noticed(
    tmp_path: Path, jsonl: Jsonl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = jsonl("one")

    def change(text: str) -> bytes:
        corpus.write_text('{"text": "other"}\n')
        return text.encode()

    monkeypatch.setattr("primus.data.documents._text_of", lambda record, key: change(record[key]).decode())

    with pytest.raises(CorpusError, match=r"corpus\.jsonl was changed while it was read"):
        run(corpus)
    assert not (tmp_path / "out.bin").exists()


def test_standard_input_is_jsonl_or_one_text(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for read_as, documents in ((None, ["one"]), ("text", ['{"text": "one"}\n'])):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "one"}\n')))
        run("-", read_as=read_as, output=tmp_path / f"out-{read_as}")
        assert read_indexed(tmp_path / f"out-{read_as}") == as_bytes(*documents)


def test_the_same_standard_input_again_is_up_to_date(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = []
    for text in (b"one", b"one", b"two"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "%s"}\n' % text)))
        fresh.append(run("-", force=text == b"two").fresh)

    assert fresh == [True, False, True]


def test_names_that_can_not_be_right_are_refused(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    corpus = jsonl("one")
    (tmp_path / "texts").mkdir()

    for options, message in [
        ({"output": tmp_path / "corpus.bin"}, r"leave \.bin out"),
        ({"output": tmp_path / "texts"}, "is a folder; give a name in it"),
    ]:
        with pytest.raises(UsageError, match=message):
            run(corpus, **options)
    with pytest.raises(UsageError, match="can't be mixed with files"):
        run("-", corpus)
    with pytest.raises(UsageError, match="the next run would read it"):
        run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "texts"]


def test_an_output_that_can_not_be_made_is_said_plainly(tmp_path: Path, jsonl: Jsonl, run: Run) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(MissingError, match=r"file/deep.*: Not a directory"):
        run(jsonl("one"), output=tmp_path / "file" / "deep" / "out")
