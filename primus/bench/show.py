"""The results as a table with bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from primus.bench.measure import Result, best
from primus.table import table

_WIDTH = 24
"""Characters of the longest bar."""

_EIGHTHS = " ▏▎▍▌▋▊▉"


def as_text(results: Sequence[Result]) -> str:
    """A row for each point, the fastest one marked; below, why others were not measured."""
    fastest = best(list(results))
    top = fastest.tokens_per_second if fastest and fastest.tokens_per_second else 1.0
    header = ("setting", "tokens/s", "spread", "step", "memory", "")
    rows = [_row(each, top, marked=each is fastest) for each in results]
    reasons = [f"{' '.join(each.point)}: {each.reason}" for each in results if each.reason]
    return "\n".join([table(header, rows, right=(1, 2, 3, 4)), *(["", *reasons] if reasons else [])])


def _row(result: Result, top: float, *, marked: bool) -> tuple[str, ...]:
    setting = " ".join(result.point)
    if result.tokens_per_second is None or result.spread is None or result.step_time is None:
        return (setting, "–", "", "", "", result.state)
    memory = "" if result.memory_gib is None else f"{result.memory_gib:.3g} GiB"
    rate, spread, step = f"{result.tokens_per_second:,.0f}", f"±{result.spread:.1%}", f"{result.step_time:.3f} s"
    return (setting, rate, spread, step, memory, bar(result.tokens_per_second / top) + (" best" if marked else ""))


def bar(part: float) -> str:
    """A bar that is so long a part of the longest."""
    whole, eighths = divmod(round(part * _WIDTH * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()
