"""Rules that look at more than the gradient: at weights, at earlier norms, at single samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles
import pytest
from engine import (
    OFF,
    assert_norms,
    assert_same_records,
    block,
    case_of,
    clip,
    network,
    probe_case,
    raw_gradients,
    task,
    work_of,
)

from gradlab.core.errors import UserMistake
from gradlab.experiment.sections import check_learner
from gradlab.learning import learners
from gradlab.learning.backward import backpropagate
from gradlab.learning.clipping import Given
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.workspace import Workspace
from gradlab.measure.probe import probe

EXPONENTS = [-7000, -300, 0, 20, 300, 7000]
CELLS = ("elman", "lstm", "gru", "peephole_lstm", "antisymmetric", "jordan", "linear_diagonal")


def net(cell="elman", **table):
    bias = {"name": "normal", "gain": 0.3}
    return network(
        **{"cell": cell, "hidden": 4, "spectrum": {"name": "ginibre", "gain": 1.5}, "bias": bias, **table}
    )


def work(**table):
    return task(**{"length": 9, "batch": 3, "features": 2, "outputs": 2, "at": "every", **table})


def gradient_of(values, exponent):
    """Return gradients of as many cases as `values` (case, entries) has, in one block of two rows."""
    values = np.asarray(values, dtype=np.float64)
    return ScaledGradient(
        (values.reshape(len(values), 2, -1),), (np.full(len(values), exponent, dtype=np.int64),)
    )


# --- quantile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 2, 5, 100])
@pytest.mark.parametrize("percentile", [1e-9, 10.0, 33.3, 50.0, 75.0, 99.9, 100.0])
def test_the_percentile_is_that_of_numpy(percentile, window):
    stream = np.random.default_rng(0)
    values, history = stream.standard_normal((6, 8)), stream.lognormal(1.0, 1.0, (6, 20))
    rule = clip("quantile", percentile=percentile, window=window)
    got = rule.clip_gradient(gradient_of(values, 0), Given(history=np.log2(history)))
    own = np.linalg.norm(values, axis=1)
    norms = np.concatenate([history, own[:, None]], axis=1)
    bound = np.percentile(norms[:, -window:] if window else norms, percentile, axis=1)
    wanted = values * np.minimum(1.0, bound / own)[:, None]
    np.testing.assert_allclose(got.values()[0].reshape(6, 8), wanted, rtol=1e-13, atol=0)
    if percentile == 10.0 and window is None:
        assert (bound < own).any()
    if percentile == 100.0:
        assert (got.values()[0].reshape(6, 8) == values).all()


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_percentile_of_norms_far_out_of_range(exponent):
    """Norms 1, 2, ..., 6 and 10 times a power of two; the median of the seven is 4 of it."""
    history = np.log2(np.array([[6.0, 1.0, 5.0, 2.0, 4.0, 3.0]])) + exponent
    got = clip("quantile", percentile=50).clip_gradient(
        gradient_of([[6.0, 0.0, 0.0, 8.0]], exponent), Given(history=history)
    )
    assert got.log2_norm()[0] == pytest.approx(exponent + 2.0, rel=1e-15, abs=1e-13)
    between = clip("quantile", percentile=25).clip_gradient(
        gradient_of([[6.0, 0.0, 0.0, 8.0]], exponent), Given(history=history)
    )
    assert between.log2_norm()[0] == pytest.approx(exponent + np.log2(2.5), rel=1e-15, abs=1e-13)


def test_an_exploding_gradient_after_ordinary_ones():
    """Norm 2^5000 after a hundred of norm 1: the percentile stays what it was."""
    got = clip("quantile", percentile=90).clip_gradient(
        gradient_of([[3.0, 0.0, 0.0, 4.0]], 5000), Given(history=np.zeros((1, 100)))
    )
    np.testing.assert_allclose(got.values()[0].ravel(), [0.6, 0.0, 0.0, 0.8], rtol=1e-12, atol=0)


def test_norms_of_zero_count():
    zeros, rule = np.full((1, 9), -np.inf), clip("quantile", percentile=50)
    gradient = gradient_of([[3.0, 0.0, 0.0, 4.0]], 0)
    assert not rule.clip_gradient(gradient, Given(history=zeros)).values()[0].any()
    zero = gradient_of([[0.0, 0.0, 0.0, 0.0]], 0)
    for history in (zeros, np.zeros((1, 9))):
        assert rule.clip_gradient(zero, Given(history=history)) is zero
    mixed = rule.clip_gradient(gradient, Given(history=np.array([[-np.inf, -np.inf, 1.0]])))
    assert mixed.log2_norm()[0] == pytest.approx(0.0, abs=1e-14)  # the mean of 0 and 2


def test_the_first_update_and_a_probe_are_left_alone():
    gradient = gradient_of([[3.0, 0.0, 0.0, 4.0]], 0)
    assert clip("quantile").clip_gradient(gradient, Given(history=np.empty((1, 0)))) is gradient
    assert_same_records(probe_case(net(), work(), clip("quantile")), probe_case(net(), work()))


# --- unitwise -------------------------------------------------------------------------------------------


def by_rows(case, gradients):
    """Return gradient and weights as lists of (rows, columns): a pre-activation's weights are one row."""
    p, cell, n = case.parameters, case.network.cell, case.network.hidden
    blocks = len(cell.row_blocks)
    fed = np.repeat(cell.fed_blocks, n)
    pairs = []
    for one in (gradients, p):
        columns = p["weight_hh_l0"].shape[1] if "weight_hh_l0" in p else 0
        rows = np.zeros((blocks * n, columns + p["weight_ih_l0"].shape[1] + 1))
        if columns:
            rows[: len(p["weight_hh_l0"]), :columns] = one["weight_hh_l0"]
        rows[fed, columns:-1], rows[fed, -1] = one["weight_ih_l0"], one["bias_ih_l0"]
        if not fed.all():
            rows[~fed, -1] = one["bias_hh_l0"][-(~fed).sum() :]
        found = [rows] + [one[f"{name}_l0"][:, None] for name in cell.diagonals]
        if "weight_ho" in p:
            found.append(np.concatenate([one["weight_ho"], one["bias_o"][:, None]], axis=1))
        pairs.append(found)
    return zip(*pairs, strict=True)


