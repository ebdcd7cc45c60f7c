"""What a training will need: memory, traffic, time, and the layouts that fit. `primus estimate` shows it.

Pure arithmetic on what a backend says of an experiment (backends/account.py). docs/estimate.md has the formulas.
`primus.estimate(experiment)` is estimate() of call.py.
"""

from primus.callable import make_callable

make_callable(__name__)
