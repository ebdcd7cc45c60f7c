"""From a Job to processes: environment, network, this machine, containers, clusters. `primus.launch(experiment)` is
launch() of call.py."""

from primus.callable import make_callable

make_callable(__name__)
