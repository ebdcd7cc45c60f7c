"""`primus k8s create`: an experiment to a workload."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

import primus
from primus.commands import options
from primus.commands.k8s import given, variables
from primus.commands.k8s.connection import WORKSPACE, Connection, JsonOption, Output, OutputOption, show
from primus.errors import UsageError
from primus.launch.k8s.native.options import (
    ClusterOptions,
    parse_resource,
    parse_toleration,
    parse_volume,
    require_distinct_paths,
    require_labels,
)
from primus.launch.k8s.workload import Workload, dns_name, require_name
from primus.redact import HIDDEN, redact_values

if TYPE_CHECKING:
    from primus.backends.prepare import Prepared
    from primus.job import Resources
    from primus.launch.k8s.native.target import ClusterTarget
    from primus.launch.k8s.safe.target import SafeTarget


def add_to(app: typer.Typer) -> None:
    app.command(cls=_Create)(create)


class _Create(TyperCommand):
    """Understands `--dry-run=server`, as kubectl has it, beside a plain `--dry-run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        own = [part for arg in args[:end] for part in _DRY_RUNS.get(arg, (arg,))]
        return super().parse_args(ctx, [*own, *args[end:]])


_DRY_RUNS = {"--dry-run=server": ("--dry-run", "--on-server"), "--dry-run=client": ("--dry-run",)}


def create(
    context: typer.Context,
    exp: options.Exp,
    backend: options.BackendName = None,
    sets: options.Sets = None,
    replica: given.Replica = 1,
    cpu: given.Cpu = 96,
    gpu: given.Gpu = 8,
    memory: given.Memory = "1024Gi",
    ephemeral_storage: given.EphemeralStorage = "100Gi",
    image: given.Image = None,
    data_path: given.DataPath = None,
    hf_token: given.HfToken = None,
    secret: given.Secret = None,
    workspace: given.Workspace = None,
    nodelist: given.Nodelist = None,
    name: given.Name = None,
    priority: given.Priority = None,
    timeout: given.Timeout = None,
    ttl: given.Ttl = 36000,
    max_retry: given.MaxRetry = 1,
    env: given.Env = None,
    label: given.Label = None,
    tune_stage: options.TuneStage = 0,
    workdir: given.Workdir = None,
    kind: given.Kind = None,
    queue: given.Queue = None,
    gpu_resource: given.GpuResource = None,
    rdma: given.Rdma = None,
    host_network: given.HostNetwork = False,
    shm: given.Shm = None,
    volume: given.Volume = None,
    toleration: given.Toleration = None,
    priority_class: given.PriorityClass = None,
    service_account: given.ServiceAccount = None,
    dry_run: options.DryRun = False,
    on_server: given.OnServer = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    arguments: given.Arguments = None,
) -> None:
    """Create a workload that trains an experiment. It is checked here first; what runs is what was checked."""
    # The other commands should not wait for these.
    from primus.experiment import dump
    from primus.experiment.withhold import withhold
    from primus.job import Resources
    from primus.launch.container.request import default_image

    connection = context.obj
    assert isinstance(connection, Connection)
    cluster = _cluster_options(context.params)
    _require_fitting(context, native=connection.native)
    variables.check_arguments(context, arguments or ())
    chosen = {"DATA_PATH": data_path} if data_path else {}
    wanted = variables.collect({**chosen, **variables.parse_variables(env or ())}, context, named_secrets=bool(secret))
    environ = {**os.environ, **wanted.plain, **wanted.secret}
    size = Resources(**_size(replica, gpu)) if tune_stage != 2 else None  # stage 2 trains nothing
    prepared = _checked(exp, sets, backend, size, environ)
    experiment = withhold(prepared.usable(), environ)
    tokens = wanted.sent(experiment.secrets)
    if not connection.native:
        variables.warn_of_plain(sorted(tokens))
    workload = Workload(
        name=name or dns_name(experiment.exp_name),
        exp=exp,
        backend=prepared.backend.name,
        experiment=dump(experiment),
        arguments=(*(("--tune-stage", str(tune_stage)) if tune_stage else ()), *(arguments or ())),
        folder=workdir or os.getcwd(),
        source=str(Path(primus.__file__).parents[1]),
        image=default_image() if image is None else image,
        replicas=replica,
        cpu=cpu,
        gpu=gpu,
        memory=memory,
        ephemeral_storage=ephemeral_storage,
        environment={"EXP": exp, "BACKEND": prepared.backend.name, **wanted.plain},
        tokens=tokens,
        secrets=tuple(require_name(each, "--secret") for each in secret or ()),
        labels=variables.parse_pairs("--label", label or ()),
        nodes=tuple(require_name(node, "--nodelist") for node in (nodelist or "").split(",") if node),
        priority=priority,
        timeout=timeout,
        ttl=ttl,
        max_retry=max_retry,
        user=variables.login_name(),
        request=os.urandom(6).hex(),
    )
    if connection.native:
        require_labels(workload.labels)
        if dry_run and not on_server:
            _preview(workload, cluster)
        else:
            target = connection.cluster(workspace, cluster)
            _create_natively(target, workload, output, dry_run=dry_run, as_json=as_json)
    else:
        _create(connection.safe(workspace or WORKSPACE), workload, output, dry_run=dry_run, as_json=as_json)


_NATIVE_ONLY = (
    *("kind", "queue", "gpu_resource", "rdma", "host_network", "shm", "volume", "toleration", "priority_class"),
    "service_account",
    "on_server",
)
_SAFE_ONLY = ("priority",)


def _require_fitting(context: typer.Context, *, native: bool) -> None:
    """Every option that is given must mean something where the workload goes."""
    wrong = [name for name in (_SAFE_ONLY if native else _NATIVE_ONLY) if context.params[name]]
    names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
    if wrong and native:
        raise UsageError(f"{names}: for Primus-SaFE servers only; on a cluster it is --priority-class")
    if wrong:
        raise UsageError(f"{names}: for a cluster only (--context), not for a Primus-SaFE server")
    if context.params["on_server"] and not context.params["dry_run"]:
        raise UsageError("--on-server belongs to --dry-run")


def _cluster_options(given: dict[str, Any]) -> ClusterOptions:
    volumes = tuple(parse_volume(each) for each in given["volume"] or ())
    require_distinct_paths(volumes)
    return ClusterOptions(
        kind=given["kind"] or "job",
        queue=given["queue"],
        gpu_resource=given["gpu_resource"],
        rdma=parse_resource("--rdma", given["rdma"]) if given["rdma"] else None,
        host_network=given["host_network"],
        shared_memory=given["shm"],
        volumes=volumes,
        tolerations=tuple(parse_toleration(each) for each in given["toleration"] or ()),
        priority_class=given["priority_class"],
        service_account=given["service_account"],
    )


def _create(target: SafeTarget, workload: Workload, output: Output | None, *, dry_run: bool, as_json: bool) -> None:
    with target:
        if dry_run:
            print(json.dumps(redact_values(target.preview(workload)), indent=2))
            return
        answer = target.create(workload)
        id = target.created_id(answer)
        show(answer, output, as_json=as_json, table=lambda: f"Created {id}", ids=lambda: id)


def _create_natively(
    target: ClusterTarget, workload: Workload, output: Output | None, *, dry_run: bool, as_json: bool
) -> None:
    with target:
        answer = target.preview_on_server(workload) if dry_run else target.create(workload)
        id = target.created_id(answer)
        made = f"The cluster would accept {id}" if dry_run else f"Created {id}"
        show(answer, output, as_json=as_json, table=lambda: made, ids=lambda: id)


def _preview(workload: Workload, cluster: ClusterOptions) -> None:
    """The manifests, as `kubectl apply` takes them."""
    import yaml

    from primus.launch.k8s.native.manifests import manifests

    main, owned = manifests(workload, cluster)
    shown = [_without_token(manifest) for manifest in (main, *owned)]
    print(yaml.safe_dump_all(shown, sort_keys=False), end="")


def _without_token(manifest: dict[str, Any]) -> dict[str, Any]:
    if manifest["kind"] != "Secret":
        return manifest
    return {**manifest, "stringData": dict.fromkeys(manifest["stringData"], HIDDEN)}


def _checked(
    exp: str, sets: list[str] | None, backend: str | None, resources: Resources | None, environ: Mapping[str, str]
) -> Prepared:
    """What is missing on this machine may well be there in the pods, and is only a warning."""
    from primus.backends.prepare import prepare, warn

    prepared = prepare(exp, sets=sets or (), framework=backend, resources=resources, environ=environ)
    warn(prepared.warnings + prepared.missing)
    return prepared


def _size(replicas: int, gpus: int) -> dict[str, Any]:
    return {"nnodes": replicas, "nproc_per_node": gpus or 1, "accelerator": "amd" if gpus else "cpu"}
