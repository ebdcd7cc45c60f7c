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
