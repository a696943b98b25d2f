"""Short ways into the engine for tests: build settings, probe one case or a block, take raw gradients."""

from __future__ import annotations

import numpy as np

from gradlab import tasks
from gradlab.learning import clipping
from gradlab.learning.bptt import Lane, backpropagate
from gradlab.learning.taps import Taps
from gradlab.learning.trajectory import Stack, Trajectory
from gradlab.learning.workspace import Workspace
from gradlab.measure.case import draw_case
from gradlab.measure.probe import Block, Run, View, probe
from gradlab.network.settings import NetworkSettings

PER_LAG = (
    "log10_state_gradient_norm",
    "log10_memory_gradient_norm",
    "log10_preactivation_gradient_norm",
    "log10_weight_gradient_norm",
    "mean_log10_sample_gradient_norm",
    "std_log10_sample_gradient_norm",
    "saturation",
)


def network(**table):
    return NetworkSettings.build(table)


def task(name="noise", **table):
    return tasks.registry.build({"name": name, **table}, "task")


def clip(name="off", **table):
    return clipping.registry.build({"name": name, **table}, "clip")


OFF = clip()


def block(networks, views, seed=0, replicates=(0,)):
    """Return a block: every network in every replicate, all through the same (task, clip) views."""
    runs = tuple(Run(n, seed, r) for n in networks for r in replicates)
    return Block(runs, tuple(View(t, c) for t, c in views))


def probe_case(net, work, rule=OFF, seed=0, replicate=0, **options):
    """Return the records of one case measured alone."""
    records = probe(Block((Run(net, seed, replicate),), (View(work, rule),)), **options)
    return {name: values[0, 0] for name, values in records.items()}


def case_of(net, work, rule=OFF, seed=0, replicate=0):
    return draw_case(net, work, rule, seed, replicate)


def affine_of(case):
    p = case.parameters
    return np.concatenate([p["weight_hh_l0"], p["weight_ih_l0"], p["bias_ih_l0"][:, None]], axis=1)


def raw_gradients(case, segment=None):
    """Return the gradients of the batch's mean loss by [W U b] and [V bo] (None without a readout)."""
    p, work, n = case.parameters, case.task, case.network.hidden
    x = case.inputs.transpose(0, 2, 1)[: work.lags, None]
    stack = Stack(
        case.network.cell,
        case.network.activation,
        affine_of(case)[None],
        lambda a, b: x[a:b],
        work.lags,
        n,
        work.batch,
    )
    readout = None
    if "weight_ho" in p:
        readout = np.concatenate([p["weight_ho"], p["bias_o"][:, None]], axis=1)[None]
    targets = dict(zip(case.looks.tolist(), case.targets, strict=True))
    loss = work.loss_entry

    def look(t, state):
        target = targets[t][None] if loss.target_kind == "classes" else targets[t].T[None]
        output = state if readout is None else readout[:, :, :n] @ state + readout[:, :, n:]
        return loss.evaluate(output, target)

    looks, workspace = tuple(work.looks()), Workspace()
    segment = segment or work.lags
    with np.errstate(all="ignore"):
        trajectory = Trajectory(
            stack, segment=segment, keep_states=True, looks=set(looks), saturation=False, workspace=workspace
        )
        trajectory.run()
        lane = Lane(looks, look, readout, OFF, (OFF,))
        taps = Taps(("state",), [looks[-1]], [1], 1, work.batch, min(segment, work.lags))
        result = backpropagate(trajectory, [lane], taps, gradients=True, workspace=workspace)
    values = [g[0] / work.batch for g in result.gradients[0][0].values()]
    return values[0], values[1] if readout is not None else None


def same(a, b):
    """Whether two arrays are equal bit for bit, NaN included."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def assert_same_records(a, b, names=None):
    """Assert that two sets of records are equal bit for bit, NaN included."""
    names = sorted(set(a) | set(b)) if names is None else names
    different = [name for name in names if not same(a[name], b[name])]
    assert not different, {name: (a[name], b[name]) for name in different[:2]}


def assert_norms(log10_norms, norms, rtol, what=""):
    """Assert that recorded log10 norms are those of `norms` to a relative tolerance (of the norms)."""
    norms = np.asarray(norms, dtype=np.float64)
    assert np.shape(log10_norms) == norms.shape, what
    zero = norms == 0
    np.testing.assert_array_equal(np.isneginf(log10_norms), zero, err_msg=what)
    difference = np.asarray(log10_norms)[~zero] - np.log10(norms[~zero])
    # A difference of logarithms *is* the relative error: the tolerance below is relative.
    assert (np.abs(difference) <= rtol / np.log(10)).all(), (what, np.abs(difference).max() * np.log(10))