@pytest.mark.parametrize("cell", CELLS)
def test_unitwise_rule_by_the_rows_of_all_parameters(cell):
    case = case_of(net(cell), work())
    pairs = list(by_rows(case, raw_gradients(case)))
    norms = [[np.linalg.norm(rows, axis=1, keepdims=True) for rows in pair] for pair in pairs]
    sizes, owns = [np.maximum(size, 0.05) for _, size in norms], [own for own, _ in norms]
    ratios = np.concatenate([(own / size).ravel() for own, size in zip(owns, sizes, strict=True)])
    for threshold in (1e-4, float(np.median(ratios[ratios > 0]))):
        clipped = [
            rows * np.minimum(1.0, threshold * size / np.maximum(own, 1e-300))
            for (rows, _), own, size in zip(pairs, owns, sizes, strict=True)
        ]
        assert (ratios > threshold).any()
        assert threshold == 1e-4 or (ratios < threshold).any()
        a, b = np.concatenate([x.ravel() for x in clipped]), np.concatenate([x.ravel() for x, _ in pairs])
        got = probe_case(case.network, case.task, clip("unitwise", threshold=threshold, floor=0.05))
        assert_norms(got["log10_clipped_gradient_norm"], np.linalg.norm(a), 1e-11)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        np.testing.assert_allclose(np.cos(got["clip_angle"]), cosine, rtol=1e-11, atol=0)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_unitwise_rule_bounds_every_row(exponent):
    gradient = ScaledGradient(
        (np.array([[[3.0, 4.0], [1e-30, 0.0], [0.0, 0.0], [6.0, 8.0]]]),),
        (np.array([exponent], dtype=np.int64),),
    )
    weights = (np.array([[[0.0, 2.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]]),)
    rule = clip("unitwise", threshold=0.5, floor=0.25)
    clipped = rule.clip_gradient(gradient, Given(weights=weights))
    got, bound = clipped.values()[0][0], np.array([1.0, 0.5, np.sqrt(0.5), 0.125])
    assert (np.linalg.norm(got, axis=1) <= bound * (1 + 1e-12)).all()
    if exponent >= 0:
        np.testing.assert_allclose(got[0], [0.6, 0.8], rtol=1e-12, atol=0)
        np.testing.assert_allclose(got[3], [0.075, 0.1], rtol=1e-12, atol=0)
        assert (got[1, 0] == pytest.approx(0.5)) == (exponent >= 300)
    else:
        assert clipped is gradient
    twice = rule.clip_gradient(clipped, Given(weights=weights))
    np.testing.assert_allclose(twice.values()[0], clipped.values()[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["unitwise", "quantile", "per_sample"])
def test_the_split_into_mantissa_and_exponent_changes_no_bit(name):
    """Company decides how a gradient is split, and must not show."""
    stream = np.random.default_rng(3)
    mantissas, weights = stream.standard_normal((2, 40, 5, 7))
    history = np.log2(np.abs(stream.standard_normal((40, 9))) + 4)
    rule = clip(name, **({} if name == "quantile" else {"threshold": 0.03}))
    found = []
    for shift in (0, -5, 37):
        gradient = ScaledGradient((np.ldexp(mantissas, -shift),), (np.full(40, 3 + shift, dtype=np.int64),))
        given = Given(weights=(weights,), history=history, samples=lambda gradient=gradient: gradient)
        found.append(rule.clip_gradient(gradient, given).values()[0])
    assert (found[0] != found[0][0]).any()
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_unitwise_rule_leaves_cases_within_their_bounds_bit_for_bit():
    stream = np.random.default_rng(0)
    mantissa, exponent = stream.standard_normal((2, 3, 5)), np.array([2, -40], dtype=np.int64)
    got = clip("unitwise", threshold=0.1).clip_gradient(
        ScaledGradient((mantissa,), (exponent,)), Given(weights=(np.ones((2, 3, 5)),))
    )
    assert got.exponents[0][1] == -40
    assert got.mantissas[0][1].tobytes() == mantissa[1].tobytes()
    assert (got.values()[0][0] != mantissa[0] * 4).all()


# --- per sample -----------------------------------------------------------------------------------------


def alone(case, b):
    """Return a case with only its sample `b`."""
    cut = {"inputs": case.inputs[:, b : b + 1], "targets": case.targets[:, b : b + 1]}
    return replace(case, task=replace(case.task, batch=1), **cut)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "unit"])
