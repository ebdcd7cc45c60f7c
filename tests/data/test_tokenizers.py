from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primus.data import tokenizers
from primus.data.tokenizers import describe, load
from primus.errors import MissingError, UsageError


def encode(name: str | Path, *texts: str, eod: str | None = None) -> list[list[int]]:
    tokens, lengths = load(describe(str(name), eod=eod)).encode([text.encode() for text in texts])
    documents, place = [], 0
    for length in lengths.tolist():
        documents.append(tokens[place : place + length].tolist())
        place += length
    assert place == len(tokens)
    return documents


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_the_byte_tokenizer_gives_the_bytes_and_256_behind_each_document(texts: list[str]) -> None:
    assert encode("byte", *texts) == [[*text.encode(), 256] for text in texts]


def test_a_hugging_face_tokenizer_gives_its_ids_and_its_end_of_document(
    huggingface: Path, texts: Sequence[str]
) -> None:
    from tokenizers import Tokenizer

    native = Tokenizer.from_file(str(huggingface / "tokenizer.json"))
    native.no_truncation()
    native.no_padding()
    end = native.token_to_id("<end>")

    assert encode(huggingface, *texts) == [[*native.encode(text).ids, end] for text in texts]


def test_a_sentencepiece_model_gives_its_ids_and_its_end_of_document(sentencepiece: Path, texts: Sequence[str]) -> None:
    from sentencepiece import SentencePieceProcessor

    native = SentencePieceProcessor(model_file=str(sentencepiece))

    assert encode(sentencepiece, *texts) == [[*native.encode(text), native.eos_id()] for text in texts]


def test_many_documents_are_encoded_in_batches_and_in_order(huggingface: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"document {number} of many" for number in range(100)]
    at_once = encode(huggingface, *many)
    monkeypatch.setattr(tokenizers, "_BATCH_BYTES", 100)

    assert encode(huggingface, *many) == at_once


def test_a_folder_a_file_and_a_model_are_told_apart(huggingface: Path, sentencepiece: Path) -> None:
    kinds = [describe(str(path), eod=None).kind for path in (huggingface, huggingface / "tokenizer.json")]
    kinds += [describe(str(path), eod=None).kind for path in (sentencepiece, sentencepiece.parent)]

    assert kinds == ["huggingface", "huggingface", "sentencepiece", "sentencepiece"]


def test_the_type_of_a_token_fits_the_vocabulary() -> None:
    def dtype(size: int) -> str:
        return tokenizers.TokenizerInfo(kind="huggingface", vocab_size=size, eod=0).dtype

    assert [dtype(257), dtype(65499), dtype(65500), dtype(128256)] == ["uint16", "uint16", "int32", "int32"]


def test_the_end_of_document_can_be_chosen(huggingface: Path) -> None:
    info = describe(str(huggingface), eod="<pad>")

    assert (info.eod, info.eod_name) == (0, "<pad>")


def test_an_unknown_end_of_document_suggests_the_nearest(huggingface: Path, sentencepiece: Path) -> None:
    with pytest.raises(UsageError, match=r"has no token <ent> for the end of a document\. Did you mean <end>\?"):
        describe(str(huggingface), eod="<ent>")
    with pytest.raises(UsageError, match="has no token <ent>"):
        describe(str(sentencepiece), eod="<ent>")


def test_a_tokenizer_that_names_no_end_of_document_needs_one_named(huggingface: Path, tmp_path: Path) -> None:
    alone = shutil.copy(huggingface / "tokenizer.json", tmp_path)

    with pytest.raises(UsageError, match="name it with --eod"):
        describe(str(alone), eod=None)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
@pytest.mark.parametrize("content", ["", "{}", "no tokenizer"])
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(UsageError, match=f"{name}: not a"):
        describe(str(tmp_path), eod=None)


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("")

    with pytest.raises(MissingError, match="`byte` needs none"):
        describe(str(tmp_path / "bytes"), eod=None)
    with pytest.raises(MissingError, match=r"has no tokenizer\.json and no tokenizer\.model"):
        describe(str(tmp_path), eod=None)
    with pytest.raises(UsageError, match="expected `byte`, a folder"):
        describe(str(tmp_path / "vocab.txt"), eod=None)
    with pytest.raises(UsageError, match="has its own end of document"):
        describe("byte", eod="</s>")
