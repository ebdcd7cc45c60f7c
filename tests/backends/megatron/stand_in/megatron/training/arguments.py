"""The command line: options in every way in which Megatron-LM writes them."""

import argparse
import os

from megatron.training.argument_utils import ArgumentGroupFactory
from megatron.training.config import ModelConfig

try:
    from megatron.training.more_arguments import add_more_arguments
except ImportError:
    add_more_arguments = None

TOKENIZERS = ["NullTokenizer", "HuggingFaceTokenizer"]


def parse_args(extra_args_provider=None, ignore_unknown_args=False):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser = _add_model_args(parser)
    parser = _add_training_args(parser)
    parser = _add_data_args(parser)
    parser = _add_optimizer_args(parser)
    parser = add_more_arguments(parser)
    if extra_args_provider is not None:
        parser = extra_args_provider(parser)
    args = parser.parse_args()
    args.rank, args.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return args


def pattern(text):
    return eval(text) if "[" in text else int(text)


def tuple_type(text):
    return tuple(int(part) for part in text.strip("()").split(","))


def _add_model_args(parser):
    excluded = ["inner"]
    factory = ArgumentGroupFactory(ModelConfig, exclude=excluded)
    factory.build_group(parser, "model")
    group = parser.add_argument_group(title="more of the model")
    group.add_argument("--ffn-hidden-size", type=int, default=None)
    group.add_argument("--num-attention-heads", type=int, default=None)
    group.add_argument("--max-position-embeddings", type=int, default=None, help="Longest sequence, 100%% of it.")
    group.add_argument("--position-embedding-type", choices=["learned_absolute", "rope"], default="learned_absolute")
    group.add_argument("--swiglu", action="store_true")
    group.add_argument("--window-size", type=tuple_type, default=None)
    group.add_argument("--num-experts", type=int, default=None)
    group.add_argument("--moe-layer-freq", type=pattern, default=1)
    group.add_argument("--no-rope-fusion", action="store_false", dest="apply_rope_fusion")
    group.add_argument("--transformer-impl", default="transformer_engine", choices=["local", "transformer_engine"])
    group.add_argument("--use-cpu-initialization", action="store_true", default=None)
    return parser


def _add_training_args(parser):
    group = parser.add_argument_group(title="training")
    for name in ("micro", "global"):
        group.add_argument(f"--{name}-batch", type=int)
    group.add_argument("--micro-batch-size", type=int, default=None)
    group.add_argument("--global-batch-size", type=int, default=None)
    group.add_argument("--train-iters", type=int, default=None)
    group.add_argument("--lr", type=float, default=None)
    group.add_argument("--log-interval", type=int, default=100)
    group.add_argument("--save", default=None)
    group.add_argument("--save-interval", "--persistent-save-interval", type=int, default=None)
    group.add_argument("--load", default=None)
    group.add_argument("--exit-on-missing-checkpoint", action="store_true")
    group.add_argument("--exit-signal-handler", action="store_true")
    group.add_argument("--overlap", action=argparse.BooleanOptionalAction, default=False)
    group.add_argument("--rampup-batch-size", nargs=3, default=None)
    group.add_argument("--bf16", action="store_true")
    group.add_argument("--fp16", action="store_true")
    group.add_argument("--distributed-backend", default="nccl", choices=["nccl", "gloo"])
    return parser


def _add_data_args(parser):
    group = parser.add_argument_group(title="data")
    group.add_argument("--data-path", nargs="*", default=None)
    group.add_argument("--mock-data", action="store_true")
    group.add_argument("--split", type=str, default=None)
    group.add_argument("--seq-length", type=int, default=None)
    group.add_argument("--tokenizer-type", type=str, default=None, choices=TOKENIZERS + ["SFTTokenizer"])  # noqa: RUF005
    group.add_argument("--vocab-size", type=int, default=None)
    if os.environ.get("WITH_KITCHEN"):
        group.add_argument("--kitchen-config-file", type=str, default=None)
    return parser


def _add_optimizer_args(parser):
    group = parser.add_argument_group(title="optimizer")
    group.add_argument("--optimizer", type=str, default="adam", choices=["adam", "sgd"])
    group.add_argument("--adam-beta1", type=float, default=0.9)
    group.add_argument("--adam-beta2", type=float, default=0.999)
    group.add_argument("--adam-eps", type=float, default=1e-08)
    group.add_argument("--weight-decay", type=float, default=0.01)
    group.add_argument("--clip-grad", type=float, default=1.0)
    group.add_argument("--lr-decay-style", type=str, default="linear", choices=["constant", "linear", "cosine"])
    group.add_argument("--lr-warmup-iters", type=int, default=0)
    group.add_argument("--min-lr", type=float, default=0.0)
    group.add_argument("--use-distributed-optimizer", action="store_true")
    group.add_argument("--dist-ckpt-optim-fully-reshardable", action="store_true")
    group.add_argument("--hidden-dropout", type=float, default=0.1)
    group.add_argument("--attention-dropout", type=float, default=0.1)
    group.add_argument("--init-method-std", type=float, default=0.02)
    group.add_argument("--group-query-attention", action="store_true")
    group.add_argument("--num-query-groups", type=int, default=1)
    group.add_argument("--rotary-base", type=int, default=10000)
    group.add_argument("--untie-embeddings-and-output-weights", action="store_true")
    group.add_argument("--make-vocab-size-divisible-by", type=int, default=128)
    group.add_argument("--num-workers", type=int, default=2)
    group.add_argument("--kv-lora-rank", type=int, default=32)
    group.add_argument("--rotary-scaling-factor", type=float, default=1.0)
    group.add_argument("--optimizer-offload-fraction", type=float, default=1.0)
    group.add_argument("--no-align-param-gather", action="store_false", dest="align_param_gather")
    group.add_argument("--eval-iters", type=int, default=100)
    group.add_argument("--eval-interval", type=int, default=1000)
    group.add_argument(
        "--no-create-attention-mask-in-dataloader", action="store_false", dest="create_attention_mask_in_dataloader"
    )
    return parser
