"""Contradictions in batches, learning rate, weight decay, checkpoints and evaluation."""

from __future__ import annotations

from primus.backends.megatron.checks.rule import Facts, Rule


def _decay(f: Facts) -> int:
    """Steps of the learning rate's decay. Reads lr_decay_iters and train_iters."""
    return int(f.lr_decay_iters or f.train_iters)


RULES = (
    Rule(
        keys=("global_batch_size", "micro_batch_size"),
        when=lambda f: f.global_batch_size is not None and f.global_batch_size % f.micro_batch_size != 0,
        say="micro_batch_size {micro_batch_size} does not divide global_batch_size {global_batch_size}.",
    ),
    Rule(
        keys=("min_lr", "lr"),
        when=lambda f: f.min_lr > f.lr,
        say="min_lr {min_lr} is above lr {lr}.",
    ),
    Rule(
        keys=("lr_warmup_init", "lr"),
        when=lambda f: f.lr_warmup_init > f.lr,
        say="lr_warmup_init {lr_warmup_init} is above lr {lr}.",
    ),
    Rule(
        keys=("decoupled_min_lr", "decoupled_lr"),
        when=lambda f: f.decoupled_min_lr is not None and f.decoupled_min_lr > (f.decoupled_lr or 0),
        say="decoupled_min_lr {decoupled_min_lr} is above decoupled_lr {decoupled_lr}.",
    ),
    Rule(
        keys=("lr_warmup_iters", "lr_decay_iters", "train_iters", "lr_warmup_fraction"),
        when=lambda f: f.lr_warmup_fraction is None and f.lr_warmup_iters >= _decay(f),
        say="lr_warmup_iters {lr_warmup_iters} must be less than the steps of the decay (lr_decay_iters, or "
        "train_iters without it).",
    ),
    Rule(
        keys=("lr_warmup_fraction",),
        when=lambda f: f.lr_warmup_fraction == 1,
        say="lr_warmup_fraction must be less than 1, or nothing is left for the decay.",
    ),
    Rule(
        keys=("lr_warmup_fraction", "lr_warmup_iters"),
        when=lambda f: f.lr_warmup_fraction is not None and f.lr_warmup_iters > 0,
        say="lr_warmup_fraction and lr_warmup_iters say the same: keep one.",
    ),
    Rule(
        keys=("lr_decay_style", "lr_wsd_decay_iters"),
        when=lambda f: f.lr_decay_style == "WSD" and f.lr_wsd_decay_iters is None,
        say="lr_decay_style WSD needs lr_wsd_decay_iters, the steps of the last decay.",
    ),
    Rule(
        keys=("lr_wsd_decay_iters", "lr_decay_style", "lr_decay_iters", "train_iters"),
        when=lambda f: f.lr_decay_style == "WSD" and (f.lr_wsd_decay_iters or 0) > _decay(f),
        say="lr_wsd_decay_iters {lr_wsd_decay_iters} is more than the whole decay (lr_decay_iters, or train_iters "
        "without it).",
    ),
    Rule(
        keys=("weight_decay_incr_style", "start_weight_decay", "end_weight_decay"),
        when=lambda f: f.weight_decay_incr_style != "constant" and None in (f.start_weight_decay, f.end_weight_decay),
        say="weight_decay_incr_style {weight_decay_incr_style} needs start_weight_decay and end_weight_decay.",
    ),
    Rule(
        keys=("weight_decay_incr_style", "start_weight_decay", "end_weight_decay"),
        when=lambda f: (
            f.weight_decay_incr_style == "constant" and (f.start_weight_decay, f.end_weight_decay) != (None, None)
        ),
        say="start_weight_decay and end_weight_decay are for a weight_decay_incr_style other than constant; set "
        "weight_decay.",
    ),
    Rule(
        keys=("start_weight_decay", "end_weight_decay"),
        when=lambda f: (
            None not in (f.start_weight_decay, f.end_weight_decay) and f.start_weight_decay > f.end_weight_decay
        ),
        say="start_weight_decay {start_weight_decay} is above end_weight_decay {end_weight_decay}; weight decay can "
        "only grow.",
    ),
    Rule(
        keys=("save_retain_interval", "save_interval"),
        when=lambda f: (
            f.save_retain_interval is not None
            and (f.save_interval is None or f.save_retain_interval % f.save_interval != 0)
        ),
        say="save_retain_interval {save_retain_interval} must be a multiple of save_interval {save_interval}.",
    ),
    Rule(
        keys=("finetune", "load"),
        when=lambda f: f.finetune and f.load is None,
        say="finetune needs load, the folder of the checkpoints to start from.",
    ),
    Rule(
        keys=("ckpt_step", "load"),
        when=lambda f: f.ckpt_step is not None and f.load is None,
        say="ckpt_step chooses a checkpoint in load, which is not set.",
    ),
    Rule(
        keys=("distrib_optim_fully_reshardable_mem_efficient", "dist_ckpt_optim_fully_reshardable"),
        when=lambda f: f.distrib_optim_fully_reshardable_mem_efficient and not f.dist_ckpt_optim_fully_reshardable,
        say="distrib_optim_fully_reshardable_mem_efficient needs dist_ckpt_optim_fully_reshardable: true.",
    ),
)
