"""TorchTitan's format: OUTPUT/corpus/ with JSONL files of `text`, and OUTPUT/tokenizer/ with the tokenizer that reads
them. TorchTitan turns text into tokens while it trains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus.data.corpus import Shard
from primus.data.documents import Report, read_documents
from primus.data.files import beside, read_note, sync_file, write_note
from primus.data.formats import Claim, Counts
from primus.data.tokenizers import BYTE_EOD, EOD_NAME, TokenizerInfo
from primus.errors import UsageError


class TorchtitanFormat:
    """OUTPUT/corpus/*.jsonl, OUTPUT/tokenizer/ and the note OUTPUT/corpus.json."""

    shard_bytes = 1 << 27

    def __init__(self, output: Path, *, tokenizer: TokenizerInfo, key: str) -> None:
        if tokenizer.kind == "sentencepiece":
            raise UsageError(
                "torchtitan reads a tokenizer.json, not a SentencePiece model; give it a Hugging Face tokenizer"
            )
        self._output = output
        self._tokenizer = tokenizer
        self._key = key
        self.work = beside(output, ".partial")
        self.note = output / "corpus.json"
        self.parts: tuple[Path, ...] = (output,)
        self._new, self._old = self.work / "output", self.work / "old"

    def facts(self) -> dict[str, Any]:
        return {"format": "torchtitan", "tokenizer": self._tokenizer.as_json()}

    def writer(self) -> _TorchtitanWriter:
        return _TorchtitanWriter(self._new / "corpus", key=self._key)

    def rewind(self, done: Counts) -> None:
        if not done.documents and self._new.exists():
            shutil.rmtree(self._new)  # perhaps of another corpus
        (self._new / "corpus").mkdir(parents=True, exist_ok=True)

    def sync(self) -> None:
        """The workers do it: each shard is a file of its own."""

    def finish(self, total: Counts, note: Mapping[str, Any]) -> None:
        folder = self._new / "tokenizer"
        folder.mkdir(exist_ok=True)
        if self._tokenizer.path is None:
            _write_byte_tokenizer(folder)
        else:
            _copy_tokenizer(self._tokenizer.path, folder, self._tokenizer.eod_name)
        write_note(self._new / self.note.name, note)

    def publish(self) -> None:
        if self._new.exists():
            if self._output.exists():
                self._output.replace(self._old)
            self._new.replace(self._output)


class _TorchtitanWriter:
    """Writes each shard as a file of its own; lives in one worker process."""

    def __init__(self, folder: Path, *, key: str) -> None:
        self._folder = folder
        self._key = key

    def write(self, shard: Shard, report: Report, claim: Claim) -> Counts:
        path = self._folder / f"{shard.index:06d}.jsonl"
        documents = size = 0
        with path.open("w", encoding="utf-8") as file:
            for document in read_documents(shard, key=self._key, report=report):
                file.write(json.dumps({"text": document.decode()}, ensure_ascii=False) + "\n")
                documents += 1
                size += len(document)
        if documents:
            sync_file(path)
        else:
            path.unlink()  # the reader of such files takes no empty one
        return Counts(documents=documents, text_bytes=size)


def _write_byte_tokenizer(folder: Path) -> None:
    """The byte tokenizer as a Hugging Face one: a byte-level BPE that merges nothing, with the same ids."""
    characters = _byte_characters()
    end = {"id": BYTE_EOD, "content": EOD_NAME, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": {character: byte for byte, character in enumerate(characters)}, "merges": []}
    tokenizer = {"added_tokens": [end | flags], "pre_tokenizer": level, "decoder": level, "model": model}
    write_note(folder / "tokenizer.json", {"version": "1.0"} | tokenizer)
    write_note(folder / "tokenizer_config.json", {"eos_token": EOD_NAME, "tokenizer_class": "PreTrainedTokenizerFast"})


def _byte_characters() -> list[str]:
    """The printable character by which a byte-level tokenizer.json writes each byte: the same one in Latin-1 where that
    is printable, and the others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(0x100)]


def _copy_tokenizer(path: Path, folder: Path, eod_name: str) -> None:
    """With the end of document that was asked for, where the configuration names another one or none."""
    shutil.copyfile(path, folder / "tokenizer.json")
    config = read_note(path.with_name("tokenizer_config.json")) or {}
    write_note(folder / "tokenizer_config.json", config | {"eos_token": eod_name})
