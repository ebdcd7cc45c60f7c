"""What `primus k8s create` was asked for: one training in pods. Pure values; safe/ and the native target turn them into
requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from primus.errors import UsageError

_DNS_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

LONGEST_NAME = 44
"""Characters: what a PyTorchJob and its pods add must fit into the 63 of a DNS label."""

_QUANTITY = re.compile(r"\d+(\.\d+)?(Ei|Pi|Ti|Gi|Mi|Ki|E|P|T|G|M|k)?")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A training in `replicas` pods, one pod per node."""

    name: str
    """DNS name, at most LONGEST_NAME characters."""

    exp: str
    """The experiment as the user named it, for descriptions."""

    backend: str
    experiment: str
    """The effective experiment, as text."""

    arguments: tuple[str, ...] = ()
    """Of `primus train`, besides the experiment."""

    folder: str
    """Working directory in the pods: relative paths of the experiment count from here."""

    source: str
    """Folder that holds the package `primus`, for images in which it is not installed."""

    image: str
    replicas: int = 1
    cpu: int
    gpu: int
    memory: str
    ephemeral_storage: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the pods, without secrets."""

    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the pods that are secrets."""

    secrets: tuple[str, ...] = ()
    """Names of secrets that the server or cluster holds."""

    labels: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    """Host names to run on; any when empty."""

    priority: int | None = None
    timeout: int | None = None
    """Seconds of running after which the workload is ended."""

    ttl: int
    """Seconds for which a finished workload is kept."""

    max_retry: int = 0
    """Times that the whole workload is started again after a failure."""

    user: str = ""
    request: str = ""
    """Unlike that of any other request, in hexadecimal digits: a create whose answer was lost is found again by it."""

    @property
    def marker(self) -> str:
        """The request as it stands in descriptions."""
        return f"[primus {self.request}]"

    @property
    def suffix(self) -> str:
        """Makes the names of several workloads of one experiment differ."""
        return self.request[:5]

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise UsageError("\n".join(problems))


def dns_name(text: str) -> str:
    """`text` as a name that Kubernetes takes: `llama2_7B-pretrain` becomes `llama2-7b-pretrain`."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"primus-{name}".rstrip("-")
    return name[:LONGEST_NAME].rstrip("-")


def require_name(name: str, what: str) -> str:
    """`name` as it may stand in a path of the API; anything else is an error before a request is made."""
    if not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?", name) or len(name) > 253:
        raise UsageError(f"{what} {name!r}: such a name consists of letters, digits, `-` and `.`")
    return name


def _problems(workload: Workload) -> list[str]:
    problems = []
    if not _DNS_NAME.fullmatch(workload.name) or len(workload.name) > LONGEST_NAME:
        problems.append(
            f"--name {workload.name!r}: expected small letters, digits and `-`, beginning with a letter, at most "
            f"{LONGEST_NAME} characters; {dns_name(workload.name)} would do"
        )
    for option, value in (("--memory", workload.memory), ("--ephemeral-storage", workload.ephemeral_storage)):
        if not _QUANTITY.fullmatch(value):
            problems.append(f"{option} {value!r}: expected a size such as 512Gi")
    if workload.nodes and len(workload.nodes) != workload.replicas:
        problems.append(
            f"--nodelist names {len(workload.nodes)} nodes, --replica asks for {workload.replicas} pods: one pod runs "
            "on each node, so the two must be equal"
        )
    doubled = sorted({node for node in workload.nodes if workload.nodes.count(node) > 1})
    if doubled:
        problems.append(f"--nodelist names {', '.join(doubled)} more than once")
    problems += [
        f"--env {name!r}: expected a variable's name (letters, digits, `_`) before the `=`"
        for name in (*workload.environment, *workload.tokens)
        if not _VARIABLE.fullmatch(name)
    ]
    if not workload.image or re.search(r"\s", workload.image):
        problems.append(f"--image {workload.image!r}: expected the name of an image, such as registry/name:tag")
    return problems
