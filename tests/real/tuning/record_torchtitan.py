"""Trains one step of tiny real torchtitan models and prints the multiplications that torch executed beside those
predicted.

    python record_torchtitan.py RANK WORLD STORE

Run by test_predict.py, one process per rank: the CPU adapter changes the process.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from recorder import Recorder, of_all, predicted

from primus.backends.torchtitan import cpu

cpu.install()

from torchtitan.config import JobConfig  # noqa: E402
from torchtitan.distributed import ParallelDims  # noqa: E402
from torchtitan.distributed.activation_checkpoint import apply_ac  # noqa: E402
from torchtitan.models.llama3.infra.parallelize import apply_tp  # noqa: E402
from torchtitan.models.moe import MoEArgs  # noqa: E402
from torchtitan.protocols.train_spec import get_train_spec  # noqa: E402

from primus.backends.torchtitan import BACKEND, flavors  # noqa: E402
from primus.backends.torchtitan.matmuls import tally  # noqa: E402
from primus.backends.torchtitan.settings import Settings  # noqa: E402
from primus.experiment import load  # noqa: E402

SEQUENCE, BATCH, VOCABULARY = 48, 2, 256
COMMON = {"dim": 64, "n_layers": 3, "n_heads": 4, "vocab_size": VOCABULARY, "max_seq_len": SEQUENCE}
EXPERTS = {"num_experts": 8, "num_shared_experts": 2, "top_k": 3, "use_grouped_mm": False}
LLAMA = {"n_kv_heads": 2, "multiple_of": 16, "ffn_dim_multiplier": 1.3}
LATENT = {"kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 20}
QWEN = {"n_kv_heads": 2, "head_dim": 24, "hidden_dim": 160}
DEEPSEEK = LATENT | {"q_lora_rank": 40, "inter_dim": 160, "moe_inter_dim": 56, "moe_args": EXPERTS}

NONE = {"activation_checkpoint.mode": "none"}
BY_OPERATION = {"activation_checkpoint.selective_ac_option": "op"}
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "llama3": ("llama3", LLAMA, NONE),
    "llama3, every second layer recomputed": ("llama3", LLAMA, {}),
    "llama3, recomputed": ("llama3", LLAMA, {"activation_checkpoint.mode": "full"}),
    "llama3, recomputed by operation": ("llama3", LLAMA, BY_OPERATION),
    "deepseek_v3": ("deepseek_v3", DEEPSEEK, NONE),
    "qwen3": ("qwen3", QWEN | {"enable_weight_tying": True}, NONE),
    "qwen3, experts": ("qwen3", QWEN | {"moe_enabled": True, "moe_inter_dim": 56, "moe_args": EXPERTS}, NONE),
}


def main() -> None:
    rank, world, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    chosen = MODELS if world == 1 else {"llama3": MODELS["llama3"]}
    found = {name: compare(Path(store).parent, world, *model) for name, model in chosen.items()}
    if rank == 0:
        print(json.dumps(found))


def compare(folder: Path, world: int, family: str, changes: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    given = COMMON | changes
    sizes = {**flavors.families()[family].defaults, **given}
    if "moe_args" in given:
        sizes |= {f"moe_args.{name}": value for name, value in given["moe_args"].items()}
        given = given | {"moe_args": MoEArgs(**given["moe_args"])}
    settings = settings_of(folder, family, keys, world)
    # The sizes of the model below stand in no file.
    from primus.backends.torchtitan import matmuls

    matmuls.sizes_of = lambda settings: sizes
    return {"executed": executed(family, given, settings, world), **predicted(tally(settings, world))}


def settings_of(folder: Path, family: str, keys: dict[str, str], world: int) -> Settings:
    path = folder / "job.toml"
    path.write_text(f'[model]\nname = "{family}"\n')
    fixed = {
        "training.seq_len": SEQUENCE,
        "training.local_batch_size": BATCH,
        "parallelism.tensor_parallel_degree": world,
    }
    sets = [f"{key}={value}" for key, value in {**fixed, **keys}.items()]
    return Settings(load(path, sets=sets, framework="torchtitan"), BACKEND.schema())


def executed(family: str, given: dict[str, Any], settings: Settings, world: int) -> dict[str, int]:
    config = JobConfig()
    config.training.seq_len = SEQUENCE
    for name in ("mode", "selective_ac_option"):
        setattr(config.activation_checkpoint, name, settings[f"activation_checkpoint.{name}"])
    spec = get_train_spec(family)
    arguments = type(next(iter(spec.model_args.values())))(**given)
    arguments.update_from_config(config)
    torch.manual_seed(1)
    model = spec.model_cls(arguments)
    with torch.no_grad():
        model.init_weights(buffer_device=torch.device("cpu"))
    if world > 1:
        dims = ParallelDims(dp_replicate=1, dp_shard=1, cp=1, tp=world, pp=1, ep=1, etp=1, world_size=world)
        mesh = dims.get_mesh("tp")
        apply_tp(model, mesh, loss_parallel=False, enable_float8_tensorwise_tp=False)
    if config.activation_checkpoint.mode != "none":
        saved = {torch.ops.aten.mm.default, torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default}
        apply_ac(model, config.activation_checkpoint, op_sac_save_list=saved)
    tokens = torch.randint(VOCABULARY, (BATCH, SEQUENCE))
    with Recorder() as recorder:
        model(tokens).logsumexp(-1).sum().backward()
    return of_all(recorder.found, world)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart
