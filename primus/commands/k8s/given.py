"""The options of `primus k8s create`, apart from those that other commands have too."""

from __future__ import annotations

from typing import Annotated

import typer

from primus.launch.k8s.native.options import Kind as JobKind

Replica = Annotated[int, typer.Option(min=1, metavar="N", help="Pods, one on each node.")]

Cpu = Annotated[int, typer.Option(min=1, metavar="N", help="CPUs of each pod.")]

Gpu = Annotated[int, typer.Option(min=0, metavar="N", help="GPUs of each pod.")]

Memory = Annotated[str, typer.Option(metavar="SIZE", help="Memory of each pod.")]

EphemeralStorage = Annotated[str, typer.Option(metavar="SIZE", help="Local disk of each pod.")]

Image = Annotated[
    str | None,
    typer.Option(
        envvar="DOCKER_IMAGE",
        metavar="IMAGE",
        help="Image of the pods.  [default: the guide's]",
    ),
]

DataPath = Annotated[
    str | None,
    typer.Option("--data-path", "--data_path", envvar="DATA_PATH", metavar="PATH", help="DATA_PATH of the training."),
]

HfToken = Annotated[
    str | None,
    typer.Option(
        "--hf-token", "--hf_token", envvar="HF_TOKEN", metavar="TOKEN", help="Hugging Face token; better: --secret."
    ),
]

Secret = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A secret of the server, for instance with HF_TOKEN. Repeatable."),
]

Workspace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Where the workload belongs.  [default: primus-safe-pretrain; on a cluster its namespace]"
    ),
]

Nodelist = Annotated[str | None, typer.Option(metavar="NODE[,NODE]", help="Run on these nodes, one pod on each.")]

Name = Annotated[str | None, typer.Option(metavar="NAME", help="Of the workload.  [default: the experiment's name]")]

Priority = Annotated[int | None, typer.Option(min=0, max=2, help="0 low, 1 middle, 2 high.")]

Timeout = Annotated[
    int | None, typer.Option(min=1, metavar="SECONDS", help="End the workload after this time of running.")
]

Ttl = Annotated[int, typer.Option(min=0, metavar="SECONDS", help="Keep a finished workload this long.")]

MaxRetry = Annotated[
    int, typer.Option(min=0, max=50, metavar="N", help="Start again after a failure, at most so often.")
]

Env = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=VALUE]", help="Variable of the training; without a value, the one set here. Repeatable."
    ),
]

Label = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label. Repeatable.")]

Workdir = Annotated[
    str | None, typer.Option(metavar="PATH", help="Working directory in the pods.  [default: this folder]")
]

Kind = Annotated[
    JobKind | None, typer.Option(help="Of the object on a cluster: an Indexed Job, a JobSet or a PyTorchJob.")
]

Queue = Annotated[str | None, typer.Option(metavar="NAME", help="Local queue of Kueue on a cluster.")]

GpuResource = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of a cluster's GPUs.  [default: what its nodes offer]")
]

Rdma = Annotated[str | None, typer.Option(metavar="NAME[=COUNT]", help="RDMA resource for each pod on a cluster.")]

HostNetwork = Annotated[bool, typer.Option("--host-network", help="Use the network of the cluster's nodes.")]

Shm = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Size of /dev/shm on a cluster.  [default: half of the memory]")
]

Volume = Annotated[
    list[str] | None,
    typer.Option(metavar="SPEC", help="On a cluster: pvc:CLAIM:/path[:ro] or host:/folder[:/path][:ro]. Repeatable."),
]

Toleration = Annotated[
    list[str] | None, typer.Option(metavar="KEY[=VALUE][:EFFECT]", help="Taint to stand on a cluster. Repeatable.")
]

PriorityClass = Annotated[str | None, typer.Option(metavar="NAME", help="Priority class on a cluster.")]

ServiceAccount = Annotated[str | None, typer.Option(metavar="NAME", help="Service account on a cluster.")]

OnServer = Annotated[
    bool, typer.Option("--on-server", help="With --dry-run, or as --dry-run=server: let the cluster check the request.")
]

Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="[-- ARG...]", help="Passed to `primus train` in the pods, unchanged.")
]
