"""What contradicts itself in a torchtitan experiment, found before anything is started and without torch.

The backend calls check(). Rules about the model stand in checks_model.py, those about processes in checks_layout.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from primus.backends.torchtitan import checks_layout, checks_model
from primus.backends.torchtitan.flavors import family_of
from primus.backends.torchtitan.services import services_of
from primus.backends.torchtitan.settings import Settings
from primus.errors import Problem, did_you_mean
from primus.job import Resources

DATASETS = ("c4", "c4_test", "c4_validation", "text")
"""torchtitan's own, and `text`, which data.py registers."""

READERS = 16
"""Documents of `text` that a process reads at a time, at most."""

STATES = ("model", "optimizer", "lr_scheduler", "dataloader", "train_state")
"""The states in a checkpoint."""

Rule = Callable[[Settings], Iterator[Problem]]


def check(settings: Settings, resources: Resources | None) -> list[Problem]:
    """All problems between the keys of an experiment, and between it and the processes it is to run on."""
    found = [rule(settings) for rule in (*checks_model.RULES, *RULES)]
    if resources is not None:
        found += [rule(settings, resources) for rule in checks_layout.RULES]
        found += [_paths(settings), _services(settings)]
    return list(chain.from_iterable(found))


def _tokenizer(settings: Settings) -> Iterator[Problem]:
    path = settings["model.hf_assets_path"]
    if path.endswith((".model", ".json")):
        message = (
            f"{path} is a file, as in torchtitan 0.1. Since 0.2 this is the folder of a Hugging Face tokenizer, with "
            "tokenizer.json and tokenizer_config.json"
        )
        yield settings.problem("model.hf_assets_path", message)


def _datasets(settings: Settings) -> Iterator[Problem]:
    for section in ("training", "validation"):
        if section == "validation" and not settings["validation.enable"]:
            continue
        name, key = settings[f"{section}.dataset"].lower(), f"{section}.dataset"
        if name not in DATASETS and not settings["experimental.custom_import"]:
            choices = f"expected one of {', '.join(DATASETS)}"
            yield settings.problem(key, f"unknown dataset {name!r}; {choices}.{did_you_mean(name, DATASETS)}")
        if name == "text" and not settings[f"{section}.dataset_path"]:
            message = f'"text" needs {section}.dataset_path, a folder of JSONL files; `primus data prepare` makes one'
            yield settings.problem(key, message)


def _validation(settings: Settings) -> Iterator[Problem]:
    if not settings["validation.enable"]:
        return
    family = family_of(settings)
    if family is not None and not family.validation:
        yield settings.problem("validation.enable", f"torchtitan 0.2.2 has no validation for {family.name}")
    steps = settings["validation.steps"]
    if steps == 0:
        yield settings.problem("validation.steps", "expected at least 1, or -1 for all of the data, got 0")
    if steps == -1 and settings["validation.dataset"] in ("c4", "c4_validation"):
        message = "-1 goes through all of C4 at every validation; set a number of batches"
        yield settings.problem("validation.steps", message, "warning")


def _batch(settings: Settings) -> Iterator[Problem]:
    total, local = settings["training.global_batch_size"], settings["training.local_batch_size"]
    if total == 0 or (total > 0 and total % local):
        message = f"{total} is not a multiple of training.local_batch_size, {local}"
        yield settings.problem("training.global_batch_size", message)


def _schedule(settings: Settings) -> Iterator[Problem]:
    steps = settings["lr_scheduler.total_steps"] or settings["training.steps"]
    warmup = settings["lr_scheduler.warmup_steps"]
    if warmup > steps:
        message = f"{warmup} steps of warm-up, but {steps} in all: the learning rate rises to the end and never falls"
        yield settings.problem("lr_scheduler.warmup_steps", message, "warning")


def _optimizer(settings: Settings) -> Iterator[Problem]:
    if not settings["optimizer.early_step_in_backward"]:
        return
    for key in ("parallelism.pipeline_parallel_degree", "parallelism.expert_parallel_degree"):
        if settings[key] > 1:
            yield settings.problem("optimizer.early_step_in_backward", f"does not go with {key} = {settings[key]}")
    if settings.is_set("training.max_norm"):
        message = "gradients are gone before they could be clipped when optimizer.early_step_in_backward is on"
        yield settings.problem("training.max_norm", message, "warning")


