"""The command line of pretrain_gpt.py for an experiment. Pure: the backend plans with it, the worker adds what depends
on the machine and on the checkpoints that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primus.backends.megatron.checkout.option import UNKNOWN, Option, Options
from primus.backends.megatron.checkout.schema import BYTE_TOKENIZER, PRIMUS_KEYS, options_of
from primus.backends.megatron.tokenizer import BYTES
from primus.experiment.schema import Schema

START_KEYS = ("load", "ckpt_step", "finetune")
"""Keys that only count where an experiment has no checkpoint of its own yet: start_arguments() gives them."""

ON_CPU = {"distributed_backend": "gloo", "transformer_impl": "local", "use_cpu_initialization": True}
"""What Megatron-LM needs to be told where there is no GPU."""


NOT_PASSED = PRIMUS_KEYS.union(START_KEYS)


class Unspellable(Exception):
    """No option of the checkout can say this value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where the training begins."""

    own: Path
    """The experiment's folder of checkpoints."""

    resumes: bool
    """It holds one to go on from."""


def argument_list(
    values: Mapping[str, Any],
    own: Schema,
    options: Options,
    *,
    accelerator: str,
    leave_out: frozenset[str] = frozenset(),
) -> list[str]:
    """The arguments that do not depend on checkpoints. `own` is the schema of the backend without a checkout: a key
    that nobody set has its default there, and is passed where the checkout has another one, unless it
    is one of those to leave out."""
    silent = NOT_PASSED | leave_out
    meant = effective_values(values, accelerator)
    for name, key in own.keys.items():
        if meant.get(name) is None and name not in silent and _differs(key.default, options_of(name, options)):
            meant[name] = key.default
    words: list[str] = []
    for name in sorted(meant):
        found = options_of(name, options)
        if meant[name] is not None and name not in NOT_PASSED and (found or name in values):
            words += spell(name, meant[name], found)
    return words


def start_arguments(values: Mapping[str, Any], start: Start) -> list[str]:
    """Where to save, and what to load. A checkpoint that is there is loaded or the training fails: it never starts from
    zero by itself."""
    words = ["--save", str(start.own)]
    if start.resumes:
        return [*words, "--load", str(start.own), "--exit-on-missing-checkpoint"]
    if values.get("load") is None:
        return words
    words += ["--load", str(values["load"]), "--exit-on-missing-checkpoint"]
    if values.get("ckpt_step") is not None:
        words += ["--ckpt-step", str(values["ckpt_step"])]
    return [*words, "--finetune"] if values.get("finetune") else words


def effective_values(values: Mapping[str, Any], accelerator: str) -> dict[str, Any]:
    """The experiment's values in Megatron-LM's terms, where Primus' own loop means the same by other ones."""
    meant = dict(values)
    meant["max_position_embeddings"] = values.get("max_position_embeddings") or values.get("seq_length")
    # Primus evaluates never and saves at the end when it is told no interval; Megatron-LM has to be told.
    if values.get("eval_interval") is None:
        meant |= {"eval_interval": values.get("train_iters"), "eval_iters": 0}
    if values.get("save_interval") is None:
        meant["save_interval"] = values.get("train_iters")
    if values.get("tokenizer_type") == BYTE_TOKENIZER:  # as numbers: 256 bytes, then the end of a document
        meant |= {"tokenizer_type": "NullTokenizer", "vocab_size": BYTES}
    elif values.get("tokenizer_type") is None and values.get("tokenizer_model") is not None:
        meant["tokenizer_type"] = "HuggingFaceTokenizer"
    if not values.get("use_checkpoint_opt_param_scheduler"):  # on resume, the experiment's schedule counts
        meant["override_opt_param_scheduler"] = True
    meant["exit_signal_handler"] = True
    meant["ckpt_format"] = "torch_dist"
    if accelerator == "cpu":
        meant |= ON_CPU
    return meant


def spell(key: str, value: Any, options: list[Option]) -> list[str]:
    """The words that give a key its value; none when it has that value anyway. Unspellable says what can't be said."""
    if not options:
        raise Unspellable("this checkout has no option for it")
    switches = [option for option in options if option.kind in ("true", "false", "boolean", "constant")]
    if switches:
        return _switch(value, switches)
    option = options[0]
    name = _name(option)
    if option.kind == "other":
        raise Unspellable(f"{option.where}: {name} is read in a way that Primus does not know")
    if option.nargs in (None, "?") and option.kind == "store":
        return _single(name, value, option)
    words = [_text(item) for item in _items(value)]
    if isinstance(option.nargs, int) and len(words) != option.nargs:
        raise Unspellable(f"{name} takes {option.nargs} values, not {len(words)}")
    if option.nargs == "+" and not words:
        raise Unspellable(f"{name} takes at least one value")
    if option.kind == "append" and option.nargs is None:
        return [part for word in words for part in (name, word)]
    return [name, *words]


def _switch(value: Any, switches: list[Option]) -> list[str]:
    for option in switches:
        if option.kind == "boolean":
            name = _name(option)
            return [name if value else f"--no-{name.removeprefix('--')}"]
        if (option.kind, value) in (("true", True), ("false", False)):
            return [_name(option)]
        if option.kind == "constant" and value:
            return [_name(option)]
    default = switches[0].default
    if default is UNKNOWN or bool(default) == bool(value):
        return []
    raise Unspellable(f"{_name(switches[0])} is always {str(bool(default)).lower()} in this checkout")


def _single(name: str, value: Any, option: Option) -> list[str]:
    if option.type == "bool" and isinstance(value, bool):
        return [name, "True"] if value else [f"{name}="]  # bool("False") is true: only an empty text is not
    text = _text(value)
    if isinstance(value, list) and option.type.startswith("tuple"):
        text = text.strip("[]")
    return [f"{name}={text}"] if text.startswith("-") and not _is_number(text) else [name, text]


def _items(value: Any) -> Iterator[Any]:
    """The values of an option that takes several: a list, the words of a text, or one value."""
    yield from value if isinstance(value, list) else value.split() if isinstance(value, str) else [value]


def _text(value: Any) -> str:
    """A value as text that reads back to it exactly; lists as the pattern functions of Megatron-LM read them."""
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    return repr(value) if isinstance(value, float) else str(value)


def _name(option: Option) -> str:
    """The option's first long name."""
    return next((name for name in option.names if name.startswith("--")), option.names[0])


def _differs(default: Any, options: list[Option]) -> bool:
    if default is None or not options or options[0].default is UNKNOWN:
        return False
    theirs = options[0].default
    return bool(theirs) != default if isinstance(default, bool) else bool(theirs != default)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
