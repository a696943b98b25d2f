"""Every schedule of the catalogue keeps the contract, and agrees with its twin in PyTorch."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gradlab.core.errors import UserMistake
from gradlab.learning.schedules import registry

SETTINGS = {"step": {"every": 7, "decay": 0.5}, "inverse_time": {"half_life": 20.0}}


def schedule(name, **table):
    return registry.build({"name": name, **table}, "schedule")


@pytest.fixture(params=registry.names())
def entry(request):
    return schedule(request.param, **SETTINGS.get(request.param, {}))


def test_factors_begin_at_one_and_only_fall(entry):
    factors = [entry.factor(k, 100) for k in range(100)]
    assert factors[0] == 1.0
    assert all(a >= b > 0 for a, b in pairwise(factors))
    assert entry.name == "constant" or factors[-1] < 1.0


def test_dependence_on_the_length_is_as_claimed(entry):
    same = [entry.factor(k, 100) for k in range(50)] == [entry.factor(k, 50) for k in range(50)]
    assert same != entry.depends_on_length


def test_a_run_of_its_own_length_is_accepted(entry):
    for updates in (1, 2, 100, 1000):
        entry.check_updates(updates, "schedule")


@pytest.mark.parametrize("name", ["step", "cosine", "inverse_time", "constant"])
def test_against_pytorch(name):
    torch = pytest.importorskip("torch")
    from torch.optim import lr_scheduler

    updates = 90
    ours, twin = {
        "constant": (schedule("constant"), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        "step": (schedule("step", every=7, decay=0.3), lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3)),
        "cosine": (
            schedule("cosine", floor=0.01),
            lambda o: lr_scheduler.CosineAnnealingLR(o, updates, eta_min=0.01 * 0.25),
        ),
        "inverse_time": (
            schedule("inverse_time", half_life=8.0),
            lambda o: lr_scheduler.LambdaLR(o, lambda k: 1.0 / (1.0 + 0.125 * k)),
        ),
    }[name]
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.25)
    scheduler = twin(optimiser)
    for k in range(updates):
        rate = optimiser.param_groups[0]["lr"]
        assert 0.25 * ours.factor(k, updates) == pytest.approx(rate, rel=1e-11, abs=0)
        optimiser.step()
        scheduler.step()


def test_inverse_time_halves_after_its_half_life():
    assert schedule("inverse_time", half_life=30).factor(30, 31) == 0.5
    assert schedule("inverse_time", half_life=30).factor(60, 61) == pytest.approx(1 / 3, rel=1e-15)


def test_a_span_that_ends_before_the_run_is_refused():
    entry = schedule("cosine", span=99)
    entry.check_updates(99, "schedule")
    with pytest.raises(
        UserMistake, match=r"schedule\.span: expected at least the 100 updates of the run, got 99"
    ):
        entry.check_updates(100, "schedule")


def test_a_rate_that_reaches_zero_before_the_run_ends_is_refused():
    """0.1 ** 324 is zero in floating point: the updates after it would change nothing."""
    entry = schedule("step", every=2, decay=0.1)
    entry.check_updates(600, "schedule")
    first = next(k for k in range(700) if entry.factor(k, 700) == 0)
    with pytest.raises(
        UserMistake, match=rf"lasts for all 700 updates, got 'step', .* zero from update {first} on"
    ):
        entry.check_updates(700, "schedule")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "step"}, r"schedule\.every: expected a value"),
        ({"name": "step", "every": 0}, r"schedule\.every: expected an integer of at least 1"),
        ({"name": "step", "every": 3, "decay": 1.0}, r"schedule\.decay: .*above 0 and below 1"),
        ({"name": "inverse_time", "half_life": -1}, r"schedule\.half_life: .*above 0"),
        ({"name": "cosine", "floor": 1}, r"schedule\.floor: .*below 1"),
        ({"name": "cosine", "span": 0}, r"schedule\.span: .*at least 1"),
        ({"name": "cosin"}, r"schedule\.name: expected the name of a known schedule.*'cosine'"),
    ],
)
def test_bad_settings_are_the_users_mistake(table, message):
    with pytest.raises(UserMistake, match=message):
        registry.build(table, "schedule")
