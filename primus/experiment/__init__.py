"""Experiment files: load, merge, explain, check. Knows no backend; a backend hands it a Schema."""

from primus.experiment.load import load
from primus.experiment.model import Experiment, Tree, Value
from primus.experiment.schema import Answer, Key, Schema

__all__ = ["Answer", "Experiment", "Key", "Schema", "Tree", "Value", "load"]
