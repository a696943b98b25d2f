"""A sweep of all sorts of cases, and running it without an archive."""

from gradlab.experiment.grid import expand
from gradlab.experiment.plan import make_plan
from gradlab.experiment.runner import execute
from gradlab.experiment.sink import MemorySink
from gradlab.experiment.spec import Spec

TABLE = {
    "replicates": 3,
    "network": {"hidden": 3, "activation": "identity"},
    "task": {"name": "noise", "features": 2, "batch": 2, "length": 9},
    "sweep": [
        {
            "network.spectrum.radius": [0.5, 1.0, 40.0],
            "task.length": [4, 9, 250],
            "clip": ["off", {"name": "norm", "threshold": 0.1}, {"name": "adjoint_value", "threshold": 0.1}],
            "where": "radius < 2 or length != 9",
        },
        {"network.cell": ["elman", "lstm"]},
    ],
}


def plan_of(table=TABLE):
    return make_plan(expand(Spec.from_dict(table)))


def run(plan, sink=None, **options):
    sink = MemorySink(plan) if sink is None else sink
    outcome = execute(plan, sink, **options)
    return sink, outcome
