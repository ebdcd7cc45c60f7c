"""Stage 2 of tuning: every shape of a training run over all GPUs of this machine. `primus tune` calls run()."""

from __future__ import annotations

from primus.tuning.tune.request import DEFAULT_TIME_LIMIT, DEFAULT_WORKSPACE, RESULTS_NAME, Outcome, TuneRequest

__all__ = ["DEFAULT_TIME_LIMIT", "DEFAULT_WORKSPACE", "RESULTS_NAME", "Outcome", "TuneRequest", "run"]


def run(request: TuneRequest) -> Outcome:
    """Tune, with progress on stderr. Raises PrimusError for what can't even begin; the outcome has later failures."""
    from primus.tuning.tune.tuner import Tuner

    return Tuner(request).run()
