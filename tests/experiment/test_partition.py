"""Parts of a sweep for several machines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.experiment.grid import expand
from gradlab.experiment.partition import cases_of, parse_partition
from gradlab.experiment.plan import make_plan
from gradlab.experiment.spec import Spec

TABLE = {
    "replicates": 3,
    "network": {"hidden": 3},
    "sweep": {
        "network.spectrum.radius": [0.5, 1.0, 1.5],
        "task.length": [4, 9],
        "network.cell": ["elman", "lstm"],
        "where": "radius < 1.2 or length == 4",
    },
}


@given(count=st.integers(1, 60))
def test_parts_are_disjoint_cover_all_and_weigh_about_the_same(count):
    plan = make_plan(expand(Spec.from_dict(TABLE)))
    parts = [cases_of(plan, (part, count)) for part in range(1, count + 1)]
    every = np.zeros(plan.grid.shape, dtype=int)
    every[tuple(plan.grid.points.T)] = 1
    assert (np.sum(parts, axis=0) == every).all()
    if count <= 4:
        sizes = [part.sum() for part in parts]
        assert max(sizes) <= 3 * min(sizes)


def test_they_do_not_depend_on_the_machine():
    one, two = (make_plan(expand(Spec.from_dict(TABLE))) for _ in range(2))
    assert (cases_of(one, (2, 5)) == cases_of(two, (2, 5))).all()


@pytest.mark.parametrize(("text", "meant"), [("1/1", (1, 1)), ("3/16", (3, 16)), (" 4 / 4 ", (4, 4))])
def test_texts(text, meant):
    assert parse_partition(text) == meant


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "a/b", "", "3", "1/0", "-1/4", "1/4/5", "1.5/4", "1/9999999", None, 3]
)
def test_what_is_no_partition(text):
    with pytest.raises(UserMistake, match="--partition: expected which part of how many, as in 3/16"):
        parse_partition(text, "--partition")
