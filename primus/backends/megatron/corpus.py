"""What `primus data prepare` noted beside a corpus, held against the experiment: a number beyond the vocabulary would
crash a GPU in the middle of training, with a message about an index. The checks and data.py call mismatch()."""

from __future__ import annotations

from pathlib import Path

from primus.data.files import read_note

END_MATTERS = ("reset_position_ids", "reset_attention_mask", "eod_mask_loss")
"""Keys that make the end-of-document token more than one of the numbers."""


def mismatch(prefix: str, *, vocabulary: int, eod: int | None) -> str | None:
    """Why the corpus can't be trained on with an embedding of so many tokens and that end of a document (None when it
    does not matter); None also for a corpus that has no note, which another program has made."""
    noted = (read_note(Path(f"{prefix}.json")) or {}).get("tokenizer")
    if not isinstance(noted, dict) or not {"vocab_size", "eod"} <= noted.keys():
        return None
    made = f"{prefix} was prepared with a tokenizer of {noted['vocab_size']} tokens"
    if noted["vocab_size"] > vocabulary:
        return (
            f"{made}, but the model knows {vocabulary}: name that tokenizer in tokenizer_model, or raise vocab_size "
            "(with NullTokenizer the model knows one more than vocab_size)."
        )
    if eod is not None and noted["eod"] != eod:
        return (
            f"{made} in which {noted['eod']} ends a document; the experiment's tokenizer ends one with {eod}, which "
            f"{', '.join(END_MATTERS)} would look for: name the same tokenizer in tokenizer_model."
        )
    return None
