"""Specs with several mistakes that have nothing to do with each other: all are told, once each."""

import dataclasses

import pytest

from gradlab.core.errors import UserMistake
from gradlab.core.gaps import GAP
from gradlab.experiment.sections import CATALOGUES
from gradlab.experiment.spec import Spec

T, L = "train", "landscape"
line = {"parameter": "weight_hh_l0", "entry": [0, 0], "start": -1.0, "stop": 1.0, "num": 5}
line2 = {"parameter": "bias_ih_l0", "entry": [0], "start": -1.0, "stop": 1.0, "num": 5}
SPECS = [
    (
        {
            "measure": T,
            "task": {"name": "adding", "length": 30},
            "training": {"carry_state": True},
            "sweep": {"training.optimiser.rate": [0.1, 0.2], "where": "rat < 1"},
        },
        {"sweep.where", "training.carry_state"},
    ),
    ({"clip": {"name": "unitwise", "threshold": -1, "floor": -1}}, {"clip.threshold", "clip.floor"}),
    (
        {
            "measure": T,
            "task": "adding",
            "training": {"optimiser": {"name": "sgd", "rate": -1}, "carry_state": True},
        },
        {"training.optimiser.rate", "training.carry_state"},
    ),
    (
        {
            "measure": T,
            "task": "adding",
            "training": {"optimiser": {"name": "adam", "beta1": 2.0, "epsilon": 0}, "updates": 0},
        },
        {
            "training.optimiser.rate",
            "training.optimiser.beta1",
            "training.optimiser.epsilon",
            "training.updates",
        },
    ),
    (
        {"sweep": {"network.spectrum.radius": [0.5, 0.5], "where": "radus < 1"}},
        {"sweep.network.spectrum.radius", "sweep.where"},
    ),
    (
        {
            "sweep": {
                "network.spectrum.radius": [0.5, 0.6],
                "task.length": [5, 6],
                "where": "radus < 1 and lenght > 5",
            }
        },
        {"sweep.where"},
    ),
    (
        {
            "learner": {"name": "truncated", "window": 0, "every": 5},
            "task": {"name": "noise", "length": -5, "at": [150]},
        },
        {"learner.window", "task.length"},
    ),
    (
        {"learner": {"name": "truncated", "every": 0}, "clip": {"name": "adjoint_norm", "threshold": 0}},
        {"learner.window", "learner.every", "clip.threshold", "clip"},
    ),
    (
        {
            "measure": T,
            "learner": {"name": "kalman", "groups": "al", "process_noise": -1},
            "clip": {"name": "norm", "threshold": 1.0},
            "task": "symbols",
        },
        {"learner.groups", "learner.process_noise", "clip", "task.loss"},
    ),
    (
        {"network": {"hiden": 3, "spectrum": {"name": "ginibre", "radus": 1.0}, "activation": "tanhh"}},
        {"network.hiden", "network.spectrum.radus", "network.activation"},
    ),
    (
        {
            "network": {
                "hidden": 4,
                "spectrum": {"name": "sparse", "connections": 9, "radius": 1.0},
                "activation": "tanhh",
            }
        },
        {"network.spectrum.connections", "network.activation"},
    ),
    (
        {"clip": {"name": "norm", "treshold": 1.0}, "task": {"name": "noise", "batch": 0}},
        {"clip.treshold", "task.batch"},
    ),
    (
        {
            "seed": -1,
            "network": {"spectrum": {"name": "ginibre", "radius": float("nan")}, "hiden": 3},
            "titel": "x",
        },
        {"seed", "network.spectrum.radius", "network.hiden", "titel"},
    ),
    (
        {
            "measure": L,
            "landscape": {
                "first": {**line, "start": "a"},
                "second": {**line, "num": 1},
                "rate": -1,
                "begin": [1],
            },
        },
        {
            "landscape.first.start",
            "landscape.second.num",
            "landscape.rate",
            "landscape.begin",
            "landscape.second",
        },
    ),
    (
        {
            "measure": L,
            "landscape": {"first": {**line, "strt": 1}, "second": {**line2, "entry": [999]}, "updates": -1},
        },
        {"landscape.first.strt", "landscape.second.entry", "landscape.updates"},
    ),
    (
        {
            "measure": L,
            "network": {"activation": "tan", "hidden": 4},
            "landscape": {"first": {**line, "entry": [9, 9]}, "second": {"start": 1}},
        },
        {"network.activation", "landscape.first.entry", "landscape.second", "landscape.second.stop"},
    ),
    (
        {
            "measure": L,
            "training": {},
            "task": {"name": "noise", "length": 0},
            "clip": "norm",
            "landscape": {"first": line, "second": line2, "rat": 1},
        },
        {"training", "task.length", "clip.threshold", "landscape.rat"},
    ),
    (
        {
            "measure": "trian",
            "training": {"updates": 0},
            "clip": "nor",
            "task": {"name": "noise", "lenght": 3},
        },
        {"measure", "training.updates", "clip.name", "task.lenght"},
    ),
    (
        {
            "measure": T,
            "training": {
                "schedule": {"name": "step", "every": 0, "decay": 2},
                "omega": -1,
                "spacing": "lin",
                "upates": 3,
            },
        },
        {
            "training.schedule.every",
            "training.schedule.decay",
            "training.omega",
            "training.spacing",
            "training.upates",
        },
    ),
    (
        {
            "measure": T,
            "training": {"schedule": {"name": "cosine", "span": 5}, "records": 0, "stop_when_solved": True},
        },
        {"training.schedule.span", "training.records", "training.stop_when_solved"},
    ),
    (
        {
            "measure": T,
            "task": {"name": "adding", "length": 1, "variant": "hoch"},
            "network": {"output": "softmax", "bidirectional": True},
            "training": {"carry_state": True, "omega": 0.1},
        },
        {"task.variant", "training.carry_state", "network.bidirectional", "network.output", "training.omega"},
    ),
    (
        {"task": {"name": "series", "column": "x", "held_out": 2, "at": "evry"}},
        {"task.file", "task.held_out", "task.at"},
    ),
    (
        {"task": {"name": "characters", "file": "/nonexistent", "held_out": 2, "length": 0, "loss": "mse"}},
        {"task.file", "task.held_out", "task.length", "task.loss"},
    ),
    (
        {
            "task": {
                "name": "given",
                "inputs_given": [[1.0]],
                "features": 2,
                "targets_given": [["a"]],
                "loss": "cross_entropy",
            }
        },
        {"task.inputs_given", "task.loss"},
    ),
    (
        {
            "network": {"input": {"name": "given", "values": [[1.0, 2.0]]}, "hidden": 3, "activation": "x"},
            "task": {"name": "noise", "features": 4, "batch": 0},
        },
        {"network.input", "network.activation", "task.batch"},
    ),
    (
        {
            "sweep": {
                "task.length": [],
                "network.hidden": {"start": 1, "stop": "x", "num": 0},
                "clip.threshold": [1.0],
                "zip": [["task.length", "network.hiden"]],
                "rename": {"task.lenght": "T"},
                "where": "foo<1",
            }
        },
        {
            "sweep.task.length",
            "sweep.network.hidden.stop",
            "sweep.network.hidden.num",
            "sweep.zip",
            "sweep.rename.task.lenght",
            "sweep.where",
            "clip.threshold",
        },
    ),
    (
        {"sweep": [{"task.length": [5]}, {"clip.threshold": [1.0]}], "network": {"hidden": 0}},
        {"network.hidden", "clip.threshold"},
    ),
    (
        {
            "sweep": {"network.input.gain": [1], "network.readout.gain": [-1], "where": "gain < 1"},
            "learner": "rtrl",
            "clip": {"name": "per_sample", "threshold": 1},
        },
        {"sweep.network.readout.gain", "network.readout.gain", "clip"},
    ),
    (
        {
            "sweep": {"task.length": [5], "rename": {"task.length": "loss"}, "where": "los < 1"},
            "network": {"cell": {"name": "clockwork", "periods": [4, 2]}, "hidden": 7},
        },
        {"sweep.task.length", "sweep.where", "network.cell.periods"},
    ),
    (
        {"record": ["los", "path"], "sweep": {"task.lenght": [5], "task.batch": [0, 1]}, "memory": "x"},
        {"record", "task.lenght", "task.batch", "memory"},
    ),
    (
        {
            "network": {
                "cell": "lstm",
                "spectrum": {"input_gate": {"name": "ginibre", "radius": -1}, "forgt_gate": "ginibre"},
                "layers": 0,
            },
            "learner": {"name": "rtl"},
        },
        {
            "network.spectrum.input_gate.radius",
            "network.spectrum.forgt_gate",
            "network.spectrum.candidate",
            "network.spectrum.output_gate",
            "network.layers",
            "learner.name",
        },
    ),
    (
        {"sweep": {"clp.threshold": [1.0], "network.spectrum": ["ginibre"]}, "clip": "norm", "replicates": 0},
        {"sweep.clp.threshold", "network.spectrum.radius", "replicates"},
    ),
    (
        {
            "sweep": [
                {"task.length": [5], "task.batch": [1], "zip": [["task.length", "task.batch"]]},
                {"task.length": [6], "clip": ["of"]},
            ],
            "network": {"hidden": 0},
        },
        {"sweep[1].zip", "network.hidden", "clip"},
    ),
    (
        {"clip": [float("nan")], "sweep": {"network.bias.value": [0.0, float("nan")], "task.length": [0]}},
        {"clip", "clip[0]", "sweep.network.bias.value[1]", "task.length"},
    ),
    (
        {"task": {"name": "noise", "at": [5, 5], "loss": "ms", "features": 0}},
        {"task.at", "task.loss", "task.features"},
    ),
    (
        {
            "network": {"spectrum": {"name": "ginibre", "radius": -1, "gain": 1.0}},
            "measure": "probe",
            "learner": "kalman",
        },
        {"network.spectrum.radius", "network.spectrum.gain", "learner"},
    ),
    (
        {
            "network": {"hidden": 3, "cell": "lstm", "bias": {"name": "given", "values": [[1.0], [2.0]]}},
            "task": {
                "name": "given",
                "features": 1,
                "outputs": 1,
                "length": 2,
                "inputs_given": [[1.0], [[2.0], 0.0]],
                "targets_given": [[0.0], {"name": "norm", "threshold": -1}],
            },
        },
        {"task.inputs_given", "network.bias"},
    ),
    (
        {
            "measure": "train",
            "network": {"spectrum": {"name": "orthogonal", "radius": "x"}},
            "task": {"name": "sentiment"},
            "training": {"updates": 1.0},
        },
        {"network.spectrum.radius"},
    ),
    (
        {"sweep": [float("inf"), {"task.length": [5, 0]}], "network": {"hidden": 0}},
        {"sweep[0]", "task.length", "network.hidden"},
    ),
]


