"""Sends reports to metrics services as a worker does. Run by test_sinks.py: argv[1] says what, as JSON."""

import json
import sys
from pathlib import Path

from primus.metrics.settings import MetricsSettings
from primus.metrics.sinks import RunFacts, open_sinks
from primus.run import RunDirectory

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    run_dir = RunDirectory(folder / "runs" / asked["run"])
    run_dir.create({})
    facts = RunFacts(experiment="llama", folder=folder, config={"optimizer": {"lr": 1e-3}, "name": "llama"})
    sinks = open_sinks(
        MetricsSettings(**asked["settings"]), run_dir, facts, lambda text: print(f"Warning: {text}", flush=True)
    )
    for record in asked["records"]:
        sinks.record({name: float(value) for name, value in record.items()})
    sinks.close(asked["state"])
