"""The environment that Primus adds for the workers, as a table: name, value, where it applies, why. A value that the
user or the image has set wins. Launchers call decide(); `--dry-run` prints what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from primus.job import Job, Resources, Variable

GPUS = ("amd", "nvidia")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A row of the table."""

    name: str
    value: str
    reason: str
    on: tuple[str, ...] = ("cpu", *GPUS)
    """Accelerators that it is for."""

    nodes: str = "any"
    """`one`, `many` or `any`."""

    def applies(self, resources: Resources) -> bool:
        here = "one" if resources.nnodes == 1 else "many"
        return resources.accelerator in self.on and self.nodes in ("any", here)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One variable as the workers will see it."""

    variable: Variable
    value: str
    """What it will be."""

    yours: bool
    """The user's environment had it already."""


SETTINGS = (
    Setting(
        name="OMP_NUM_THREADS",
        value="1",
        reason="one thread per worker: with more, the workers of a machine slow each other down",
    ),
    Setting(
        name="GLOO_SOCKET_IFNAME",
        value="lo",
        nodes="one",
        reason="the workers of one machine reach each other without a network or a resolvable host name",
    ),
    Setting(
        name="TORCH_NCCL_HIGH_PRIORITY",
        value="1",
        on=GPUS,
        reason="communication is not queued behind computation",
    ),
    Setting(
        name="NCCL_CHECKS_DISABLE",
        value="1",
        on=GPUS,
        reason="skips checks of every call's arguments",
    ),
    Setting(
        name="NCCL_CROSS_NIC",
        value="0",
        on=GPUS,
        nodes="many",
        reason="rings stay on the same rail of the network on every node",
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
        reason="one hardware queue for computation and one for communication; with more they delay each other",
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
        reason="kernels give their scratch memory back",
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
        reason="attention goes back through the composable-kernel version that the guide's figures were made with",
    ),
)


def decide(job: Job, environ: Mapping[str, str]) -> list[Decision]:
    """Every variable that Primus has a wish for, with the value that the workers get."""
    wishes = {setting.name: _variable(setting) for setting in SETTINGS if setting.applies(job.resources)}
    wishes |= {variable.name: variable for variable in _data_cache(environ)}
    wishes |= {variable.name: variable for variable in job.environment}
    return [_decision(variable, environ) for variable in wishes.values()]


def _decision(variable: Variable, environ: Mapping[str, str]) -> Decision:
    own = environ.get(variable.name)
    return Decision(variable=variable, value=variable.value if own is None else own, yours=own is not None)


def _variable(setting: Setting) -> Variable:
    return Variable(name=setting.name, value=setting.value, reason=setting.reason)


def _data_cache(environ: Mapping[str, str]) -> list[Variable]:
    folder = environ.get("DATA_PATH")
    if not folder:
        return []
    return [Variable(name="HF_HOME", value=f"{folder}/huggingface", reason="downloads are kept under $DATA_PATH")]
