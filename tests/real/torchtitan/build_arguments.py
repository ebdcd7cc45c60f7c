"""Builds JobConfig and the models' arguments from the values on the command line, and prints what they hold. Run by
test_keys_reach.py in a process that has the CPU adapter."""

import dataclasses
import json
import sys
from pathlib import Path

from torchtitan.protocols.train_spec import get_train_spec

from primus.backends.torchtitan.job_config import Folders, job_config
from primus.backends.torchtitan.model import custom_arguments


class Experiment:
    """Only what job_config() asks of an experiment."""

    def __init__(self, values):
        self.values = nested(values)

    def plain(self):
        return self.values


def nested(values):
    tree = {}
    for name, value in values.items():
        *sections, leaf = name.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return tree


def held(owner, names):
    """The fields of these dotted names."""
    found = {}
    for name in names:
        node = owner
        for part in name.split("."):
            node = getattr(node, part)
        found[name] = node
    return found


def main(values, sizes):
    folders = Folders(run=Path("/run"), checkpoints=Path("/checkpoints"), assets=Path("/assets"))
    config = job_config(Experiment(values), folders)
    assert dataclasses.is_dataclass(config)
    assert (config.job.dump_folder, config.checkpoint.folder) == ("/run", "/checkpoints")
    arguments = {name: custom_arguments(get_train_spec(name), nested(given)) for name, given in sizes.items()}
    print(json.dumps([held(config, values), {name: held(arguments[name], given) for name, given in sizes.items()}]))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