def _checkpoint(settings: Settings) -> Iterator[Problem]:
    if settings["checkpoint.keep_latest_k"] == 1:
        message = "1 would delete the only complete checkpoint while the next is written; use 2 or more, or 0 for all"
        yield settings.problem("checkpoint.keep_latest_k", message)
    for state in settings["checkpoint.exclude_from_loading"]:
        if state not in STATES:
            message = f"unknown state {state!r}; expected some of {', '.join(STATES)}.{did_you_mean(state, STATES)}"
            yield settings.problem("checkpoint.exclude_from_loading", message)
    needs = (
        ("checkpoint.last_save_in_hf", "checkpoint.last_save_model_only", "safetensors hold weights only"),
        ("checkpoint.initial_load_in_hf", "checkpoint.initial_load_model_only", "safetensors hold weights only"),
        ("checkpoint.initial_load_in_hf_quantized", "checkpoint.initial_load_in_hf", "only those can be quantized"),
        ("checkpoint.create_seed_checkpoint", "checkpoint.enable", "nothing is saved without it"),
        ("checkpoint.load_only", "checkpoint.enable", "nothing is loaded without it"),
        ("checkpoint.initial_load_path", "checkpoint.enable", "nothing is loaded without it"),
        ("checkpoint.initial_load_in_hf", "checkpoint.enable", "nothing is loaded without it"),
    )
    for key, needed, reason in needs:
        if settings[key] and not settings[needed]:
            yield settings.problem(key, f"needs {needed} = true: {reason}")
    if settings["checkpoint.load_step"] >= 0 and not settings["checkpoint.enable"]:
        yield settings.problem("checkpoint.load_step", "needs checkpoint.enable = true: nothing is loaded without it")


def _recomputation(settings: Settings) -> Iterator[Problem]:
    mode, option = settings["activation_checkpoint.mode"], settings["activation_checkpoint.selective_ac_option"]
    if option != "op" and not (option.isdecimal() and int(option) > 0):
        message = f'expected "op" or the number of layers as text, for instance "2", got {option!r}'
        yield settings.problem("activation_checkpoint.selective_ac_option", message)
    if mode == "memory_budget" and not _compiles_model(settings):
        message = 'the compiler does this: needs compile.enable = true with "model" in compile.components'
        yield settings.problem("activation_checkpoint.mode", message)


def _compile(settings: Settings) -> Iterator[Problem]:
    key = "parallelism.enable_async_tensor_parallel"
    if settings[key] and not _compiles_model(settings):
        yield settings.problem(key, 'needs compile.enable = true with "model" in compile.components')
    if settings[key] and settings["parallelism.tensor_parallel_degree"] == 1:
        yield settings.problem(key, "changes nothing: parallelism.tensor_parallel_degree is 1", "warning")


def _compiles_model(settings: Settings) -> bool:
    return settings["compile.enable"] and "model" in settings["compile.components"]


def _profiling(settings: Settings) -> Iterator[Problem]:
    if not settings["profiling.enable_profiling"]:
        return
    needed = settings["profiling.profiler_active"] + settings["profiling.profiler_warmup"]
    if settings["profiling.profile_freq"] < needed:
        message = f"a trace takes {needed} steps (profiler_warmup + profiler_active), more than this"
        yield settings.problem("profiling.profile_freq", message)


def _dataloader(settings: Settings) -> Iterator[Problem]:
    for section, whole in (("training", ("c4_test",)), ("validation", ("c4_test", "text"))):
        key = f"{section}.dataloader.num_workers"
        if settings[f"{section}.dataset"] in whole and settings[key] > 1:
            message = (
                f"torchtitan gives each of them all of {settings[f'{section}.dataset']}, and every batch comes again"
            )
            yield settings.problem(key, f"{message}; use 1, or 0")
    if settings["training.dataset"] == "text" and settings["training.dataloader.num_workers"] > READERS:
        yield settings.problem("training.dataloader.num_workers", f"at most {READERS} can share the text")
    for section in ("training.dataloader", "validation.dataloader"):
        for name in ("persistent_workers", "prefetch_factor"):
            if settings[f"{section}.{name}"] and not settings[f"{section}.num_workers"]:
                message = f"changes nothing: {section}.num_workers is 0"
                yield settings.problem(f"{section}.{name}", message, "warning")


def _paths(settings: Settings) -> Iterator[Problem]:
    """Paths that are not here: the training may run on another machine."""
    sections = ["training", *(["validation"] if settings["validation.enable"] else [])]
    keys = [f"{section}.dataset_path" for section in sections]
    for key in (*keys, "checkpoint.initial_load_path", "parallelism.pipeline_parallel_schedule_csv"):
        path = settings[key]
        if path and "://" not in path and not Path(path).exists():
            yield settings.problem(key, f"{path} does not exist here", "missing")


def _services(settings: Settings) -> Iterator[Problem]:
    """Services that the experiment reports to, and whose packages are not here."""
    for name, message in services_of(settings, {}).not_installed().items():
        yield settings.problem(f"metrics.enable_{name}", message, "missing")


RULES: tuple[Rule, ...] = (
    _tokenizer,
    _datasets,
    _validation,
    _batch,
    _schedule,
    _optimizer,
    _checkpoint,
    _recomputation,
    _compile,
    _profiling,
    _dataloader,
)
