"""What a rule says that it bounds, it bounds, and tightly: measured for whatever the catalogue holds."""

import numpy as np
import pytest
from engine import clip, network, probe_case, task

from gradlab.learning.clipping import Given, registry
from gradlab.learning.scaled_gradient import ScaledGradient, angle

CASES, ROWS, COLUMNS, BATCH = 3, 4, 5, 6
THRESHOLD = 0.3
PARAMETERS = [rule.name for rule in registry if rule.scope != "adjoint"]
ADJOINT = [rule.name for rule in registry if rule.scope == "adjoint"]


def rule_of(name):
    takes = "threshold" in registry.get(name).__dataclass_fields__
    return clip(name, **({"threshold": THRESHOLD} if takes else {}))


def situation():
    """Return gradients of the batch's mean loss by one block of parameters, and all a rule may look at."""
    stream = np.random.RandomState(5)
    samples = stream.standard_normal((CASES, BATCH, ROWS, COLUMNS))
    samples[:, 0] *= 30.0
    mean = samples.mean(axis=1)

    def each():
        flat = samples.reshape(CASES * BATCH, ROWS, COLUMNS)
        return ScaledGradient((flat,), (np.zeros(CASES * BATCH, dtype=np.int64),))

    weights = stream.standard_normal((CASES, ROWS, COLUMNS))
    norms = np.linalg.norm(mean, axis=(1, 2))[:, None] * stream.uniform(0.5, 1.0, (CASES, 7))
    gradient = ScaledGradient((mean,), (np.zeros(CASES, dtype=np.int64),))
    return gradient, Given((weights,), np.log2(norms), each)


def largest_norm(rule, raw, clipped, given):
    """Return every case's norm over its bound: the threshold, or the percentile of all norms."""
    bound = THRESHOLD
    if "history" in rule.needs:
        own = np.linalg.norm(raw, axis=(1, 2))[:, None]
        bound = np.percentile(np.hstack([np.exp2(given.history), own]), rule.percentile, axis=1)
    return np.linalg.norm(clipped, axis=(1, 2)) / bound


def largest_entry(rule, raw, clipped, given):
    return np.abs(clipped).max(axis=(1, 2)) / THRESHOLD


def longest_row(rule, raw, clipped, given):
    bounds = THRESHOLD * np.maximum(np.linalg.norm(given.weights[0], axis=2), rule.floor)
    return (np.linalg.norm(clipped, axis=2) / bounds).max(axis=1)


def unchanged(rule, raw, clipped, given):
    return np.where((clipped == raw).all(axis=(1, 2)), 1.0, np.inf)


OF_PARAMETERS = {
    "nothing": unchanged,
    "gradient norm": largest_norm,
    "gradient entries": largest_entry,
    "gradient norm of every unit": longest_row,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_a_rule_on_parameters_bounds(name):
    rule, (gradient, given) = rule_of(name), situation()
    clipped = rule.clip_gradient(gradient, given)
    (raw,), (after,) = gradient.values(), clipped.values()
    share = OF_PARAMETERS[rule.bounds](rule, raw, after, given)
    assert (share <= 1.0 + 1e-14).all()
    if "samples" not in rule.needs:  # a mean of vectors of that length is shorter, as they differ
        np.testing.assert_allclose(share, 1.0, rtol=1e-13)
    turned = angle(gradient, clipped)
    assert (turned < 1e-15).all() if rule.keeps_direction else (turned > 1e-2).all()


@pytest.mark.parametrize("name", ADJOINT)
def test_what_a_rule_on_adjoints_bounds(name):
    """A linear unit that triples its adjoint at every step, so that norm and entry are one."""
    assert registry.get(name).bounds in ("sample adjoint norm", "adjoint entries")
    triples = network(hidden=1, activation="identity", spectrum={"name": "constant", "value": 3.0})
    got = probe_case(triples, task(name="zeros", loss="unit", length=20, batch=1), rule_of(name))
    np.testing.assert_allclose(got["log10_state_gradient_norm"], np.log10(THRESHOLD), rtol=1e-14)


@pytest.mark.parametrize("cell", ["elman", "gru"])
@pytest.mark.parametrize("name", ADJOINT)
def test_a_bound_on_adjoints_holds_for_every_sample_and_entry(name, cell):
    units = 6
    strong = network(cell=cell, hidden=units, spectrum={"name": "ginibre", "gain": 4.0})
    got = probe_case(strong, task(length=20, batch=1, features=2, at="every"), rule_of(name))
    most = {"sample adjoint norm": 1.0, "adjoint entries": np.sqrt(units)}[registry.get(name).bounds]
    norms = 10.0 ** got["log10_state_gradient_norm"] / THRESHOLD
    assert (norms <= most * (1 + 1e-14)).all()
    assert norms.max() > 1.0 - 1e-14
