"""The norm-preserving regulariser against autograd with its stop-gradients, and where its value is known."""

from __future__ import annotations

import autograd
import autograd.numpy as anp
import numpy as np
import oracles
import pytest
from engine import case_of, network, task

from gradlab.core.errors import UserMistake
from gradlab.learning.regulariser import check_omega, omega, omega_at


def parts(activation="tanh", batch=3, length=7, seed=0, **table):
    """Return ``phi'(x_k)``, ``d_{k+1}``, each (time, hidden, batch), and W, of a drawn case."""
    spectrum = {"name": "ginibre", "gain": 1.3}
    net = network(hidden=5, activation=activation, spectrum=spectrum, **table)
    case = case_of(
        net, task("noise", length=length, batch=batch, features=2, outputs=2, at="every"), seed=seed
    )
    problem, parameters = oracles.problem_of(case)
    _, _, by_nudge = oracles.reverse_mode(problem, parameters)
    nudges = oracles._zero_nudges(problem, parameters)
    _, _, met = oracles.simulate(np, problem, parameters, nudges)
    phi = oracles.ACTIVATIONS[activation][0]
    slope = autograd.elementwise_grad(lambda z: phi(anp, z))
    derivatives = np.stack([slope(arguments[0][1]) for arguments in met])
    return derivatives[:-1], by_nudge["z"][1:] * batch, parameters["W"]


def written_out(W, derivatives, adjoints, floor=1e-20):
    """Return Omega of one case, sample by sample and step by step, as the equation has it."""
    total, batch = 0.0, adjoints.shape[-1]
    for D, d in zip(derivatives, adjoints, strict=True):
        for b in range(batch):
            if (d[:, b] ** 2).sum() < floor:
                continue
            back = anp.dot(d[:, b], anp.dot(W, np.diag(D[:, b])))
            total = total + (anp.sum(back**2) / (d[:, b] ** 2).sum() - 1.0) ** 2 / batch
    return total


def stacked(derivatives, adjoints, W, cases=1):
    """Return the arguments of `omega` for as many equal cases."""
    shape = (len(derivatives), cases, *derivatives.shape[1:])
    repeated = (np.broadcast_to(x[:, None], shape).copy() for x in (derivatives, adjoints))
    return *repeated, np.broadcast_to(W, (cases, *W.shape)).copy()


