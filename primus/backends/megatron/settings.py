"""The keys that Primus' own Megatron loop reads: Megatron's arguments that are no field of a megatron.core dataclass.

arguments.py makes a TrainingSettings in the worker; the schema takes types, choices, bounds and help from here.
Pure: nothing of torch is imported. Defaults are those of Megatron-LM's arguments; configs/ holds Primus' own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from primus.metrics.settings import MetricsSettings

TokenizerType = Literal[
    "NullTokenizer",
    "ByteTokenizer",
    "HuggingFaceTokenizer",
    "SentencePieceTokenizer",
    "GPTSentencePieceTokenizer",
    "DeepSeekV2Tokenizer",
    "DeepSeekV3Tokenizer",
    "KimiK2Tokenizer",
    "Lfm2Tokenizer",
    "Llama2Tokenizer",
    "Llama3Tokenizer",
    "Llama4Tokenizer",
    "MixtralTokenizer",
]
"""Those of Megatron-LM and the original Primus that are wholly described by their files; `ByteTokenizer` is Primus'."""


def _number(default: Any, *, minimum: float | None = None, maximum: float | None = None, above: bool = False) -> Any:
    """A field with bounds, inclusive unless `above`, for the schema."""
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum, "exclusive_minimum": above})


def _required(*, minimum: float) -> Any:
    """A field that every experiment must set."""
    return field(metadata={"minimum": minimum, "maximum": None, "exclusive_minimum": False})


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The model, as far as TransformerConfig does not say it."""

    max_position_embeddings: int | None = _number(None, minimum=1)
    """Longest sequence that the position embedding can tell apart; None means seq_length."""

    position_embedding_type: Literal["learned_absolute", "rope", "none"] = "learned_absolute"
    """How tokens know their position."""

    rotary_base: float = _number(10000, minimum=0, above=True)
    """Base of the rotary frequencies."""

    rotary_percent: float = _number(1.0, minimum=0, maximum=1, above=True)
    """Part of each head's dimension that is rotated."""

    rotary_seq_len_interpolation_factor: float | None = _number(None, minimum=0, above=True)
    """Positions are divided by this before the rotation; None leaves them."""

    use_rope_scaling: bool = False
    """Scale the rotary frequencies as Llama 3.1 does."""

    rope_scaling_factor: float = _number(8.0, minimum=0, above=True)
    """Factor of use_rope_scaling."""

    untie_embeddings_and_output_weights: bool = False
    """Give the output layer its own weight instead of the embedding's."""

    group_query_attention: bool = False
    """Share key and value heads among query heads; num_query_groups says how many remain."""

    swiglu: bool = False
    """Gated SiLU as the feed-forward activation."""

    quick_geglu: bool = False
    """Gated quick-GELU as the feed-forward activation."""

    squared_relu: bool = False
    """Squared ReLU as the feed-forward activation."""

    bias_swiglu_fusion: bool = True
    """Fuse bias and gated SiLU."""

    bias_gelu_fusion: bool = True
    """Fuse bias and GELU, when no other activation is chosen."""

    init_method_xavier_uniform: bool = False
    """Xavier-uniform initial weights instead of a normal distribution."""

    init_model_with_meta_device: bool = False
    """Build the model without memory for its weights, draw them where they stay, and none that a checkpoint brings."""

    fp16_lm_cross_entropy: bool = False
    """Compute the loss from half-precision logits; needs fp16."""

    vocab_size: int | None = _number(None, minimum=1)
    """Tokens of the vocabulary; None takes the tokenizer's. NullTokenizer adds one for the end of a document."""

    make_vocab_size_divisible_by: int = _number(128, minimum=1)
    """The embedding is padded to a multiple of this times the tensor parallel size."""


