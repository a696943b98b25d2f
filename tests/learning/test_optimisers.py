"""Every optimiser of the catalogue against PyTorch's, and the contract: in place, elementwise, pure."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.core.errors import UserMistake
from gradlab.learning.optimisers import registry

SHAPE = (3, 4, 5)
RATES = np.array([0.003, 0.02, 0.4])[:, None, None]


def optimiser(name, **table):
    return registry.build({"name": name, "rate": 0.01, **table}, "optimiser")


VARIANTS = {
    "sgd": [{}],
    "momentum": [{}, {"momentum": 0.5}, {"momentum": 0.0}],
    "nesterov": [{}, {"momentum": 0.4}],
    "rmsprop": [
        {},
        {"alpha": 0.9, "epsilon": 1e-4},
        {"momentum": 0.8},
        {"centered": True},
        {"centered": True, "momentum": 0.9, "alpha": 0.95},
    ],
    "adam": [{}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}, {"beta1": 0.0}],
}
ALL = [(name, table) for name in registry.names() for table in VARIANTS[name]]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(ALL)]


def gradients(updates, dtype="float64"):
    """Return gradients whose size wanders over many orders of magnitude from update to update."""
    stream = np.random.default_rng(0)
    sizes = 10.0 ** stream.uniform(-3, 3, (updates, *SHAPE))
    return (stream.standard_normal((updates, *SHAPE)) * sizes).astype(dtype)


def start(dtype="float64"):
    return np.random.default_rng(1).standard_normal(SHAPE).astype(dtype)


def run(entry, steps, rates=RATES, cases=slice(None), dtype="float64", scratch=True):
    """Return parameters and slots after each of `steps`; the gradient's own cases and the rates are cut."""
    parameter = start(dtype)[cases].copy()
    slots = tuple(np.zeros_like(parameter) for _ in entry.slots)
    room = np.full_like(parameter, np.nan) if scratch else None
    for k, gradient in enumerate(steps):
        entry.update(parameter, gradient[cases], slots, rates[cases].astype(dtype), k, room)
    return parameter, slots


@pytest.mark.parametrize(("name", "table"), ALL, ids=IDS)
def test_against_pytorch_over_a_hundred_updates(name, table):
    torch = pytest.importorskip("torch")
    steps, entry = gradients(100), optimiser(name, **table)
    parameter = start()
    slots = tuple(np.zeros_like(parameter) for _ in entry.slots)
    twins = [torch.tensor(p, requires_grad=True) for p in start()]
    peers = [twin_of(torch, entry, twin, float(r)) for twin, r in zip(twins, RATES.ravel(), strict=True)]
    for k, gradient in enumerate(steps):
        before = parameter.copy()
        entry.update(parameter, gradient, slots, RATES, k)
        moved = False
        for i, (twin, peer) in enumerate(zip(twins, peers, strict=True)):
            twin.grad = torch.tensor(gradient[i])
            peer.step()
            # Relative to the largest coordinate: one that passes through zero has few digits of its own.
            wanted = twin.detach().numpy()
            assert np.abs(parameter[i] - wanted).max() <= 1e-12 * np.abs(wanted).max(), (k, i)
            moved |= bool((parameter[i] != before[i]).all())
        assert moved


def twin_of(torch, entry, parameter, rate):
    """Return PyTorch's optimiser of the same settings."""
    if entry.name == "sgd":
        return torch.optim.SGD([parameter], lr=rate)
    if entry.name in ("momentum", "nesterov"):
        nesterov = entry.name == "nesterov"
        return torch.optim.SGD([parameter], lr=rate, momentum=entry.momentum, nesterov=nesterov)
    if entry.name == "rmsprop":
        settings = {"alpha": entry.alpha, "eps": entry.epsilon, "momentum": entry.momentum}
        return torch.optim.RMSprop([parameter], lr=rate, centered=entry.centered, **settings)
    betas = (entry.beta1, entry.beta2)
    return torch.optim.Adam([parameter], lr=rate, betas=betas, eps=entry.epsilon)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "table"), ALL, ids=IDS)
def test_a_case_does_not_depend_on_its_neighbours(name, table, dtype):
    entry, steps = optimiser(name, **table), gradients(20, dtype)
    together, slots = run(entry, steps, dtype=dtype)
    assert together.dtype == dtype
    assert all(slot.dtype == dtype for slot in slots)
    for i in range(SHAPE[0]):
        alone, own = run(entry, steps, cases=slice(i, i + 1), dtype=dtype)
        assert alone.tobytes() == together[i : i + 1].tobytes()
        assert all(a.tobytes() == b[i : i + 1].tobytes() for a, b in zip(own, slots, strict=True))


