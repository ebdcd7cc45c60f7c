"""The environment that Primus adds for the workers, as a table: name, value, where it applies, why. A value that the
user or the image has set wins, but over a firm wish. Launchers call decide(); `--dry-run` prints what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Literal

from primus.job import Job, Variable

GPUS = ("amd", "nvidia")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A row of the table."""

    name: str
    value: str
    """With the name of a fact in braces, the row applies where that fact is known."""

    reason: str
    on: tuple[str, ...] = ("cpu", *GPUS)
    """Accelerators that it is for."""

    nodes: Literal["any", "one", "many"] = "any"
    rdma: bool = False
    """Only where the nodes are connected by InfiniBand or RoCE."""

    experts: bool | None = None
    """Only for models with experts, or only for those without; None for both."""

    def applies(self, job: Job) -> bool:
        resources = job.resources
        here = "one" if resources.nnodes == 1 else "many"
        linked = resources.network is not None and resources.network.link is not None
        return (
            resources.accelerator in self.on
            and self.nodes in ("any", here)
            and (linked or not self.rdma)
            and self.experts in (None, job.experts)
        )

    @property
    def facts(self) -> list[str]:
        """Names of the facts in its value."""
        return [name for _, name, _, _ in Formatter().parse(self.value) if name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One variable as the workers will see it."""

    variable: Variable
    """What Primus wants."""

    source: str
    """Who has that wish: `primus`, the GPU's model, `this node` for what was found here, or the backend."""

    value: str
    """What it will be."""

    set_by: Literal["user", "image"] | None = None
    """Who had set it already; then it stays."""


SETTINGS = (
    Setting(
        name="OMP_NUM_THREADS",
        value="1",
        reason="one thread per worker: with more, the workers of a machine slow each other down",
    ),
    Setting(
        name="HF_HOME",
        value="{data_path}/huggingface",
        reason="downloads are kept under $DATA_PATH",
    ),
    Setting(
        name="GLOO_SOCKET_IFNAME",
        value="lo",
        nodes="one",
        reason="the workers of one machine reach each other without a network or a resolvable host name",
    ),
    Setting(
        name="GLOO_SOCKET_IFNAME",
        value="{interface}",
        nodes="many",
        reason="without it Gloo takes the interface of this host's name, which may be the loopback",
    ),
    Setting(
        name="NCCL_SOCKET_IFNAME",
        value="={interface}",
        on=GPUS,
        nodes="many",
        reason="exactly this interface; a name without = also means all that begin with it",
    ),
    Setting(
        name="NCCL_IB_HCA",
        value="={ports}",
        on=GPUS,
        nodes="many",
        rdma=True,
        reason="exactly the ports of the training fabric; without = mlx5_1 also means mlx5_10",
    ),
    Setting(
        name="NCCL_IB_GID_INDEX",
        value="{gid_index}",
        on=GPUS,
        nodes="many",
        rdma=True,
        reason="RoCE sends from this address",
    ),
    Setting(
        name="NCCL_CROSS_NIC",
        value="0",
        on=GPUS,
        nodes="many",
        rdma=True,
        reason="rings stay on the same rail of the network on every node",
    ),
    Setting(
        name="TORCH_NCCL_HIGH_PRIORITY",
        value="1",
        on=GPUS,
        reason="communication is not queued behind computation",
    ),
    Setting(
        name="TORCH_NCCL_USE_TENSOR_REGISTER_ALLOCATOR_HOOK",
        value="0",
        on=("amd",),
        reason="registering each allocation with RCCL costs memory and is not needed",
    ),
    Setting(
        name="GPU_MAX_HW_QUEUES",
        value="2",
        on=("amd",),
        reason="two hardware queues for computation and two for RCCL, of high priority; more than four slow the GPU",
    ),
    Setting(
        name="HSA_ENABLE_SDMA",
        value="1",
        on=("amd",),
        reason="copies run on their own engines, beside computation",
    ),
    Setting(
        name="HSA_NO_SCRATCH_RECLAIM",
        value="0",
        on=("amd",),
        experts=False,
        reason="kernels that need much scratch memory give it back",
    ),
    Setting(
        name="HSA_NO_SCRATCH_RECLAIM",
        value="1",
        on=("amd",),
        experts=True,
        reason="kernels of experts need much scratch memory again and again; giving it back each time stalls the GPU",
    ),
    Setting(
        name="RCCL_MSCCL_ENABLE",
        value="0",
        on=("amd",),
        reason="MSCCL's algorithms are for small messages; training sends large ones",
    ),
    Setting(
        name="RCCL_MSCCLPP_ENABLE",
        value="0",
        on=("amd",),
        reason="MSCCL++ is for small messages as well",
    ),
    Setting(
        name="NVTE_USE_CAST_TRANSPOSE_TRITON",
        value="1",
        on=("amd",),
        reason="Transformer Engine casts and transposes with its Triton kernel, the faster one on ROCm",
    ),
    Setting(
        name="NVTE_USE_OPTIMIZED_HIPIFIED_CAST_TRANSPOSE",
        value="0",
        on=("amd",),
        reason="the Triton kernel takes its place",
    ),
    Setting(
        name="NVTE_CK_USES_BWD_V3",
        value="0",
        on=("amd",),
        reason="version 3 of composable kernel's attention gradient was less accurate up to Transformer Engine 2.1",
    ),
)

MODELS = Path(__file__).parent / "data"
"""One file for each GPU architecture with settings of its own."""


def decide(job: Job, environ: Mapping[str, str], image: Mapping[str, str] | None = None) -> list[Decision]:
    """Every variable that Primus has a wish for, with the value that the workers get. `image` holds what the container
    image sets, for a job that runs in one that Primus starts."""
    wishes: dict[str, tuple[Variable, str]] = {}
    for variable, source in _wishes(job, environ):
        wishes[variable.name] = (variable, source)
    return [_decision(variable, source, environ, image or {}) for variable, source in wishes.values()]


def model_settings(model: str | None) -> list[Variable]:
    """What the data file of a GPU architecture says; nothing for one without a file."""
    path = MODELS / f"{model}.toml"
    if model is None or not path.exists():
        return []
    from primus.experiment.toml_parser import loads

    return [Variable(name=name, **fields) for name, fields in loads(path.read_text()).items()]


def _wishes(job: Job, environ: Mapping[str, str]) -> list[tuple[Variable, str]]:
    """In the order of precedence: a later one replaces an earlier one of the same name."""
    facts = _facts(job, environ)
    rows = [
        (_variable(setting, facts), "this node" if setting.facts else "primus")
        for setting in SETTINGS
        if setting.applies(job) and facts.keys() >= set(setting.facts)
    ]
    rows += [(variable, str(job.resources.gpu_model)) for variable in model_settings(job.resources.gpu_model)]
    return rows + [(variable, variable.source or job.backend) for variable in job.environment]


def _facts(job: Job, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What is known of this node, each with the reason for it."""
    facts = {"data_path": (environ.get("DATA_PATH", ""), "")}
    network = job.resources.network
    if network is not None:
        index = "" if network.gid_index is None else str(network.gid_index)
        facts |= {
            "interface": (network.interface or "", network.route),
            "ports": (",".join(network.ports), network.fabric),
            "gid_index": (index, network.gid),
        }
    return {name: fact for name, fact in facts.items() if fact[0]}


def _variable(setting: Setting, facts: Mapping[str, tuple[str, str]]) -> Variable:
    value = setting.value.format(**{name: fact for name, (fact, _) in facts.items()})
    why = "; ".join(facts[name][1] for name in setting.facts if facts[name][1])
    reason = f"{setting.reason} ({why})" if why else setting.reason
    return Variable(name=setting.name, value=value, reason=reason)


def _decision(variable: Variable, source: str, environ: Mapping[str, str], image: Mapping[str, str]) -> Decision:
    if variable.name in environ and not variable.firm:
        return Decision(variable=variable, source=source, value=environ[variable.name], set_by="user")
    if variable.name in image and not variable.firm:
        return Decision(variable=variable, source=source, value=image[variable.name], set_by="image")
    return Decision(variable=variable, source=source, value=variable.value)