@pytest.mark.parametrize("at", ["final", "every"])
@pytest.mark.parametrize("cell", CELLS)
def test_per_sample_rule_against_reverse_mode_of_every_sample(cell, at, loss):
    case = case_of(net(cell), work(at=at, loss=loss))
    samples = []
    for b in range(3):
        gradients = oracles.expected_records(alone(case, b))[2]
        samples.append(np.concatenate([g.ravel() for g in gradients.values()]))
    samples = np.array(samples)
    norms, raw = np.linalg.norm(samples, axis=1), samples.mean(axis=0)
    threshold = float(np.median(norms))
    clipped = (samples * np.minimum(1, threshold / norms)[:, None]).mean(axis=0)
    got = probe_case(case.network, case.task, clip("per_sample", threshold=threshold))
    assert_norms(got["log10_gradient_norm"], np.linalg.norm(raw), 1e-11)
    assert_norms(got["log10_clipped_gradient_norm"], np.linalg.norm(clipped), 1e-11)
    cosine = raw @ clipped / np.linalg.norm(raw) / np.linalg.norm(clipped)
    np.testing.assert_allclose(np.cos(got["clip_angle"]), cosine, rtol=1e-11, atol=0)
    assert np.linalg.norm(clipped) <= threshold


def by_sample(one):
    """Return the gradient of every sample of a forward pass."""
    with np.errstate(all="ignore"):
        back = backpropagate(one.layers, [one.lane], (), gradients=True, samples=True, workspace=Workspace())
    return back.gradients[0][0]


