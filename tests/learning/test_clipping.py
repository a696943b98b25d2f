"""Every clip rule of the catalogue keeps what it claims: scope, bound, direction, identity, idempotence."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from engine import (
    OFF,
    PER_LAG,
    affine_of,
    assert_same_records,
    block,
    case_of,
    clip,
    network,
    probe_case,
    same,
    task,
)

from gradlab.core.errors import UserMistake
from gradlab.learning.clipping import registry
from gradlab.learning.scaled_gradient import ScaledGradient, angle
from gradlab.measure.probe import probe

RULES = registry.names()
THRESHOLDS = [rule.name for rule in registry if "threshold" in rule.__dataclass_fields__]
ADJOINT = [rule.name for rule in registry if rule.scope == "adjoint"]
PARAMETERS = [rule.name for rule in registry if rule.scope == "parameters"]
ALONE = [rule.name for rule in registry if rule.scope == "parameters" and not rule.needs]
CELLS = ("elman", "lstm")
HUGE = 1e300


def net(cell="elman", **table):
    defaults = {"hidden": 5, "activation": "tanh", "spectrum": {"name": "ginibre", "gain": 1.5}}
    return network(cell=cell, **{**defaults, **table})


def work(**table):
    return task(**{"length": 12, "batch": 3, "features": 2, "outputs": 2, **table})


def harsh(name):
    """Return a rule with settings that change every gradient, or adjoint, it may change."""
    return clip(name, **({"threshold": 1e-3} if name in THRESHOLDS else {}))


def test_scopes_are_declared():
    assert {rule.scope for rule in registry} == {"none", "parameters", "adjoint"}
    assert set(PARAMETERS) | set(ADJOINT) | {"off"} == set(RULES)
    assert all(rule.bounds and rule.non_finite for rule in registry)
    assert all(set(rule.needs) <= {"weights", "history", "samples"} for rule in registry)
    assert not any(rule.needs for rule in registry if rule.scope != "parameters")


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in ALONE])
def test_what_a_rule_needs_it_does_need(name):
    with pytest.raises(AssertionError, match="the rule needs the"):
        harsh(name).clip_gradient(scaled([3.0, -0.5, 0.2, 4.0], 0))


@pytest.mark.parametrize("at", ["final", "every"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_rules_never_change_a_profile(name, cell, at):
    off = probe_case(net(cell), work(at=at))
    got = probe_case(net(cell), work(at=at), harsh(name))
    assert_same_records(got, off, [*PER_LAG, "loss", "growth_rate", "growth_rate_standard_error", "regime"])
    if "history" in registry.get(name).needs:  # a probe has none
        assert_same_records(got, off)
    else:
        assert got["log10_clipped_gradient_norm"] < off["log10_clipped_gradient_norm"]


@pytest.mark.parametrize("at", ["final", "every"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ADJOINT)
def test_adjoint_rules_do_change_the_profile(name, cell, at):
    off = probe_case(net(cell), work(at=at))
    got = probe_case(net(cell), work(at=at), clip(name, threshold=1e-3))
    for record in (
        "log10_state_gradient_norm",
        "log10_preactivation_gradient_norm",
        "mean_log10_sample_gradient_norm",
    ):
        assert (got[record] < off[record]).any(), record
    assert same(got["loss"], off["loss"])
    assert same(got["saturation"], off["saturation"])


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("at", ["final", "every"])
def test_norm_before_is_that_without_clipping(name, cell, at):
    assert same(
        probe_case(net(cell), work(at=at), harsh(name))["log10_gradient_norm"],
        probe_case(net(cell), work(at=at))["log10_gradient_norm"],
    )


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("at", ["final", "every", (0, 5)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_huge_threshold_changes_nothing(name, cell, at, dtype):
    """Bit for bit; as many time steps as it takes for the adjoint to be renormalised on the way."""
    strong = net(cell, dtype=dtype, activation="identity" if cell == "elman" else "tanh")
    long = work(at=at, length=60)
    off, got = probe_case(strong, long), probe_case(strong, long, clip(name, threshold=HUGE))
    assert_same_records(got, off)
    assert got["clip_factor"] == 1.0
    assert got["clip_angle"] == 0.0


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize("radius", [0.1, 3.0])
def test_a_huge_threshold_changes_nothing_far_out_of_range(name, radius):
    wide = net(activation="identity", spectrum={"name": "orthogonal", "radius": radius})
    zeros = task("zeros", length=550, batch=2, features=1, loss="unit")
    assert_same_records(probe_case(wide, zeros, clip(name, threshold=HUGE)), probe_case(wide, zeros))


@pytest.mark.parametrize("threshold", [1e-6, 0.01, 0.3])
@pytest.mark.parametrize("cell", CELLS)
def test_norm_rule(cell, threshold):
    off, got = probe_case(net(cell), work()), probe_case(net(cell), work(), clip("norm", threshold=threshold))
    raw = 10.0 ** off["log10_gradient_norm"]
    assert raw > threshold
    np.testing.assert_allclose(10.0 ** got["log10_clipped_gradient_norm"], threshold, rtol=1e-13, atol=0)
    np.testing.assert_allclose(got["clip_factor"], threshold / raw, rtol=1e-13, atol=0)
    assert got["clip_angle"] == 0.0


@pytest.mark.parametrize("threshold", [1e-6, 0.003, 0.05])
@pytest.mark.parametrize("cell", CELLS)
def test_value_rule_against_the_oracle(cell, threshold):
    case = case_of(net(cell), work())
    _, _, gradients = oracles.expected_records(case)
    raw = np.concatenate([g.ravel() for g in gradients.values()])
    cut = np.clip(raw, -threshold, threshold)
    got = probe_case(case.network, case.task, clip("value", threshold=threshold))
    norms = np.linalg.norm(raw), np.linalg.norm(cut)
    np.testing.assert_allclose(10.0 ** got["log10_clipped_gradient_norm"], norms[1], rtol=1e-11, atol=0)
    np.testing.assert_allclose(got["clip_factor"], norms[1] / norms[0], rtol=1e-11, atol=0)
    np.testing.assert_allclose(
        got["clip_angle"], np.arccos(raw @ cut / norms[0] / norms[1]), rtol=1e-9, atol=0
    )


# --- rules on finished gradients, alone -----------------------------------------------------------------


def scaled(values, exponent):
    """Return a gradient of one case whose numbers are ``values * 2 ** exponent``, in two blocks."""
    values = np.asarray(values, dtype=np.float64)
    half = len(values) // 2
    return ScaledGradient(
        (values[None, :half, None], values[None, half:, None]), (np.array([exponent]), np.array([exponent]))
    )


@pytest.mark.parametrize("exponent", [-7000, -300, 0, 20, 300, 7000])
@pytest.mark.parametrize("name", ALONE)
def test_clipping_twice_is_clipping_once(name, exponent):
    rule = clip(name, threshold=0.7)
    once = rule.clip_gradient(scaled([3.0, -0.5, 0.2, 4.0], exponent))
    twice = rule.clip_gradient(once)
    for a, b in zip(once.values(), twice.values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ALONE)
def test_shrinking_thresholds_end_where_the_last_one_does(name):
    start = scaled([3.0, -0.5, 0.2, 4.0], 5)
    gradient = start
    for threshold in np.geomspace(100, 0.01, 50):
        gradient = clip(name, threshold=float(threshold)).clip_gradient(gradient)
    expected = clip(name, threshold=0.01).clip_gradient(start)
    for a, b in zip(gradient.values(), expected.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=0)


@pytest.mark.parametrize("exponent", [-7000, -300, 0, 20, 300, 7000])
def test_value_rule_bounds_every_entry(exponent):
    gradient = scaled([3.0, -0.5, 0.2, 4.0], exponent)
    clipped = np.concatenate(
        [v.ravel() for v in clip("value", threshold=0.7).clip_gradient(gradient).values()]
    )
    assert np.abs(clipped).max() <= 0.7
    if exponent >= 20:
        np.testing.assert_array_equal(clipped, [0.7, -0.7, 0.7, 0.7])
    if exponent <= -300:
        assert same(clipped, np.concatenate([v.ravel() for v in gradient.values()]))


@pytest.mark.parametrize("exponent", [-7000, 0, 7000])
@pytest.mark.parametrize("name", ALONE)
def test_a_zero_gradient_stays_zero(name, exponent):
    zero = scaled([0.0, 0.0, 0.0, 0.0], exponent)
    clipped = clip(name, threshold=0.7).clip_gradient(zero)
    assert not any(values.any() for values in clipped.values())
    assert clipped.log2_norm() == -np.inf
    assert angle(zero, clipped) == 0.0


@pytest.mark.parametrize("tiny", [1e-3, 1e-8, 1e-12])
@pytest.mark.parametrize("exponent", [-500, 0, 500])
def test_angle_is_precise_when_tiny(tiny, exponent):
    """``arccos`` of a cosine would give 0 below 1e-8."""
    got = angle(
        scaled([1.0, 0.0, 0.0, 0.0], exponent), scaled([np.cos(tiny), 0.0, np.sin(tiny), 0.0], exponent)
    )
    np.testing.assert_allclose(got, tiny, rtol=1e-3 if tiny < 1e-10 else 1e-6, atol=0)


def test_angles_of_opposite_and_square_gradients():
    a = scaled([1.0, 2.0, 3.0, 4.0], 700)
    np.testing.assert_allclose(angle(a, scaled([-1.0, -2.0, -3.0, -4.0], -700)), np.pi, rtol=1e-15, atol=0)
    np.testing.assert_allclose(angle(a, scaled([2.0, -1.0, 4.0, -3.0], 0)), np.pi / 2, rtol=1e-12, atol=0)


def test_blocks_with_different_exponents_have_a_joint_norm():
    """3 * 2^900 beside 4 * 2^900 written with another power, and a third block too small to matter."""
    one = np.array([[[3.0]]]), np.array([[[4.0 * 2.0**20]]]), np.array([[[1.0]]])
    gradient = ScaledGradient(one, (np.array([900]), np.array([880]), np.array([-900])))
    assert gradient.log2_norm()[0] == pytest.approx(np.log2(5.0) + 900, rel=1e-15)


# --- rules inside the recursion against a naive reference -----------------------------------------------


def reference(case, bound=None, entry=None):
    """Run the recursion of one case sample by sample, clipping after injection at every time step.

    Returns the norms of each sample's (dh, dc), dh and dz, (time, batch), and the gradients of A = [W U b].
    """
    n, batch, looks = case.network.hidden, case.task.batch, case.looks.tolist()
    p, affine, lstm = case.parameters, affine_of(case), case.network.cell.name == "lstm"
    forward = case.forward()
    states = np.concatenate([np.zeros((1, batch, n)), forward["states"]])
    length = looks[-1] + 1
    joint, state, pre = (np.zeros((length, batch)) for _ in range(3))
    total = np.zeros_like(affine)
    for b in range(batch):
        dh, dc = np.zeros(n), np.zeros(n)
        for t in range(length - 1, -1, -1):
            if t in looks:
                if case.task.loss == "unit":
                    dh = dh + case.targets[looks.index(t)][b]
                else:
                    error = forward["outputs"][t, b] - case.targets[looks.index(t)][b]
                    dh = dh + p["weight_ho"].T @ error * 2 / len(error)
            if entry is not None:
                dh, dc = np.clip(dh, -entry, entry), np.clip(dc, -entry, entry)
            if bound is not None:
                size = np.sqrt(dh @ dh + dc @ dc)
                dh, dc = (dh * bound / size, dc * bound / size) if size > bound else (dh, dc)
            joint[t, b], state[t, b] = np.sqrt(dh @ dh + dc @ dc), np.linalg.norm(dh)
            right = np.concatenate([states[t, b], case.inputs[t, b], [1.0]])
            z = affine @ right
            if lstm:
                i, f, o = (1 / (1 + np.exp(-z[k * n : (k + 1) * n])) for k in (0, 1, 3))
                g = np.tanh(z[2 * n : 3 * n])
                old = forward["memories"][t - 1, b] if t else np.zeros(n)
                c = np.tanh(forward["memories"][t, b])
                dc = dc + o * (1 - c * c) * dh
                dz = np.concatenate(
                    [g * i * (1 - i) * dc, old * f * (1 - f) * dc, i * (1 - g * g) * dc, c * o * (1 - o) * dh]
                )
                dc = f * dc
            else:
                dz = (1 - np.tanh(z) ** 2) * dh
            pre[t, b] = np.linalg.norm(dz)
            total += np.outer(dz, right) / batch
            dh = affine[:, :n].T @ dz
    return joint, state, pre, total


@pytest.mark.parametrize("loss", ["mse", "unit"])
@pytest.mark.parametrize("at", ["final", "every", (1, 4, 9)])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["off", *ADJOINT])
def test_adjoint_rules_against_the_naive_recursion(name, cell, at, loss):
    threshold = 0.05 if name == "adjoint_value" else 0.2
    rule = clip(name, **({} if name == "off" else {"threshold": threshold}))
    kind = {"adjoint_norm": "bound", "adjoint_value": "entry"}.get(name)
    case = case_of(
        net(cell, spectrum={"name": "ginibre", "gain": 2.0}), work(at=at, loss=loss, length=11), rule
    )
    joint, state, pre, total = reference(case, **({kind: threshold} if kind else {}))
    if name == "adjoint_norm":
        assert (joint <= threshold * (1 + 1e-15)).all()
        assert (joint > threshold * (1 - 1e-12)).any()
        assert at == "every" or (joint < threshold * (1 - 1e-3)).any()
    got = probe_case(case.network, case.task, rule)
    tight = {"rtol": 0, "atol": 1e-12}  # of logarithms: relative in the norms
    np.testing.assert_allclose(
        got["mean_log10_sample_gradient_norm"], np.log10(state).mean(axis=1)[::-1], **tight
    )
    np.testing.assert_allclose(
        got["std_log10_sample_gradient_norm"], np.log10(state).std(axis=1)[::-1], **tight
    )
    np.testing.assert_allclose(
        got["log10_state_gradient_norm"], np.log10(np.linalg.norm(state, axis=1) / 3)[::-1], **tight
    )
    np.testing.assert_allclose(
        got["log10_preactivation_gradient_norm"], np.log10(np.linalg.norm(pre, axis=1) / 3)[::-1], **tight
    )
    if loss == "unit":  # without a readout [W U b] is all there is
        np.testing.assert_allclose(
            got["log10_clipped_gradient_norm"], np.log10(np.linalg.norm(total)), **tight
        )
        raw = reference(case)[3]
        cosine = (raw * total).sum() / np.linalg.norm(raw) / np.linalg.norm(total)
        np.testing.assert_allclose(np.cos(got["clip_angle"]), cosine, rtol=1e-11, atol=0)
        np.testing.assert_allclose(
            got["clip_factor"], np.linalg.norm(total) / np.linalg.norm(raw), rtol=1e-11, atol=0
        )


@pytest.mark.parametrize("at", ["final", "every"])
@pytest.mark.parametrize("name", ADJOINT)
def test_thresholds_shared_in_a_block_do_not_mix(name, at):
    """Several thresholds, a rule of the other scope, and none, over the same forward passes."""
    rules = [OFF, *(clip(name, threshold=c) for c in (1e-3, 0.1, 10.0)), clip("norm", threshold=0.01)]
    nets = [net(spectrum={"name": "ginibre", "gain": g}) for g in (0.5, 2.5)]
    together = probe(block(nets, [(work(at=at), rule) for rule in rules]))
    for r, one in enumerate(nets):
        for v, rule in enumerate(rules):
            alone = probe(block([one], [(work(at=at), rule)]))
            assert_same_records(
                {k: x[r, v] for k, x in together.items()}, {k: x[0, 0] for k, x in alone.items()}
            )


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan, np.inf, True, "big"], ids=repr)
@pytest.mark.parametrize("name", THRESHOLDS)
def test_bad_thresholds_are_the_users_mistake(name, threshold):
    with pytest.raises(UserMistake, match=r"clip\.threshold: expected a") as caught:
        clip(name, threshold=threshold)
    if threshold == 0.0:
        assert str(caught.value).endswith('To switch clipping off use name = "off".')


def test_a_threshold_is_needed_and_off_takes_none():
    with pytest.raises(
        UserMistake, match=r"clip\.threshold: expected a value, got nothing\. 'norm' needs it\."
    ):
        clip("norm")
    with pytest.raises(
        UserMistake,
        match=r"clip\.threshold: expected a setting of 'off', got 'threshold'\. It has no settings\.",
    ):
        clip("off", threshold=1.0)
    with pytest.raises(UserMistake, match=r"Did you mean 'adjoint_norm'\?"):
        clip("adjoint_nrom", threshold=1.0)