@pytest.mark.parametrize(("table", "places"), SPECS)
def test_every_mistake_is_told_at_once_and_none_that_only_follows(table, places):
    with pytest.raises(UserMistake) as caught:
        Spec.from_dict(table)
    told = [problem.where for problem in caught.value.problems]
    assert set(told) == places
    assert len(set(caught.value.problems)) == len(told)
    assert GAP not in {problem.got for problem in caught.value.problems}


# What stands in the place of a setting that is to be refused; the first one that is, is taken.
ODD = (-1, 0, 2.5, 1e9, "?", [], [-1], [[1, "a"]])


def refused_alone(catalogue, table, key):
    """Return a value of a setting that is refused for itself, if there is one."""
    for value in ODD:
        try:
            catalogue.build({**table, key: value}, "x")
        except UserMistake as mistake:
            if f"x.{key}" in {problem.where for problem in mistake.problems}:
                return value
    return None


ENTRIES = [
    pytest.param(catalogue, entry, id=f"{section}-{entry.name}")
    for section, catalogue in CATALOGUES.items()
    if section not in ("network.bias", "network.readout")
    for entry in catalogue
]


@pytest.mark.parametrize(("catalogue", "entry"), ENTRIES)
def test_a_setting_that_is_refused_hides_no_other_of_the_same_table(catalogue, entry):
    keys = [field.name for field in dataclasses.fields(entry) if field.init]
    wrong = {key: refused_alone(catalogue, {"name": entry.name}, key) for key in keys}
    wrong = {key: value for key, value in wrong.items() if value is not None}
    if not wrong:
        return
    with pytest.raises(UserMistake) as caught:
        catalogue.build({"name": entry.name, **wrong}, "x")
    told = [problem.where for problem in caught.value.problems]
    assert {f"x.{key}" for key in wrong} <= set(told)
    assert len(set(told)) == len(told)
