"""Catalogues load what is asked for, and all of it where all is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gradlab.core.errors import UserMistake
from gradlab.experiment import measures
from gradlab.learning import clipping, learners, optimisers, schedules
from gradlab.network import activations, cells, initialisers, spectra
from gradlab.tasks import losses
from gradlab.tasks import registry as tasks

CATALOGUES = [
    *(package.registry for package in (clipping, learners, optimisers, schedules, losses)),
    *(package.registry for package in (activations, cells, initialisers, spectra)),
    tasks,
    measures._base.registry,
]


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda catalogue: catalogue.kind)
def test_every_entry_stands_in_the_module_of_its_name(catalogue):
    for entry in catalogue:
        assert entry.__module__.rpartition(".")[2] == entry.name


def test_an_entry_is_had_without_loading_the_others():
    code = (
        "import sys; from gradlab.network.activations import registry;"
        "assert registry.get('relu').name == 'relu'; own = 'gradlab.network.activations.gelu';"
        "assert own not in sys.modules; assert 'gelu' in registry.names(); assert own in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["_base", "os.path", "no_such", "", "__init__", 3, None, ["tanh"]])
def test_what_is_no_entry_is_none_whatever_module_it_names(name):
    with pytest.raises(UserMistake, match="the name of a known activation"):
        activations.registry.get(name)


def test_a_module_that_is_no_entry_is_none():
    with pytest.raises(UserMistake, match="the name of a known task"):
        tasks.get("losses")


def test_what_does_not_fit_hides_nothing_else_that_does_not():
    table = {"name": "adam", "rate": 0.1, "beta1": 2.0, "beta2": -1.0, "epsilon": 0.0}
    with pytest.raises(UserMistake) as raised:
        optimisers.registry.build(table, "optimiser")
    wrong = [problem.where for problem in raised.value.problems]
    assert wrong == ["optimiser.beta1", "optimiser.beta2", "optimiser.epsilon"]


def test_nobody_is_told_of_defaults_that_stand_in_for_what_did_not_fit():
    table = {"name": "sparse", "radius": -1.0, "connections": 0}
    with pytest.raises(UserMistake) as raised:
        spectra.registry.build(table, "spectrum")
    assert {problem.where for problem in raised.value.problems} <= {"spectrum.radius", "spectrum.connections"}
