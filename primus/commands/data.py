"""`primus data`: training data made from text. cli.py loads `app`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from primus.data.prepare import Outcome

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback(help="Prepare training data.")
def _data() -> None:
    pass


@app.command(short_help="Turn text into training data.")
def prepare(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Files, folders (read through), or - for standard input.")
    ],
    output: Annotated[
        Path,
        typer.Option(metavar="PATH", help="What to make: PREFIX.bin and .idx for megatron, a folder for torchtitan."),
    ],
    tokenizer: Annotated[
        str,
        typer.Option(metavar="NAME", help="`byte`, a folder with a tokenizer.json or tokenizer.model, or such a file."),
    ],
    format: Annotated[
        Literal["megatron", "torchtitan"], typer.Option(help="Whose training data to make.")
    ] = "megatron",
    key: Annotated[str, typer.Option(metavar="KEY", help="Key of the text in a line of JSONL.")] = "text",
    glob: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only the files of a folder that match, for instance '*.py'. Repeatable."),
    ] = None,
    read_as: Annotated[
        Literal["jsonl", "text"] | None,
        typer.Option(
            help="jsonl: each line a document; text: each file one. [default: by name, .jsonl .ndjson .json are jsonl; "
            "standard input is jsonl]"
        ),
    ] = None,
    eod: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Token that ends a document. [default: what the tokenizer says]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that work at once. [default: one per core]")
    ] = None,
    on_error: Annotated[
        Literal["stop", "skip"], typer.Option(help="Stop at the first damaged document, or leave it out and count it.")
    ] = "stop",
    force: Annotated[bool, typer.Option("--force", help="Replace an output that is there.")] = False,
) -> None:
    """Turn text into training data: Megatron-Core's PREFIX.bin and PREFIX.idx, or a folder for TorchTitan.

    Interrupted, even by kill -9, the same command goes on where it stopped. Nothing half-written ever appears under the
    name of the output."""
    from primus.data.prepare import Request, prepare
    from primus.data.progress import progress_for

    request = Request(
        inputs=tuple(inputs),
        output=output,
        format=format,
        tokenizer=tokenizer,
        eod=eod,
        key=key,
        globs=tuple(glob or ()),
        read_as=read_as,
        workers=workers or len(os.sched_getaffinity(0)),
        on_error=on_error,
        force=force,
    )
    try:
        outcome = prepare(request, progress_for())
    except KeyboardInterrupt:
        typer.echo("Interrupted. What is done is kept: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None
    typer.echo(_describe(outcome))


def _describe(outcome: Outcome) -> str:
    note = outcome.note
    lines = [f"{'Made' if outcome.fresh else 'Up to date:'} {', '.join(map(str, outcome.parts))}"]
    tokens = f"{note['tokens']:,} tokens as {note['dtype']}, " if "dtype" in note else ""
    tokenizer = note["tokenizer"]
    lines.append(
        f"{note['documents']:,} document{'s' * (note['documents'] != 1)}, "
        f"{tokens}{note['text_bytes'] / 1e6:,.1f} MB of text; "
        f"{tokenizer['kind']} tokenizer, vocabulary {tokenizer['vocab_size']:,}"
    )
    if note["skipped"]:
        lines.append(f"{note['skipped']:,} damaged documents were left out" + ", such as:" * bool(outcome.examples))
        lines += (f"  {example}" for example in outcome.examples)
    return "\n".join(lines)