@pytest.mark.parametrize(
    "table", [{"layers": 2}, {"bidirectional": True}, {"layers": 2, "bidirectional": True}]
)
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_samples_of_deep_networks_add_up(cell, table):
    one = work_of(net(cell, **table), work(), runs=((0, 0), (0, 1)))
    with np.errstate(all="ignore"):
        whole = backpropagate(one.layers, [one.lane], (), gradients=True, workspace=Workspace())
    for own, total in zip(by_sample(one).values(), whole.gradients[0][0].values(), strict=True):
        assert own.shape == (6, *total.shape[1:])
        added = own.reshape(2, 3, *total.shape[1:]).sum(axis=1)
        np.testing.assert_allclose(added, total, rtol=0, atol=1e-13 * np.abs(total).max())
        assert len(np.unique(own.reshape(6, -1)[:, 0])) > 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("radius", [0.1, 3.0])
def test_norms_of_samples_far_out_of_range(radius, dtype):
    """Of a linear orthogonal network of zero inputs: ``|g_b| = sqrt(sum_k radius^2k)`` by the bias alone."""
    wide = network(
        hidden=5, activation="identity", dtype=dtype, spectrum={"name": "orthogonal", "radius": radius}
    )
    one = work_of(wide, task("zeros", length=1500, batch=2, features=1, loss="unit"))
    got = by_sample(one).log2_norm()
    powers = 2.0 * np.log2(radius) * np.arange(1500)
    wanted = 0.5 * np.logaddexp2.reduce(powers)  # d/db of a sample: the root of the sum of all lags' squares
    first = by_sample(work_of(wide, task("zeros", length=1500, batch=2, features=1, loss="unit")))
    assert got.tobytes() == first.log2_norm().tobytes()
    # Directions of different lags differ, so that the norm of the sum lies within these bounds.
    longest = np.log2(np.exp2(powers / 2 - powers.max() / 2).sum()) + powers.max() / 2
    assert (got <= longest + 1e-3).all()
    assert (got >= powers.max() / 2 - 2).all()
    assert abs(wanted) < 3000


def test_a_clipped_mean_far_out_of_range():
    """Samples of norms 2^2000, 1 and 2^-2000 to norm 2^-1: the mean is that of what is left of each."""
    values = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.6, 0.8], [1.0, 0.0, 0.0, 0.0]])
    exponents = np.array([2000, 0, -2000], dtype=np.int64)
    samples = ScaledGradient((values.reshape(3, 2, 2),), (exponents,))
    raw = gradient_of([[1.0, 1.0, 0.0, 0.0]], 2000)
    got = clip("per_sample", threshold=0.5).clip_gradient(raw, Given(samples=lambda: samples))
    np.testing.assert_allclose(
        got.values()[0].ravel(), np.array([0.3, 0.4, 0.3, 0.4]) / 3, rtol=1e-12, atol=0
    )
    assert (
        clip("per_sample", threshold=0.5).clip_gradient(
            raw, Given(samples=lambda: ScaledGradient(samples.mantissas, (exponents - 3000,)))
        )
        is raw
    )


def test_in_a_batch_of_one_it_is_the_rule_of_the_norm():
    one = work(batch=1)
    a, b = (probe_case(net("lstm"), one, clip(name, threshold=0.01)) for name in ("per_sample", "norm"))
    np.testing.assert_allclose(
        a["log10_clipped_gradient_norm"], b["log10_clipped_gradient_norm"], rtol=0, atol=1e-13
    )
    assert a["clip_angle"] < 1e-13