@pytest.mark.parametrize(("name", "table"), ALL, ids=IDS)
def test_gradients_are_left_alone_and_scratch_changes_nothing(name, table):
    entry, steps = optimiser(name, **table), gradients(5)
    kept = steps.copy()
    with_scratch, without = run(entry, steps), run(entry, steps, scratch=False)
    assert steps.tobytes() == kept.tobytes()
    assert with_scratch[0].tobytes() == without[0].tobytes()


@pytest.mark.parametrize(("name", "table"), ALL, ids=IDS)
def test_interrupted_and_continued_gives_the_same_bits(name, table):
    entry, steps = optimiser(name, **table), gradients(9)
    whole, _ = run(entry, steps)
    parameter, slots = run(entry, steps[:4])
    for k in range(4, 9):
        entry.update(parameter, steps[k], slots, RATES, k)
    assert parameter.tobytes() == whole.tobytes()


@pytest.mark.parametrize(("name", "table"), ALL, ids=IDS)
def test_dependence_on_the_unit_of_the_loss_is_as_claimed(name, table):
    """A loss in units 2^-20 as large: steps of a scale-free rule stay, apart from its epsilon."""
    tiny = {"epsilon": 1e-300} if "epsilon" in table or name in ("adam", "rmsprop") else {}
    entry, steps = optimiser(name, **{**table, **tiny}), gradients(10)
    moved = run(entry, steps)[0] - start()
    other = run(entry, steps * 2.0**20)[0] - start()
    expected = moved if entry.scale_free else moved * 2.0**20
    np.testing.assert_allclose(other, expected, rtol=1e-6, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("name", registry.names())
def test_all_descend_a_bowl(name):
    """From 1 in every coordinate of ``|p|^2 / 2``; the rate of each is one that suits it."""
    entry, parameter = optimiser(name), np.ones(SHAPE)
    slots = tuple(np.zeros_like(parameter) for _ in entry.slots)
    for k in range(400):
        entry.update(parameter, parameter.copy(), slots, 0.02, k)
    assert np.abs(parameter).max() < 0.05


def test_a_centred_average_of_a_constant_gradient_is_no_nan():
    """Rounding makes ``s - m^2`` negative there, whose root is NaN."""
    entry = optimiser("rmsprop", centered=True, alpha=0.5)
    parameter, constant = np.zeros((1, 1, 64)), np.linspace(0.1, 3.0, 64).reshape(1, 1, 64)
    slots = tuple(np.zeros_like(parameter) for _ in entry.slots)
    for k in range(200):
        entry.update(parameter, constant, slots, 1e-12, k)
    mean_square, mean, _ = slots
    assert (mean_square - mean**2 < 0).any()
    assert np.isfinite(parameter).all()


@pytest.mark.parametrize("rate", [0, -0.1, np.nan, np.inf, "fast", True], ids=repr)
@pytest.mark.parametrize("name", registry.names())
def test_bad_rates_are_the_users_mistake(name, rate):
    with pytest.raises(UserMistake, match=r"optimiser\.rate: expected a"):
        optimiser(name, rate=rate)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "sgd"}, r"optimiser\.rate: expected a value, got nothing"),
        ({"name": "momentum", "rate": 1, "momentum": 1}, r"optimiser\.momentum: .* below 1, got 1"),
        ({"name": "nesterov", "rate": 1, "momentum": 0}, r"optimiser\.momentum: .*use name = 'sgd'"),
        ({"name": "adam", "rate": 1, "beta1": 1.0}, r"optimiser\.beta1: .* below 1"),
        ({"name": "adam", "rate": 1, "epsilon": 0}, r"optimiser\.epsilon: .* above 0"),
        ({"name": "rmsprop", "rate": 1, "alpha": -0.1}, r"optimiser\.alpha: .* at least 0"),
        ({"name": "adamw", "rate": 1}, r"optimiser\.name: expected the name of a known optimiser.*'adam'"),
    ],
)
def test_bad_settings_are_the_users_mistake(table, message):
    with pytest.raises(UserMistake, match=message):
        registry.build(table, "optimiser")
