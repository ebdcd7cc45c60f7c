"""An estimate and a search as text and as plain data. commands/estimate.py prints them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from primus.backends.account import Account
from primus.estimate.search import Found, Search
from primus.estimate.timing import Timing, bubble
from primus.estimate.traffic import traffic
from primus.metrics.flops import FORWARD_AND_BACKWARD, forward_flops
from primus.table import table

GIB = 2**30
MEMORY = ("weights", "gradients", "optimizer", "activations", "workspace")


def as_data(account: Account, timing: Timing | None, *, limit: float | None, source: str | None) -> dict[str, Any]:
    """Everything that is known, with exact numbers."""
    flops = forward_flops(account.shape)
    worst = max(stage.total for stage in account.stages)
    return {
        "parameters": {"total": account.parameters, "active": account.active, "parts": dict(account.parts)},
        "flops_per_token": {
            "forward": asdict(flops) | {"total": flops.total},
            "training": FORWARD_AND_BACKWARD * flops.total,
        },
        "layout": asdict(account.split),
        "batch": {
            "global": account.global_batch,
            "micro": account.micro_batch,
            "micro_batches": account.micro_batches,
            "tokens": account.global_batch * account.shape.sequence,
        },
        "recompute": account.recompute,
        "memory": [asdict(stage) | {"total": stage.total} for stage in account.stages],
        "fits": None if limit is None else worst <= limit,
        "memory_limit": None if limit is None else int(limit),
        "traffic": [asdict(kind) for kind in traffic(account)],
        "bubble": bubble(account),
        "checkpoint_bytes": account.parameters * account.saved_width,
        "time": None if timing is None else _time_data(account, timing, source),
        "notes": list(account.notes),
    }


def _time_data(account: Account, timing: Timing, source: str | None) -> dict[str, Any]:
    return asdict(timing) | {
        "step": timing.step,
        "tokens_per_second": timing.tokens_per_second,
        "tflops_per_device": timing.tflops,
        "run": None if account.steps is None else account.steps * timing.step,
        "rates": source,
    }


def as_text(account: Account, timing: Timing | None, *, limit: float | None, name: str, source: str | None) -> str:
    """Tables, the most asked-for first."""
    sections = [
        _parameters(account),
        _memory(account, limit, name),
        _traffic(account),
        _time(account, timing, source),
        "\n".join(f"Note: {note}." for note in account.notes),
    ]
    return "\n\n".join(section for section in sections if section)


def _parameters(account: Account) -> str:
    flops = forward_flops(account.shape)
    parts = [(name, f"{count:,}") for name, count in account.parts.items() if count]
    rows = [*parts, ("total", f"{account.parameters:,}"), ("active", f"{account.active:,}")]
    work = [(name.replace("_", " "), f"{count / 1e9:,.3f}") for name, count in asdict(flops).items() if count]
    work += [("forward", f"{flops.total / 1e9:,.3f}"), ("training", f"{FORWARD_AND_BACKWARD * flops.total / 1e9:,.3f}")]
    return "\n\n".join((table(("parameters", ""), rows, right=(1,)), table(("GFLOP per token", ""), work, right=(1,))))


def _memory(account: Account, limit: float | None, name: str) -> str:
    header = ("GiB per GPU", *MEMORY, "total", "worst experts")
    rows = [
        (
            f"stage {number}",
            *(f"{getattr(stage, part) / GIB:.2f}" for part in MEMORY),
            f"{stage.total / GIB:.2f}",
            f"+{stage.worst_experts / GIB:.2f}" if stage.worst_experts else "",
        )
        for number, stage in enumerate(account.stages)
    ]
    lines = [_layout(account), table(header, rows, right=range(1, 8))]
    if limit is not None:
        worst = max(stage.total for stage in account.stages)
        verdict = "fits" if worst <= limit else "does not fit"
        lines.append(f"It {verdict}: {worst / GIB:.1f} GiB of {limit / GIB:.1f} GiB, nine tenths of {name}'s.")
    return "\n".join(lines)


def _layout(account: Account) -> str:
    split = account.split
    names = ("tensor", "pipeline", "virtual", "context", "expert", "data")
    sizes = " × ".join(f"{name} {getattr(split, name)}" for name in names if getattr(split, name) > 1) or "one process"
    batch = f"{account.global_batch} sequences of {account.shape.sequence:,} tokens a step"
    micro = f"{account.micro_batches} micro-batches of {account.micro_batch}"
    return f"Layout: {sizes}; {batch}, {micro}; recomputation: {account.recompute}."


def _traffic(account: Account) -> str:
    rows = [(kind.group, kind.what, str(kind.size), f"{kind.bytes / 1e9:,.3f}") for kind in traffic(account)]
    lines = [table(("communication", "", "devices", "GB a step"), rows, right=(2, 3))] if rows else []
    lines.append(f"Pipeline bubble: {bubble(account):.1%} of the busy time.")
    lines.append(f"Checkpoint: {account.parameters * account.saved_width / GIB:,.1f} GiB.")
    return "\n".join(lines)


def _time(account: Account, timing: Timing | None, source: str | None) -> str:
    if timing is None:
        return "Time: name an accelerator (--accelerator MI300X) or measured rates (--rates FILE)."
    names = ("compute", "recompute", "exchange", "bubble", "pipeline", "data")
    parts = ", ".join(f"{name} {getattr(timing, name):.3f}" for name in names if getattr(timing, name))
    lines = [
        f"Step: {timing.step:.3f} s ({parts}); {timing.tokens_per_second:,.0f} tokens/s, "
        f"{timing.tflops:,.0f} TFLOP/s per GPU.",
    ]
    if account.steps is not None:
        lines.append(f"Run of {account.steps:,} steps: {_duration(account.steps * timing.step)}.")
    return "\n".join([*lines, f"Rates: {source}."])


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.1f} days"


def search_data(found: Search, shown: int) -> dict[str, Any]:
    return {
        "tried": found.tried,
        "fitting": len(found.fitting),
        "best": [_found_data(each) for each in found.fitting[:shown]],
        "rejected": {reason: asdict(row) for reason, row in found.rejected.items()},
    }


def _found_data(each: Found) -> dict[str, Any]:
    return {
        "layout": asdict(each.arrangement.split),
        "micro_batch": each.arrangement.micro_batch,
        "recompute": each.arrangement.recompute,
        "memory": each.memory,
        "step": each.timing.step,
        "tokens_per_second": each.timing.tokens_per_second,
        "tflops_per_device": each.timing.tflops,
    }


def search_text(found: Search, shown: int, source: str) -> str:
    header = ("tp", "pp", "vp", "cp", "ep", "dp", "micro batch", "recompute", "GiB", "s/step", "tokens/s", "TFLOP/s")
    best = [
        (
            *(str(getattr(each.arrangement.split, name)) for name in _DEGREES),
            str(each.arrangement.micro_batch),
            each.arrangement.recompute,
            f"{each.memory / GIB:.0f}",
            f"{each.timing.step:.3f}",
            f"{each.timing.tokens_per_second:,.0f}",
            f"{each.timing.tflops:,.0f}",
        )
        for each in found.fitting[:shown]
    ]
    lines = [f"{len(found.fitting):,} of {found.tried:,} layouts fit, best first:" if best else "No layout fits."]
    lines += [table(header, best, right=(*range(7), *range(8, 12)))] if best else []
    rows = sorted(found.rejected.items(), key=lambda row: -row[1].count)
    if rows:
        cells = [(reason, f"{row.count:,}", row.example) for reason, row in rows]
        lines += ["", table(("rejected because", "", "for example"), cells, right=(1,))]
    return "\n".join([*lines, "", f"Rates: {source}."])


_DEGREES = ("tensor", "pipeline", "virtual", "context", "expert", "data")
