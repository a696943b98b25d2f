"""The section `learner`: built, swept, labelled, found again; its usual value changes no key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from gradlab.core.checks import integer
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.streams import digest
from gradlab.experiment.grid import expand
from gradlab.experiment.plan import make_plan
from gradlab.experiment.sections import identity
from gradlab.experiment.spec import Spec, with_settings
from gradlab.learning.learners import AbstractLearner, registry
from gradlab.learning.learners.bptt import Bptt
from gradlab.measure.records import OF_LEARNER, ON_REQUEST
from gradlab.running import attributes

SMALL = {"network": {"hidden": 3}, "task": {"name": "noise", "length": 5}}


@dataclass(frozen=True)
class Halting(AbstractLearner):
    """Stop going back after some time steps; for networks of up to 16 units."""

    name: ClassVar[str] = "halting"
    online: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    cells: ClassVar[str] = "small ones"

    steps: int

    def __post_init__(self):
        integer("steps", self.steps, at_least=1)

    def check_network(self, network, where):
        if network.hidden > 16:
            raise UserMistake(Problem(where, "a network of at most 16 units", str(network.hidden)))


@pytest.fixture(autouse=True)
def halting(monkeypatch):
    registry.names()
    monkeypatch.setitem(registry._entries, "halting", Halting)


def spec_of(**table):
    return Spec.from_dict({**SMALL, **table})


def grid_of(**table):
    return expand(spec_of(**table))


def mistake(**table):
    with pytest.raises(UserMistake) as caught:
        spec_of(**table)
    return str(caught.value)


@pytest.mark.parametrize("entry", list(registry), ids=lambda entry: entry.name)
def test_every_learner_makes_its_claims(entry):
    assert issubclass(entry, AbstractLearner)
    for claim in (entry.online, entry.stochastic, entry.exact):
        assert type(claim) is bool
    assert entry.cells
    assert not (entry.exact and entry.stochastic)


def test_full_back_propagation_is_the_default():
    grid = grid_of()
    assert grid.learners == (Bptt(),)
    assert grid.index("learner").tolist() == [0]
    assert spec_of().learner == {"name": "bptt"}
    assert spec_of().to_dict()["learner"] == {"name": "bptt"}
    assert grid.settings(0, 0)["learner"] == {"name": "bptt"}
    assert spec_of(learner="bptt") == spec_of(learner={"name": "bptt"}) == spec_of()


def test_a_name_or_a_table():
    assert grid_of(learner={"name": "halting", "steps": 7}).learners == (Halting(7),)
    assert grid_of(learner={"name": "halting", "steps": 7}).settings(0, 0)["learner"] == {
        "name": "halting",
        "steps": 7,
    }
    assert "learner.name: expected the name of a known learner, got 'bpt'. Did you mean 'bptt'?" in mistake(
        learner="bpt"
    )
    assert "learner.steps: expected a value, got nothing" in mistake(learner="halting")
    assert "learner.steps" in mistake(learner={"name": "halting", "steps": 0})


LEARNERS = ["bptt", {"name": "halting", "steps": 2}, {"name": "halting", "steps": 3}]


def test_an_axis_of_learners_has_labels_and_is_found():
    grid = grid_of(sweep={"task.length": [5, 9], "learner": LEARNERS}, replicates=2)
    assert grid.shape == (2, 3, 2)
    axis = grid.axes[1]
    assert axis.name == "learner"
    assert axis.coordinates["learner"].tolist() == ["bptt", "halting(2)", "halting(3)"]
    assert [grid.learners[i] for i in grid.index("learner")[:3]] == [Bptt(), Halting(2), Halting(3)]
    for label in ("halting(3)", {"name": "halting", "steps": 3}):
        row, replicate = grid.find(length=9, learner=label, replicate=1)
        assert (grid.learners[grid.index("learner")[row]], replicate) == (Halting(3), 1)
    filtered = grid_of(sweep={"learner": LEARNERS, "where": "learner != 'bptt'"})
    assert len(filtered.points) == 2


def test_a_setting_of_a_learner_is_an_axis():
    grid = grid_of(learner={"name": "halting", "steps": 1}, sweep={"learner.steps": [2, 5]})
    assert grid.axes[0].coordinates["steps"].tolist() == [2, 5]
    assert grid.learners == (Halting(2), Halting(5))
    changed = with_settings(spec_of(), ["learner.name=halting", "learner.steps=4"])
    assert expand(changed).learners == (Halting(4),)


def test_a_learner_that_does_not_fit_its_network_is_refused_before_anything_runs():
    wide = {"hidden": 17}
    assert "learner: expected a network of at most 16 units, got 17" in mistake(
        network=wide, learner={"name": "halting", "steps": 2}
    )
    assert "at most 16 units" in mistake(sweep={"network.hidden": [16, 17], "learner": LEARNERS})
    spec_of(
        sweep={"network.hidden": [16, 17], "learner": LEARNERS, "where": "hidden < 17 or learner == 'bptt'"}
    )
    spec_of(network=wide)


def test_every_problem_is_told_at_once():
    told = mistake(learner="bpt", clip="of", task={"name": "noise", "length": 0})
    assert "learner.name:" in told
    assert "clip.name:" in told
    assert "task.length:" in told


def test_keys_are_those_of_before_there_were_learners():
    grid = grid_of(seed=5, replicates=2, sweep={"learner": LEARNERS})
    parts = zip(("network", "task", "clip"), (grid.networks, grid.tasks, grid.clips), strict=True)
    network, task, clip = (digest(identity(section, settings[0])) for section, settings in parts)
    before = [
        hashlib.sha256(f"probe {network} {task} {clip} 5 {r}".encode()).hexdigest()[:32] for r in range(2)
    ]
    keys = grid.settings_keys()
    assert keys[0].tolist() == before
    assert len(set(keys.ravel().tolist())) == keys.size == 6
    alone = grid_of(seed=5, replicates=2, learner={"name": "halting", "steps": 3}).settings_keys()
    assert alone.tolist() == keys[2:].tolist()


def test_keys_of_old_archives_are_what_they_were():
    """Two keys that the first release gave."""
    table = {"replicates": 3, "network": {"hidden": 4}, "task": {"name": "noise", "length": 30}}
    sweep = {
        "network.spectrum.radius": {"start": 0.5, "stop": 1.5, "num": 11},
        "network.activation": ["tanh", "relu"],
    }
    keys = expand(Spec.from_dict({**table, "sweep": sweep})).settings_keys()
    assert keys[0, 0] == "966e08eb18102afffbba649564999159"
    assert keys[0, 2] == "422f15dc6317b0c8ba38e8f78a9a41fa"
    deep = {**table, "network": {"hidden": 4, "layers": 2}}
    assert not np.isin(expand(Spec.from_dict({**deep, "sweep": sweep})).settings_keys(), keys).any()


def test_records_that_compare_learners_need_another_one():
    usual = make_plan(grid_of())
    assert not set(usual.record) & (OF_LEARNER | ON_REQUEST)
    other = make_plan(grid_of(sweep={"learner": LEARNERS}))
    assert set(other.record) - set(usual.record) == OF_LEARNER
    asked = make_plan(grid_of(record=["cosine_to_bptt", "log10_credit_norm"]))
    assert asked.record == ("log10_credit_norm", "cosine_to_bptt")


def test_attributes_name_a_learner_that_is_not_the_usual_one():
    assert "learner" not in attributes(grid_of())
    assert attributes(grid_of(learner={"name": "halting", "steps": 2}))["learner"] == "halting"
    assert "learner" not in attributes(grid_of(sweep={"learner": LEARNERS}))


def test_the_json_schema_knows_learners():
    entry = Spec.model_json_schema()["properties"]["learner"]
    assert "bptt" in entry["anyOf"][0]["enum"]
