"""What an experiment may set when a Megatron-LM checkout trains it: the options of its parser under the names that the
megatron backend uses, and answers for what the checkout lacks. The backend calls checkout_schema()."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from primus.backends.megatron.checkout.option import UNKNOWN, Option, Options
from primus.experiment.schema import Answer, Key, Schema
from primus.metrics.settings import MetricsSettings

PRIMUS_KEYS = frozenset(
    [field.name for field in fields(MetricsSettings)] + ["log_avg_skip_iterations", "log_avg_reset_interval"]
)
"""Keys that Primus itself acts on, for a checkout as well: where metrics go. The checkout gets none of them."""

MANAGED = frozenset(
    {
        "save",
        "ckpt_format",
        "exit_on_missing_checkpoint",
        "exit_signal",
        "exit_signal_handler",
        "use_checkpoint_args",
        "yaml_cfg",
        "local_rank",
        "rank",
        "world_size",
        "train_samples",
        "lr_decay_samples",
        "lr_warmup_samples",
        "lr_wsd_decay_samples",
    }
)
"""Options that Primus gives the checkout, or that would take an experiment's meaning away: what the backend answers to
them holds here too."""

BYTE_TOKENIZER = "ByteTokenizer"
"""Megatron-LM gets its numbers from NullTokenizer: arguments.py."""

LACKING = {
    "keep_last": Answer(
        action="warn", message="Megatron-LM keeps every checkpoint; this needs Primus' own loop.", harmless=(None,)
    ),
    "disable_last_saving": Answer(
        action="warn", message="Megatron-LM always saves at the end of the training.", harmless=(None, False)
    ),
    "on_nan": Answer(
        action="refuse", message="Megatron-LM stops at NaN; only Primus' own loop can skip.", harmless=(None, "stop")
    ),
}
"""Keys of Primus' own loop that no Megatron-LM has."""


def checkout_schema(own: Schema, options: Options, version: str) -> Schema:
    """The keys of a checkout; `own` is the schema of the backend without one."""
    keys = {key.name: key for key in (*_option_keys(own, options), *(own.keys[name] for name in sorted(PRIMUS_KEYS)))}
    answers = {name: answer for name, answer in own.answers.items() if name not in keys}
    answers |= {name: _lacking(key, version) for name, key in own.keys.items() if name not in keys}
    for name in MANAGED - set(answers):
        answers[name] = Answer(action="refuse", message="Primus gives Megatron-LM this option; leave it out.")
    for name, condition in options.conditional.items():
        answers[name] = Answer(action="refuse", message=f"{version}, {condition}; leave it out.", harmless=(None,))
    known = {*keys, *(name for name, answer in answers.items() if answer.action == "renamed")}
    usable = {name: answer for name, answer in answers.items() if answer.action != "renamed" or answer.to in known}
    return Schema(backend=own.backend, version=version, keys=keys, answers=usable)


def options_of(key: str, options: Options) -> list[Option]:
    """The options that set the value of a key: by the name of the value, or by the option's own."""
    return options.of(key) or [option for option in options.found if _spelled_like(option, key)]


def _option_keys(own: Schema, options: Options) -> Iterator[Key]:
    seen = set()
    for option in options.found:
        name = _name(option, own)
        if name not in seen and name not in MANAGED and name not in PRIMUS_KEYS:
            seen.add(name)
            yield _key(name, option, own.keys.get(name))


def _name(option: Option, own: Schema) -> str:
    """The backend's name of the key where it calls it by the option (norm_epsilon), otherwise Megatron's own."""
    if option.dest in own.keys:
        return option.dest
    return next((name for name in own.keys if _spelled_like(option, name)), option.dest)


def _spelled_like(option: Option, key: str) -> bool:
    return option.kind != "false" and "--" + key.replace("_", "-") in option.names


def _key(name: str, option: Option, own: Key | None) -> Key:
    first = option.help.split(". ")[0]
    key = Key(
        name=name,
        types=(*_types(option), "none"),
        choices=option.choices,
        default=_plain(option.default),
        help=first or f"The option {option.names[0]}.",
        group="checkout",
        source=option.where,
    )
    if own is None:
        return key
    if name == "tokenizer_type" and key.choices is not None:
        key = replace(key, choices=(BYTE_TOKENIZER, *key.choices))
    return replace(
        key,
        default=own.default,
        help=own.help,
        group=own.group,
        minimum=own.minimum,
        maximum=own.maximum,
        exclusive_minimum=own.exclusive_minimum,
    )


def _types(option: Option) -> tuple[str, ...]:
    """What a file may say for an option."""
    if option.kind in ("true", "false", "boolean", "constant"):
        return ("bool",)
    if option.choices is not None:
        kind = type(option.choices[0]).__name__
    else:
        kind = option.type if option.type in ("int", "float", "str", "bool") else ""
    if not kind:  # a function of the checkout reads the text
        return ("int", "float", "str", "list")
    if option.kind == "append" or option.nargs not in (None, "?"):
        return (kind, "list" if kind == "str" else f"list[{kind}]")
    return (kind,)


def _plain(default: Any) -> Any:
    return None if default is UNKNOWN else default


def _lacking(key: Key, version: str) -> Answer:
    if key.name in LACKING:
        return LACKING[key.name]
    message = f"{version} has no such option, and would train without it; leave it out."
    return Answer(action="refuse", message=message, harmless=(None, key.default))