@dataclass(frozen=True, kw_only=True)
class ParallelSettings:
    """The layout, as far as TransformerConfig does not say it."""

    num_layers_per_virtual_pipeline_stage: int | None = _number(None, minimum=1)
    """Layers of each virtual stage: switches the interleaved schedule on."""

    num_virtual_stages_per_pipeline_rank: int | None = _number(None, minimum=1)
    """Virtual stages of each process: the other way to ask for the interleaved schedule."""

    use_tp_pp_dp_mapping: bool = False
    """Number processes tensor first, then pipeline, then data (otherwise data before pipeline)."""

    distributed_timeout_minutes: int = _number(10, minimum=1)
    """A collective that takes longer than this many minutes fails."""

    align_grad_reduce: bool = True
    """With overlap_grad_reduce, all pipeline stages start their reductions together."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How long to train, and on how many sequences at a time."""

    train_iters: int = _required(minimum=1)
    """Steps of the whole training."""

    micro_batch_size: int = _required(minimum=1)
    """Sequences of one forward pass of one model replica."""

    global_batch_size: int | None = _number(None, minimum=1)
    """Sequences of one step; None means micro_batch_size times the data parallel size."""

    seq_length: int = _required(minimum=1)
    """Tokens of a sequence."""

    seed: int = _number(1234, minimum=0)
    """Seed of the initial weights, of dropout and of the data order."""

    on_nan: Literal["stop", "skip"] = "stop"
    """A step whose gradient is NaN or infinite ends the run, or is left out (Primus' own key)."""

    check_for_nan_in_loss_and_grad: bool = True
    """Act on NaN and infinity as on_nan says; false trains on whatever happens."""

    exit_interval: int | None = _number(None, minimum=1)
    """Save and stop at the first step that is a multiple of this."""

    exit_duration_in_mins: float | None = _number(None, minimum=0, above=True)
    """Save and stop after this many minutes."""

    manual_gc: bool = False
    """Collect Python's garbage at the same steps in all processes, instead of whenever it happens."""

    manual_gc_interval: int = _number(0, minimum=0)
    """Steps between two collections of manual_gc; 0 never."""


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """Learning rate and weight decay over time; lr, min_lr and weight_decay belong to OptimizerConfig."""

    lr_decay_style: Literal["constant", "linear", "cosine", "inverse-square-root", "WSD"] = "linear"
    """Curve from lr to min_lr."""

    lr_decay_iters: int | None = _number(None, minimum=1)
    """Steps after which min_lr is reached; None means train_iters."""

    lr_warmup_iters: int = _number(0, minimum=0)
    """Steps from lr_warmup_init to lr."""

    lr_warmup_fraction: float | None = _number(None, minimum=0, maximum=1)
    """Warm-up as a part of lr_decay_iters, instead of lr_warmup_iters."""

    lr_warmup_init: float = _number(0.0, minimum=0)
    """Learning rate at the start of the warm-up."""

    lr_wsd_decay_iters: int | None = _number(None, minimum=1)
    """Steps of the final decay of the WSD style."""

    lr_wsd_decay_style: Literal["exponential", "linear", "cosine", "minus_sqrt"] = "exponential"
    """Curve of the final decay of the WSD style."""

    start_weight_decay: float | None = _number(None, minimum=0)
    """Weight decay at the start, with weight_decay_incr_style; None means weight_decay."""

    end_weight_decay: float | None = _number(None, minimum=0)
    """Weight decay at the end, with weight_decay_incr_style; None means weight_decay."""

    weight_decay_incr_style: Literal["constant", "linear", "cosine"] = "constant"
    """Curve from start_weight_decay to end_weight_decay."""

    use_checkpoint_opt_param_scheduler: bool = False
    """On resume, the checkpoint's schedule replaces the experiment's; otherwise the experiment's counts."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the text comes from, as far as GPTDatasetConfig does not say it."""

    mock_data: bool = False
    """Train on generated numbers instead of data."""

    data_path: list[str | float] | str | None = None
    """Prefix of a prepared dataset (without .bin and .idx), or a blend: weight, prefix, weight, prefix ..."""

    train_data_path: list[str | float] | str | None = None
    """Like data_path, for training only; then `split` does not apply."""

    valid_data_path: list[str | float] | str | None = None
    """Like data_path, for evaluation only; goes with train_data_path."""

    test_data_path: list[str | float] | str | None = None
    """Like data_path, for the test after training; goes with train_data_path."""

    tokenizer_type: TokenizerType | None = None
    """`NullTokenizer` (numbers; needs vocab_size), `ByteTokenizer` (UTF-8 bytes); all others read tokenizer_model."""

    tokenizer_model: str | None = None
    """Folder with tokenizer.json or tokenizer.model, such a file, or ORGANIZATION/NAME on the Hugging Face Hub."""

    num_workers: int = _number(2, minimum=0)
    """Processes that read data, per worker; 0 reads between the steps."""

    dataloader_type: Literal["single", "cyclic"] = "single"
    """`single` reads in the dataset's own (shuffled) order, `cyclic` shuffles each epoch again."""

    eval_interval: int | None = _number(None, minimum=1)
    """Steps between two evaluations; None evaluates never."""

    eval_iters: int = _number(100, minimum=0)
    """Global batches of one evaluation."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """Checkpoints. They lie in the experiment's folder, in checkpoints/."""

    save_interval: int | None = _number(None, minimum=1)
    """Steps between two checkpoints; None saves at the end and on a signal only."""

    keep_last: int | None = _number(None, minimum=1)
    """Checkpoints kept, older ones are deleted; None keeps all (Primus' own key)."""

    save_retain_interval: int | None = _number(None, minimum=1)
    """Checkpoints at multiples of this are kept, whatever keep_last says."""

    disable_last_saving: bool = False
    """No checkpoint at the end of the training (a key of the original Primus)."""

    async_save: bool = False
    """Write checkpoints in the background while training goes on; each gets its name when all of it is there."""

    no_save_optim: bool = False
    """Leave the optimizer out of checkpoints: such a checkpoint can only be fine-tuned from."""

    no_save_rng: bool = False
    """Leave the random number generators out of checkpoints."""

    load: str | None = None
    """Folder of checkpoints to start from, when the experiment has none of its own yet."""

    ckpt_step: int | None = _number(None, minimum=1)
    """Step of the checkpoint in `load`; None takes the newest."""

    finetune: bool = False
    """Take only the weights from `load` and start at step 0."""

    no_load_optim: bool = False
    """Start with a fresh optimizer on resume."""

    no_load_rng: bool = False
    """Start with fresh random number generators on resume."""

    ckpt_fully_parallel_save: bool = True
    """Data parallel processes share the writing of a checkpoint."""

    ckpt_fully_parallel_load: bool = False
    """Data parallel processes share the reading of a checkpoint, then exchange it."""

    dist_ckpt_optim_fully_reshardable: bool = False
    """Save the distributed optimizer so that any other layout can load it (otherwise another data parallel size)."""

    distrib_optim_fully_reshardable_mem_efficient: bool = False
    """Save memory, not time, with dist_ckpt_optim_fully_reshardable."""


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What is reported."""

    log_interval: int = _number(100, minimum=1)
    """Steps between two reports."""

    log_avg_skip_iterations: int = _number(0, minimum=0)
    """First steps of a run left out of the averages (a key of the original Primus)."""

    log_avg_reset_interval: int | None = _number(None, minimum=1)
    """Steps after which the averages start again; None never (a key of the original Primus)."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(
    ModelSettings,
    ParallelSettings,
    BatchSettings,
    ScheduleSettings,
    DataSettings,
    CheckpointSettings,
    LogSettings,
    MetricsSettings,
):
    """All keys of the loop. The class in which a field stands is its group."""
