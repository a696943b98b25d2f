"""Short ways into the engine for tests: build settings, probe one case or a block, take raw gradients."""

from __future__ import annotations

import numpy as np

from gradlab import tasks
from gradlab.learning import clipping, learners
from gradlab.learning.backward import Lane, backpropagate
from gradlab.learning.layers import Layers, Networks, Weights
from gradlab.learning.learners import Work
from gradlab.learning.stack import Feedback
from gradlab.learning.workspace import Workspace
from gradlab.measure.case import draw_case
from gradlab.measure.material import lane
from gradlab.measure.probe import Block, Run, View, _drawn, probe
from gradlab.measure.records import RECORDS
from gradlab.network.parameters import Parameters
from gradlab.network.readout import OUTPUTS
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
    """Return the records of one case measured alone, of the lowest layer's forward direction."""
    records = probe(Block((Run(net, seed, replicate),), (View(work, rule),)), **options)
    lowest = {
        name: tuple(0 for dim in RECORDS.get(name, ()) if dim in ("layer", "direction")) for name in records
    }
    return {name: values[0, 0][lowest[name]] for name, values in records.items()}


def alone_of(run, work, rule, **options):
    """Return the records of one case measured alone, all dims of each."""
    records = probe(Block((run,), (View(work, rule),)), **options)
    return {name: values[0, 0] for name, values in records.items()}


def case_of(net, work, rule=OFF, seed=0, replicate=0):
    return draw_case(net, work, rule, seed, replicate)


def affine_of(case):
    p = case.parameters
    return np.concatenate([p["weight_hh_l0"], p["weight_ih_l0"], p["bias_ih_l0"][:, None]], axis=1)


def raw_gradients(case, segment=None):
    """Return the gradients of the batch's mean loss by every parameter of a network of one layer.

    The names are those of the case's parameters; ``bias_hh`` has only the rows that ``bias_ih`` has not.
    """
    p, work, net = case.parameters, case.task, case.network
    sizes = {"features": work.features, "length": work.length, "outputs": work.n_outputs}
    drawn = Parameters.draw(net, seed=case.seed, replicate=case.replicate, **sizes)
    ((one,),) = drawn.layers
    readout = None
    if "weight_ho" in p:
        readout = np.concatenate([p["weight_ho"], p["bias_o"][:, None]], axis=1)[None]
    output = OUTPUTS[net.output]
    x = case.inputs.transpose(0, 2, 1)[: work.lags, None]
    networks = Networks(
        net.cell,
        net.activation,
        [[Weights(one.affine[None], one.diagonal[:, None, :, None])]],
        lambda a, b: x[a:b],
        work.lags,
        net.hidden,
        work.batch,
        Feedback(readout, output) if net.cell.feeds_back == "output" else None,
    )
    looks, workspace = tuple(work.looks()), Workspace()
    options = {"keep_states": True, "looks": set(looks), "saturation": False, "workspace": workspace}
    with np.errstate(all="ignore"):
        layers = Layers(networks, segment=segment or work.lags, **options)
        layers.run()
        lane = Lane(looks, _look(case, readout, output), readout, OFF, (OFF,))
        result = backpropagate(layers, [lane], ("state",), gradients=True, workspace=workspace)
    values = [g[0] / work.batch for g in result.gradients[0][0].values()]
    return _by_name(net, drawn.fed_back, values, readout is not None)


def _look(case, readout, output):
    targets, loss = dict(zip(case.looks.tolist(), case.targets, strict=True)), case.task.loss_entry

    def look(times, state):
        each = [targets[t] if loss.target_kind == "classes" else targets[t].T for t in times]
        target = np.stack(each)[:, None]
        if readout is None:
            return loss.evaluate(state, target)
        before = readout[:, :, :-1] @ state + readout[:, :, -1:]
        if loss.target_kind == "classes":
            return loss.evaluate(before, target)
        value, slope = loss.evaluate(output.value(before), target)
        return value, output.pull(before, slope)

    return look


def _by_name(net, fed_back, values, with_readout):
    """Name the gradients of ``[W U b]``, of the elementwise parameters, and of ``[V b]``."""
    cell, n, (affine, *rest) = net.cell, net.hidden, values
    fed, rows = np.repeat(cell.fed_blocks, n), n * len(cell.recurrent_blocks)
    found = {"weight_ih_l0": affine[fed, fed_back:-1], "bias_ih_l0": affine[fed, -1]}
    if rows:
        found["weight_hh_l0"] = affine[:rows, :fed_back]
    if not fed.all():
        found["bias_hh_l0"] = affine[~fed, -1]
    if cell.diagonals:
        found |= {f"{name}_l0": g for name, g in zip(cell.diagonals, rest.pop(0).reshape(-1, n), strict=True)}
    if with_readout:
        (readout,) = rest
        found |= {"weight_ho": readout[:, :-1], "bias_o": readout[:, -1]}
    return found


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


def work_of(net, work, runs=((0, 0),), segment=None):
    """Return a forward pass of a network in several (seed, replicate), ready for a learner."""
    material = _drawn([Run(net, *run) for run in runs], work, Workspace())
    with np.errstate(all="ignore"):
        layers = Layers(
            material.networks(work),
            segment=segment or work.lags,
            keep_states=True,
            looks=set(),
            saturation=False,
            workspace=Workspace(),
        )
        layers.run()
    return Work(layers, lane(material, work, OFF, (OFF,)), work.length, material.keys)


def made_by(learner, work):
    """Return what a learner (a name, a table, or itself) makes of a forward pass."""
    with np.errstate(all="ignore"):
        return learners.registry.build(learner).make(work)


def bptt_of(work):
    """Return the gradient of full back-propagation, summed over samples."""
    with np.errstate(all="ignore"):
        back = backpropagate(work.layers, [work.lane], (), gradients=True, workspace=Workspace())
    return back.gradients[0][0]


def apart(a, b):
    """Return the distance of two gradients over the length of the second, by case."""
    return np.exp2(a.plus(b.times(-1.0)).log2_norm() - b.log2_norm())


def named_gradients(net, work, gradient):
    """Return the first case's gradients of the batch's mean loss by name, as `raw_gradients` does."""
    values = [g[0] / work.layers.networks.batch for g in gradient.values()]
    stack = work.layers.top[0].stack
    return _by_name(net, stack.fed_back, values, work.lane.readout is not None)
