"""What a probe records besides norms: growth, saturation, drawn matrices, sharing, and only what is asked."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from engine import OFF, assert_same_records, block, case_of, clip, network, probe_case, task
from hypothesis import given
from hypothesis import strategies as st

from gradlab.measure.probe import backward_passes, probe
from gradlab.measure.records import (
    OF_GRADIENT,
    OF_LEARNER,
    ORDINARY,
    OVERFLOWED,
    RATE_RESOLUTION,
    RECORDS,
    growth,
)


def net(**table):
    return network(**{"hidden": 5, "spectrum": {"name": "ginibre", "gain": 1.2}, **table})


WORK = task(length=10, features=2, batch=3)


# --- growth ---------------------------------------------------------------------------------------------


def test_growth_of_a_line_is_its_slope():
    rate, error, regime = growth(3.0 - 0.25 * np.arange(50))
    np.testing.assert_allclose(rate, -0.25, rtol=1e-14, atol=0)
    assert error < 1e-14
    assert regime == -1


def test_growth_against_linear_regression():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4, 5, 30)) + np.linspace(-1, 1, 20).reshape(4, 5, 1) * np.arange(30)
    rate, error, regime = growth(y)
    for i in np.ndindex(4, 5):
        (slope, _), covariance = np.polyfit(np.arange(30), y[i], 1, cov=True)
        spread = np.sqrt(covariance[0, 0])
        np.testing.assert_allclose([rate[i], error[i]], [slope, spread], rtol=1e-10, atol=0)
        assert regime[i] == (np.sign(slope) if abs(slope) > 2 * spread else 0)


def test_zero_gradients_are_left_out_of_the_fit():
    y = 1.0 - 0.5 * np.arange(20)
    y[[3, 15, 16]] = -np.inf
    rate, _, regime = growth(y)
    np.testing.assert_allclose(rate, -0.5, rtol=1e-14, atol=0)
    assert regime == -1


@pytest.mark.parametrize(
    ("profile", "rate", "error", "regime"),
    [
        ([0.3], 0.0, np.inf, 0),
        ([0.3, 0.5], 0.2, np.inf, 0),
        ([-np.inf], -np.inf, np.inf, -1),
        ([0.3, -np.inf, -np.inf], -np.inf, np.inf, -1),
        ([0.0, 1e-14, 2e-14], 1e-14, 0.0, 0),
    ],
)
def test_short_and_dead_profiles(profile, rate, error, regime):
    got = growth(np.array(profile))
    np.testing.assert_allclose(got[0], rate, rtol=1e-12, atol=0)
    assert got[1] == error or (error == 0.0 and got[1] < 1e-16)
    assert got[2] == regime


def test_a_slope_within_rounding_is_stable():
    assert growth(np.arange(100) * RATE_RESOLUTION * 0.5)[2] == 0
    assert growth(np.arange(100) * RATE_RESOLUTION * 2.0)[2] == 1


@given(st.lists(st.floats(-300, 300), min_size=3, max_size=40), st.floats(-1e3, 1e3), st.floats(-1, 1))
def test_growth_is_equivariant(values, offset, tilt):
    """Adding a line to a profile adds its slope to the rate; the error stays."""
    y = np.array(values)
    one, other = growth(y), growth(y + offset + tilt * np.arange(len(y)))
    np.testing.assert_allclose(other[0], one[0] + tilt, rtol=0, atol=1e-9)  # values of up to 1e3 cancel
    np.testing.assert_allclose(other[1], one[1], rtol=1e-6, atol=1e-9)


# --- records --------------------------------------------------------------------------------------------


def test_saturation_by_lag():
    """All biases equal and no weights: the derivative is the same known number everywhere."""
    flat = net(
        activation="logistic",
        bias={"name": "constant", "value": 2.0},
        input={"name": "constant", "value": 0.0},
        spectrum={"name": "orthogonal", "radius": 0.0},
    )
    s = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(probe_case(flat, WORK)["saturation"], s * (1 - s), rtol=1e-14, atol=0)


def test_lag_0_is_the_last_step_where_the_loss_looks():
    """An impulse into an off network: only the first time step, the last lag, is not at rest."""
    quiet = net(
        activation="tanh",
        spectrum={"name": "orthogonal", "radius": 0.0},
        input={"name": "constant", "value": 1.0},
    )
    got = probe_case(quiet, task("impulse", length=6, features=1, batch=2, value=3.0, loss="unit"))[
        "saturation"
    ]
    np.testing.assert_array_equal(got[:-1], 1.0)
    assert got[-1] == pytest.approx(1 / np.cosh(3.0) ** 2, rel=1e-14)


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_drawn_matrices_are_measured_gate_by_gate(cell):
    got, case = probe_case(net(cell=cell), WORK), case_of(net(cell=cell), WORK)
    blocks = case.parameters["weight_hh_l0"].reshape(-1, 5, 5)
    assert got["radius_drawn"].shape == (len(blocks),)
    for i, W in enumerate(blocks):
        eigenvalues = np.linalg.eigvals(W)
        np.testing.assert_allclose(got["radius_drawn"][i], np.abs(eigenvalues).max(), rtol=1e-10, atol=0)
        np.testing.assert_allclose(got["norm_drawn"][i], np.linalg.svd(W)[1][0], rtol=1e-12, atol=0)
        departure = np.sqrt((W**2).sum() - (np.abs(eigenvalues) ** 2).sum()) / np.linalg.norm(W)
        np.testing.assert_allclose(got["henrici_departure"][i], departure, rtol=1e-7, atol=0)


def test_memory_of_a_cell_without_one_is_not_a_number():
    assert np.isnan(probe_case(net(), WORK)["log10_memory_gradient_norm"]).all()


def test_lags_beyond_a_case_are_nan_and_within_are_not():
    views = [(task(length=n, features=2, batch=3), OFF) for n in (10, 4, 1)] + [
        (task(length=10, features=2, batch=3, at=[5]), OFF)
    ]
    got = probe(block([net()], views))
    for name in ORDINARY:
        if "lag" in RECORDS[name] and "memory" not in name:
            for v, (work, _) in enumerate(views):
                assert not np.isnan(got[name][0, v, ..., : work.lags]).any(), name
                assert np.isnan(got[name][0, v, ..., work.lags :]).all(), name


def test_every_record_is_given():
    assert set(probe_case(net(cell="lstm"), WORK)) == {*ORDINARY, "status", "first_overflow"}
    asked = probe_case(net(cell="lstm"), WORK, record=tuple(RECORDS))
    assert set(asked) == {*RECORDS, "status", "first_overflow"}


# --- only what is asked ---------------------------------------------------------------------------------


def refuse(*args, **kwargs):
    raise AssertionError("not asked for")


def test_gradients_are_not_formed_unless_asked_for(monkeypatch):
    """The accumulator, the Gram trick and the saturation are made to fail: nothing may touch them."""
    import gradlab.learning.accumulate as accumulate
    import gradlab.learning.taps as taps

    (sums,) = (
        v for v in vars(accumulate).values() if isinstance(v, type) and v.__module__ == accumulate.__name__
    )
    for name in ("scales", "add"):
        if hasattr(sums, name):
            monkeypatch.setattr(sums, name, refuse)
    monkeypatch.setattr(taps.Taps, "put_weight", refuse)
    plain = [n for n in ORDINARY if n not in OF_GRADIENT | OF_LEARNER and "weight" not in n]
    for rule in (OFF, clip("adjoint_norm", threshold=0.1), clip("norm", threshold=0.1)):
        for at in ("final", "every"):
            probe_case(net(), task(length=10, features=2, batch=3, at=at), rule, record=plain)
    with pytest.raises(AssertionError, match="not asked for"):
        probe_case(net(), WORK, record=["log10_gradient_norm"])
    with pytest.raises(AssertionError, match="not asked for"):
        probe_case(net(), WORK, record=["log10_weight_gradient_norm"])


def test_nothing_is_clipped_or_compared_unless_asked_for(monkeypatch):
    """A norm before clipping needs no clipping, and a norm after it no angle."""
    import gradlab.measure.learned as learned
    from gradlab.learning.clipping.value import Value

    monkeypatch.setattr(learned, "angle", refuse)
    monkeypatch.setattr(learned, "beside_bptt", refuse)
    given = clip("value", threshold=1e-3), clip("adjoint_norm", threshold=0.1)
    work = task(length=10, features=2, batch=3)
    norms = ["log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor"]
    for rule in given:
        probe_case(net(), work, rule, record=norms)
        with pytest.raises(AssertionError, match="not asked for"):
            probe_case(net(), work, rule, record=["clip_angle"])
    monkeypatch.setattr(Value, "clip_gradient", refuse)
    probe_case(net(), work, given[0], record=["log10_gradient_norm", "cosine_to_bptt"])
    with pytest.raises(AssertionError, match="not asked for"):
        probe_case(net(), work, given[0], record=["log10_clipped_gradient_norm"])


def test_saturation_is_not_computed_unless_asked_for(monkeypatch):
    from gradlab.network.cells.elman import Elman

    kept = Elman.forward

    def watched(self, *step):
        if step[-1] is not None:
            refuse()
        kept(self, *step)

    monkeypatch.setattr(Elman, "forward", watched)
    probe_case(net(), WORK, record=[n for n in RECORDS if n != "saturation"])
    with pytest.raises(AssertionError, match="not asked for"):
        probe_case(net(), WORK, record=["saturation"])


@pytest.mark.parametrize("record", [["loss"], ["radius_drawn"], ["regime"], []], ids=str)
def test_narrow_records(record):
    got = probe_case(net(), WORK, record=record)
    assert set(got) == {*record, "status", "first_overflow"}


# --- sharing --------------------------------------------------------------------------------------------


def test_backward_passes_are_shared_as_designed():
    """Views of one loss: only rules on entries need a pass of their own."""
    norms = [clip("norm", threshold=c) for c in (0.1, 1.0)]
    bounds = [clip("adjoint_norm", threshold=c) for c in (0.1, 1.0)]
    entries = [clip("adjoint_value", threshold=c) for c in (0.1, 1.0)]
    once, often = task(length=10), task(length=10, at="every")

    def passes(work, *rules, gradients=True):
        whole = block([net()], [(work, rule) for rule in rules])
        return backward_passes(whole, ("log10_gradient_norm",) if gradients else ("loss",))

    assert passes(once, OFF) == 1
    assert passes(once, OFF, *norms, *bounds) == 1
    assert passes(once, OFF, *norms, *bounds, *entries) == 3
    assert passes(often, OFF, *norms) == 1
    assert passes(often, OFF, *bounds) == 3
    # A rule of the recursion alone still needs the raw pass, for the norm before clipping.
    assert passes(once, entries[0]) == 2
    assert passes(once, entries[0], gradients=False) == 1
    lengths = block([net()], [(task(length=n), OFF) for n in (5, 10, 20)])
    assert backward_passes(lengths, ("log10_gradient_norm",)) == 3


def test_one_forward_pass_serves_all_views(monkeypatch):
    from gradlab.network.cells.elman import Elman

    calls, kept = [], Elman.forward

    def counted(self, *step):
        new = step[5]
        calls.append(new[0].shape[0])
        kept(self, *step)

    monkeypatch.setattr(Elman, "forward", counted)
    works = [task(length=n, features=2, batch=3, loss=loss) for n in (5, 10, 20) for loss in ("mse", "unit")]
    probe(block([net()], [(w, r) for w in works for r in (OFF, clip("value", threshold=0.1))]))
    assert calls == [1] * 20


def test_nothing_is_warned_of():
    """Overflow inside is found and marked; no warning may reach the user."""
    wild = net(activation="identity", spectrum={"name": "ginibre", "gain": 1e3})
    rules = [OFF, *(clip(n, threshold=0.1) for n in ("norm", "value", "adjoint_norm", "adjoint_value"))]
    with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("error")
        for loss in ("mse", "unit", "cross_entropy"):
            probe(
                block(
                    [wild, net()],
                    [(task(length=n, features=2, batch=3, loss=loss), r) for n in (60, 200) for r in rules],
                )
            )


def test_probe_leaves_no_trace_in_what_it_is_given():
    whole = block([net(), net(cell="elman", activation="relu")][:1], [(WORK, OFF)])
    first = probe(whole)
    for values in first.values():
        values.fill(7)
    again = probe(whole)
    assert_same_records(again, probe(whole))
    assert not (again["log10_state_gradient_norm"] == 7).any()


@pytest.mark.parametrize(
    "law",
    [
        {"spectrum": {"name": "ginibre", "radius": 1e300}},
        {"bias": {"name": "constant", "value": 1e300}},
        {"readout": {"name": "constant", "value": 1e300}},
    ],
    ids=lambda law: next(iter(law)),
)
def test_weights_beyond_float32_are_an_overflow_and_no_warning(law):
    measured = probe_case(net(dtype="float32", activation="identity", **law), WORK)
    assert measured["status"] == OVERFLOWED
