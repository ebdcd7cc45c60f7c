"""Experiment files: load, merge, explain, check. Knows no backend; a backend hands it a Schema."""

from primus.experiment.check import check, resolve
from primus.experiment.dump import dump
from primus.experiment.load import load
from primus.experiment.model import Experiment, Tree, Value
from primus.experiment.schema import Answer, Key, Schema, read_schema, write_schema

__all__ = [
    "Answer",
    "Experiment",
    "Key",
    "Schema",
    "Tree",
    "Value",
    "check",
    "dump",
    "load",
    "read_schema",
    "resolve",
    "write_schema",
]