@pytest.mark.parametrize("name", ["per_sample", "unitwise"])
@pytest.mark.parametrize("cell", ["elman", "peephole_lstm"])
def test_rules_shared_in_a_block_do_not_mix(cell, name):
    """Several thresholds, tasks and networks, one of which overflows, over the same forward passes."""
    rules = [OFF, clip(name, threshold=1e-3), clip(name, threshold=0.1)]
    exploding = {"activation": "identity", "spectrum": {"name": "ginibre", "gain": 50.0}}
    nets = [net(cell), net(cell, spectrum={"name": "ginibre", "gain": 2.5})]
    if cell == "elman":
        nets = [net(**exploding), net(**exploding | {"spectrum": {"name": "ginibre", "gain": 1.0}})]
    works = [work(length=300 if cell == "elman" else 20, at=at) for at in ("final", "every")]
    views = [(one, rule) for one in works for rule in rules]
    together = probe(block(nets, views))
    assert cell != "elman" or (together["status"][0] == 2).all()
    for r, one in enumerate(nets):
        for v, view in enumerate(views):
            single = probe(block([one], [view]), memory=1 << 20)
            assert_same_records(
                {k: x[r, v] for k, x in together.items()},
                {k: x[0, 0] for k, x in single.items()},
                ["log10_clipped_gradient_norm", "clip_angle", "clip_factor", "log10_gradient_norm", "status"],
            )


@pytest.mark.parametrize("name", ["per_sample", "unitwise"])
@pytest.mark.parametrize("cell", ["elman", "lstm", "antisymmetric"])
def test_with_an_embedding_the_parameters_are_its_table_and_what_reads_it(cell, name):
    """An embedding of the identity reads the symbols themselves: only the table's own gradient is more."""
    symbols = task("symbols", features=7, batch=3, length=6, at="every")
    embedded = net(cell, embedding=3)
    tiny = probe_case(embedded, symbols, clip(name, threshold=1e-9))
    off = probe_case(embedded, symbols)
    assert tiny["log10_gradient_norm"] == off["log10_gradient_norm"]
    if name == "per_sample":
        assert tiny["log10_clipped_gradient_norm"] <= -9
        return
    case = case_of(embedded, symbols)
    sizes = [np.linalg.norm(w, axis=1) for _, w in by_rows(case, case.parameters)]
    sizes.append(np.linalg.norm(case.parameters["weight_embedding"], axis=1))
    bound = np.log10(np.sqrt((np.maximum(np.concatenate(sizes), 1e-3) ** 2).sum())) - 9
    np.testing.assert_allclose(tiny["log10_clipped_gradient_norm"], bound, rtol=0, atol=1e-10)


def test_only_full_back_propagation_makes_gradients_of_samples():
    rule = clip("per_sample", threshold=1.0)
    for learner in learners.registry:
        if learner.name in ("bptt", "kalman"):
            continue
        table = {"name": learner.name} | ({"window": 3} if learner.name == "truncated" else {})
        with pytest.raises(UserMistake, match="needs no gradients of single samples"):
            check_learner(learners.registry.build(table), rule)
        check_learner(learners.registry.build(table), clip("unitwise", threshold=1.0))
    check_learner(learners.registry.build("bptt"), rule)


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("quantile", {"percentile": 0}, r"clip\.percentile: .*above 0 and of at most 100"),
        ("quantile", {"percentile": 101}, r"clip\.percentile: .*of at most 100"),
        ("quantile", {"window": 1}, r"clip\.window: .*of at least 2.*own"),
        ("unitwise", {"threshold": 1.0, "floor": 0}, r"clip\.floor: .*above 0"),
        ("unitwise", {}, r"clip\.threshold: expected a value"),
        ("per_sample", {}, r"clip\.threshold: expected a value"),
    ],
)
def test_bad_settings_are_the_users_mistake(name, table, message):
    with pytest.raises(UserMistake, match=message):
        clip(name, **table)