@pytest.mark.parametrize("activation", ["tanh", "logistic", "identity", "relu"])
def test_value_and_immediate_derivative(activation):
    derivatives, adjoints, W = parts(activation)
    got = omega(*stacked(derivatives, adjoints, W))
    value, gradient = autograd.value_and_grad(written_out)(W, derivatives, adjoints)
    np.testing.assert_allclose(got.value[0], value, rtol=1e-12, atol=0)
    np.testing.assert_allclose(got.gradient[0], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    assert got.counted[0] == len(derivatives)
    assert np.abs(gradient).max() > 1e-3


def test_only_the_immediate_derivative_counts():
    """The whole derivative of Omega by W, through states and adjoints too, is another one."""
    derivatives, adjoints, W = parts(length=4)
    ours = omega(*stacked(derivatives, adjoints, W)).gradient[0]
    direction = np.random.default_rng(0).standard_normal(W.shape)
    case = case_of(
        network(hidden=5, spectrum={"name": "ginibre", "gain": 1.3}),
        task("noise", length=4, batch=3, features=2, outputs=2, at="every"),
    )
    problem, parameters = oracles.problem_of(case)

    def value(step):
        moved = parameters | {"W": parameters["W"] + step * direction}
        _, _, by_nudge = oracles.reverse_mode(problem, moved)
        met = oracles.simulate(np, problem, moved, oracles._zero_nudges(problem, moved))[2]
        slopes = np.stack([1 - np.tanh(arguments[0][1]) ** 2 for arguments in met])
        return written_out(moved["W"], slopes[:-1], by_nudge["z"][1:] * 3)

    assert value(0.0) == pytest.approx(written_out(W, derivatives, adjoints), rel=1e-12)
    whole = (value(1e-5) - value(-1e-5)) / 2e-5
    assert abs(whole - (ours * direction).sum()) > 0.05 * abs(whole)


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_of_a_scaled_orthogonal_linear_network_all_is_known(radius):
    """``r = radius^2`` at every step; the derivative along W itself is ``4 (r - 1) r`` a step."""
    stream = np.random.default_rng(1)
    Q = np.linalg.qr(stream.standard_normal((6, 6)))[0]
    adjoints, derivatives = stream.standard_normal((9, 6, 4)), np.ones((9, 6, 4))
    got = omega(*stacked(derivatives, adjoints, radius * Q))
    r = radius**2
    np.testing.assert_allclose(got.value[0], 9 * (r - 1) ** 2, rtol=1e-12, atol=1e-25)
    along = (got.gradient[0] * radius * Q).sum()
    np.testing.assert_allclose(along, 9 * 4 * (r - 1) * r, rtol=1e-12, atol=1e-12 if radius == 1 else 0)
    if radius == 1.0:
        assert np.abs(got.gradient).max() < 1e-13


def test_descent_brings_the_ratios_to_one():
    derivatives, adjoints, W = parts(length=5)
    arguments = stacked(derivatives, adjoints, W)
    values = []
    for _ in range(1500):
        now = omega(*arguments)
        values.append(now.value[0])
        arguments[2][...] -= 0.03 * now.gradient
    assert (np.diff(values) < 0).all()
    assert values[-1] < 0.05 * values[0]


@pytest.mark.parametrize("power", [-5000, -600, 600, 5000])
def test_adjoints_at_any_scale_give_the_same_bits(power):
    derivatives, adjoints, W = stacked(*parts(), cases=2)
    same = np.zeros((len(adjoints), 2, 3), dtype=np.int64)
    plain = omega(derivatives, adjoints, W)
    scaled = omega(derivatives, adjoints, W, same + power, floor=np.finfo(float).tiny if power > 0 else 0.0)
    inside = omega(derivatives, np.ldexp(adjoints, int(np.sign(power)) * 500), W, floor=1e-320)
    for other in (scaled, inside):
        assert other.value.tobytes() == plain.value.tobytes()
        assert other.gradient.tobytes() == plain.gradient.tobytes()


def test_samples_below_the_floor_count_as_preserved():
    derivatives, adjoints, W = parts()
    adjoints[2, :, 1] *= 1e-10 / np.linalg.norm(adjoints[2, :, 1]) * 0.99
    adjoints[3, :, 0] *= 1e-10 / np.linalg.norm(adjoints[3, :, 0]) * 1.01
    adjoints[4, :, 2] = 0.0
    got = omega(*stacked(derivatives, adjoints, W))
    value, gradient = autograd.value_and_grad(written_out)(W, derivatives, adjoints)
    np.testing.assert_allclose(got.value[0], value, rtol=1e-12, atol=0)
    np.testing.assert_allclose(got.gradient[0], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    np.testing.assert_allclose(got.counted[0], len(derivatives) - 2 / 3, rtol=1e-15, atol=0)
    true = np.full((1, 3), -40, dtype=np.int64)  # by the powers of two all are below
    gone = omega_at(derivatives[:1], adjoints[:1], W[None], true)
    assert (gone.value, gone.counted) == (0.0, 0.0)
    assert not gone.gradient.any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_case_does_not_depend_on_its_neighbours(dtype):
    several = [stacked(*parts(seed=seed)) for seed in range(3)]
    derivatives, adjoints = (
        np.concatenate([one[i] for one in several], axis=1).astype(dtype) for i in (0, 1)
    )
    W = np.concatenate([one[2] for one in several]).astype(dtype)
    together = omega(derivatives, adjoints, W)
    assert together.gradient.dtype == dtype
    for i in range(3):
        alone = omega(derivatives[:, i : i + 1], adjoints[:, i : i + 1], W[i : i + 1])
        assert alone.value.tobytes() == together.value[i : i + 1].tobytes()
        assert alone.gradient.tobytes() == together.gradient[i : i + 1].tobytes()
    assert len(set(together.value)) == 3


@pytest.mark.parametrize(
    ("table", "got"),
    [
        ({"cell": "lstm"}, "the cell 'lstm'"),
        ({"layers": 2}, "the cell 'elman' in 2 layers"),
        ({"bidirectional": True}, "the cell 'elman' in both directions of time"),
    ],
)
def test_networks_without_it_are_refused(table, got):
    check_omega(network())
    with pytest.raises(UserMistake, match=f"omega: expected the cell 'elman' in one layer .*got {got}"):
        check_omega(network(**table))
