"""`primus k8s create`: an experiment to a workload."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import primus
from primus.backends.prepare import Prepared, prepare
from primus.commands import options
from primus.commands.k8s.connection import WORKSPACE, Connection, JsonOption, OutputOption, show
from primus.errors import UsageError
from primus.experiment import dump
from primus.job import Resources
from primus.launch.k8s.workload import Workload, dns_name, require_name
from primus.redact import redact_values

_HOST_LIST = "NODE[,NODE]"


def add_to(app: typer.Typer) -> None:
    app.command()(create)


def create(
    context: typer.Context,
    exp: options.Exp,
    backend: options.BackendName = None,
    sets: options.Sets = None,
    replica: Annotated[int, typer.Option(min=1, metavar="N", help="Pods, one on each node.")] = 1,
    cpu: Annotated[int, typer.Option(min=1, metavar="N", help="CPUs of each pod.")] = 96,
    gpu: Annotated[int, typer.Option(min=0, metavar="N", help="GPUs of each pod.")] = 8,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each pod.")] = "1024Gi",
    ephemeral_storage: Annotated[str, typer.Option(metavar="SIZE", help="Local disk of each pod.")] = "100Gi",
    image: Annotated[
        str, typer.Option(envvar="DOCKER_IMAGE", metavar="IMAGE", help="Container image.")
    ] = "docker.io/rocm/megatron-lm:v25.5_py310",
    data_path: Annotated[
        str | None,
        typer.Option(
            "--data-path", "--data_path", envvar="DATA_PATH", metavar="PATH", help="DATA_PATH of the training."
        ),
    ] = None,
    hf_token: Annotated[
        str | None,
        typer.Option(
            "--hf-token", "--hf_token", envvar="HF_TOKEN", metavar="TOKEN", help="Hugging Face token; better: --secret."
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A secret of the server, for instance with HF_TOKEN. Repeatable."),
    ] = None,
    workspace: Annotated[str, typer.Option(metavar="NAME", help="Where the workload belongs.")] = WORKSPACE,
    nodelist: Annotated[
        str | None, typer.Option(metavar=_HOST_LIST, help="Run on these nodes, one pod on each.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the workload.  [default: the experiment's name]")
    ] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=2, help="0 low, 1 middle, 2 high.")] = None,
    timeout: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="End the workload after this time of running.")
    ] = None,
    ttl: Annotated[int, typer.Option(min=0, metavar="SECONDS", help="Keep a finished workload this long.")] = 36000,
    max_retry: Annotated[
        int, typer.Option(min=0, max=50, metavar="N", help="Start again after a failure, at most so often.")
    ] = 1,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="Variable of the training; without a value, the one set here. Repeatable."
        ),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label. Repeatable.")] = None,
    dry_run: options.DryRun = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARG...]", help="Passed to `primus train` in the pods, unchanged.")
    ] = None,
) -> None:
    """Create a workload that trains an experiment. It is checked here first; what runs is what was checked."""
    connection = context.obj
    assert isinstance(connection, Connection)
    nodes = tuple(part for part in (nodelist or "").split(",") if part)
    prepared = _checked(exp, sets, backend, Resources(**_size(replica, gpu)))
    experiment = prepared.usable()
    secrets = tuple(require_name(each, "--secret") for each in secret or ())
    workload = Workload(
        name=name or dns_name(experiment.exp_name),
        exp=exp,
        backend=prepared.backend.name,
        experiment=dump(experiment),
        arguments=tuple(arguments or ()),
        folder=os.getcwd(),
        source=str(Path(primus.__file__).parents[1]),
        image=image,
        replicas=replica,
        cpu=cpu,
        gpu=gpu,
        memory=memory,
        ephemeral_storage=ephemeral_storage,
        environment=_environment(env or (), exp, prepared.backend.name, data_path, hf_token, secrets),
        secrets=secrets,
        labels=_pairs("--label", label or ()),
        nodes=tuple(require_name(node, "--nodelist") for node in nodes),
        priority=priority,
        timeout=timeout,
        ttl=ttl,
        max_retry=max_retry,
        user=getpass.getuser(),
        marker=f"[primus {os.urandom(6).hex()}]",
    )
    with connection.target(workspace) as target:
        if dry_run:
            print(json.dumps(redact_values(target.preview(workload)), indent=2))
            return
        answer = target.create(workload)
        id = target.created_id(answer)
        show(answer, output, as_json=as_json, table=lambda: f"Created {id}", ids=lambda: id)


def _checked(exp: str, sets: list[str] | None, backend: str | None, resources: Resources) -> Prepared:
    """What is missing on this machine may well be there in the pods, and is only a warning."""
    prepared = prepare(exp, sets=sets or (), framework=backend, resources=resources, environ=os.environ)
    for warning in prepared.warnings + prepared.missing:
        print(f"Warning: {warning}", file=sys.stderr)
    return prepared


def _size(replicas: int, gpus: int) -> dict[str, Any]:
    return {"nnodes": replicas, "nproc_per_node": gpus or 1, "accelerator": "amd" if gpus else "cpu"}


def _environment(
    given: list[str] | tuple[str, ...],
    exp: str,
    backend: str,
    data_path: str | None,
    hf_token: str | None,
    secrets: tuple[str, ...],
) -> dict[str, str]:
    """Variables of the pods. A token is among them only when no secret of the server is named."""
    variables = {"EXP": exp, "BACKEND": backend}
    if data_path:
        variables["DATA_PATH"] = data_path
    if hf_token and not secrets:
        variables["HF_TOKEN"] = hf_token
        print(
            "Warning: HF_TOKEN is sent as a plain variable, which everybody in the workspace can read; with --secret "
            "NAME it comes from a secret of the server",
            file=sys.stderr,
        )
    for each in given:
        name, sign, value = each.partition("=")
        if not sign and name not in os.environ:
            raise UsageError(f"--env {name}: this variable is not set here; give it a value with --env {name}=VALUE")
        variables[name] = value if sign else os.environ[name]
    return variables


def _pairs(option: str, given: list[str] | tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for each in given:
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise UsageError(f"{option} {each!r}: expected KEY=VALUE")
        pairs[key] = value
    return pairs
