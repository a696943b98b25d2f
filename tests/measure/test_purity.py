"""A case is a pure function of its own settings: the same bits alone and in every company."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from engine import OFF, alone_of, assert_same_records, block, clip, network, task
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.learning import learners
from gradlab.learning.accumulate import Sums
from gradlab.learning.clipping import registry as clips
from gradlab.learning.workspace import Workspace
from gradlab.measure.probe import Block, Run, View, buffer_bytes, probe
from gradlab.measure.records import ORDINARY, OVERFLOWED
from gradlab.network.activations import registry as activations
from gradlab.tasks.noise import Noise

GRADIENTS = ("log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor", "clip_angle", "loss")


def net(cell="elman", **table):
    defaults = {"hidden": 5, "activation": "tanh", "spectrum": {"name": "ginibre", "gain": 1.1}}
    return network(cell=cell, **{**defaults, **table})


def case_in(together, run, view, alone):
    """Cut one case out of a block's records; lags beyond its own must be NaN."""
    out = {}
    for name, values in together.items():
        mine = values[run, view]
        lags = alone[name].shape[-1] if alone[name].ndim and mine.shape != alone[name].shape else None
        if lags is not None:
            assert np.isnan(mine[..., lags:]).all(), name
            mine = mine[..., :lags]
        out[name] = mine
    return out


def check_block(nets, views, seed=0, replicates=(0,), **options):
    """Every case of the block is bit for bit what it is alone."""
    whole = block(nets, views, seed, replicates)
    together = probe(whole, **options)
    for r, run in enumerate(whole.runs):
        for v, (work, rule) in enumerate(views):
            alone = alone_of(run, work, rule)
            assert_same_records(case_in(together, r, v, alone), alone)
    return together


def radii(cell, activation, hidden, values=(0.4, 1.0, 1.9), **table):
    return [
        net(cell, activation=activation, hidden=hidden, spectrum={"name": "ginibre", "radius": r}, **table)
        for r in values
    ]


def rules():
    tables = ({"threshold": 0.03} if "threshold" in r.__dataclass_fields__ else {} for r in clips)
    return [OFF, *(clip(r.name, **table) for r, table in zip(clips, tables, strict=True) if r.name != "off")]


# --- company --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", activations.names())
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_other_networks_and_replicates(cell, activation):
    """Odd sizes: vector loops end somewhere else alone than in a stack."""
    check_block(
        radii(cell, activation, hidden=7), [(task(length=9, features=3, batch=5), OFF)], replicates=(0, 1)
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("hidden", "batch"), [(1, 1), (1, 7), (13, 1), (16, 8), (33, 3), (64, 32)])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_sizes(cell, hidden, batch, dtype):
    check_block(radii(cell, "tanh", hidden, dtype=dtype), [(task(length=6, features=3, batch=batch), OFF)])


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_other_lengths_places_losses_and_rules(cell):
    works = [
        task(length=20, features=2, batch=3),
        task(length=7, features=2, batch=3),
        task(length=20, features=2, batch=3, at="every"),
        task(length=13, features=2, batch=3, at=[2, 5, -1]),
        task(length=13, features=2, batch=3, at=[2]),
        task(length=16, features=2, batch=3, loss="unit"),
        task(length=16, features=2, batch=3, loss="cross_entropy", outputs=4),
    ]
    check_block(radii(cell, "tanh", 4), list(itertools.product(works, rules())))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_order(order):
    nets, works = radii("elman", "relu", 5), [task(length=n, batch=2, features=2) for n in (12, 4, 8)]
    check_block([nets[i] for i in order], [(works[i], rule) for i in order for rule in rules()[:2]])


# --- memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["elman", "lstm"])
@pytest.mark.parametrize("at", ["final", "every"])
def test_every_memory_bound_gives_the_same_bits(cell, at, monkeypatch):
    """From all at once down to tiles of one and stretches of one step."""
    seen = set()
    works = [(task(length=n, batch=2, features=2, at=at), rule) for n in (40, 23) for rule in rules()]
    whole = block(radii(cell, "tanh", 4), works)
    full = probe(whole)
    for choice in [(3, 40), (2, 40), (1, 40), (1, 39), (3, 20), (2, 7), (1, 5), (1, 1), (3, 1)]:
        monkeypatch.setattr(
            "gradlab.measure.probe.tile_and_segment", lambda *args, choice=choice, **named: choice
        )
        assert_same_records(probe(whole), full)
        seen.add(choice)
    assert len(seen) == 9


def test_the_bound_itself_chooses_stretches():
    """No monkeypatch: the smallest bound that is accepted gives the same bits as the largest."""
    whole = block(radii("elman", "tanh", 8), [(task(length=300, batch=4, features=2), OFF)])
    full = probe(whole, memory=1 << 30)
    bounds = (1 << 22, 1 << 20, 700_000, 500_000, 400_000, 300_000, 200_000, 100_000, 10_000)
    fits = [memory for memory in bounds if _fits(whole, memory)]
    assert 2 <= len(fits) < len(bounds)
    for memory in fits:
        assert_same_records(probe(whole, memory=memory), full)
    with pytest.raises(UserMistake, match="memory: expected at least"):
        probe(whole, memory=bounds[-1])


def _fits(whole, memory):
    try:
        buffer_bytes(whole, ORDINARY, memory)
    except UserMistake:
        return False
    return True


def test_a_used_workspace_leaves_no_trace():
    workspace = Workspace()
    nets, views = radii("lstm", "tanh", 6), [(task(length=15, batch=3, features=2), OFF)]
    first = probe(block(nets, views), workspace=workspace)
    probe(
        block(radii("elman", "identity", 30, values=(3.0,)), [(task(length=60, batch=9, features=4), OFF)]),
        workspace=workspace,
    )
    probe(
        block(
            radii("lstm", "relu", 2), [(task(length=4, batch=1, features=1, at="every"), r) for r in rules()]
        ),
        workspace=workspace,
    )
    assert_same_records(probe(block(nets, views), workspace=workspace), first)


# --- bad company ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_beside_one_that_overflows(cell):
    nets = radii(cell, "identity", 3, values=(0.9, 40.0, 1.0))
    works = [(task(length=450, batch=2, features=2, loss="unit"), rule) for rule in rules()]
    works += [(task(length=n, batch=2, features=2), OFF) for n in (450, 90)]
    together = check_block(nets, works)
    assert (together["status"] == OVERFLOWED).any()
    assert (together["status"] != OVERFLOWED).any()


def test_beside_one_that_vanishes_to_1e_minus_3000():
    nets = [
        net(activation="identity", hidden=4, spectrum={"name": "orthogonal", "radius": r})
        for r in (1.0, 1e-8, 1e3)
    ]
    together = check_block(
        nets, [(task("zeros", length=400, batch=3, features=1, loss="unit"), r) for r in rules()]
    )
    profile = together["log10_state_gradient_norm"]
    assert profile[1, 0, 0, 0, -1] < -3000
    assert profile[2, 0, 0, 0, -1] > 1000


def test_beside_one_whose_sample_is_exactly_dead():
    nets = [
        net(
            activation="relu",
            hidden=3,
            spectrum={"name": "ginibre", "norm": s},
            bias={"name": "constant", "value": b},
        )
        for s, b in ((0.3, 0.0), (0.9, 1.0), (0.3, -0.7), (1.4, 0.5))
    ]
    together = check_block(
        nets,
        [(task(length=150, batch=3, features=2, at=at), r) for at in ("final", "every") for r in rules()],
    )
    spread = together["std_log10_sample_gradient_norm"]
    assert np.isinf(spread).any()  # some sample died while another lived
    assert np.isfinite(spread).any()


class Loud(Noise):
    """Noise with one replicate far too loud."""

    name = "loud"

    def inputs(self, start, stop, seed, replicate):
        return super().inputs(start, stop, seed, replicate) * (1e200 if replicate == 1 else 1.0)


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_beside_one_whose_inputs_are_huge(activation):
    work = Loud(length=12, batch=2, features=2, loss="unit")
    check_block(radii("elman", activation, 3), [(work, r) for r in rules()], replicates=(0, 1, 2))


def test_beside_one_whose_weights_are_huge():
    nets = [net(spectrum={"name": "ginibre", "gain": g}) for g in (1.0, 1e160, 0.5)]
    check_block(nets, [(task(length=12, batch=2, features=2), r) for r in rules()])


# --- work that is spared ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("at", ["final", "every", (3, 60, -1)])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_terms_spared_would_not_have_changed_a_bit(cell, at, dtype, monkeypatch):
    """Far back, terms are too small to move a sum; forming every one of them must give the same."""
    nets = radii(cell, "tanh", 4, values=(0.05, 0.3, 1.0, 2.0), dtype=dtype)
    whole = block(nets, [(task(length=150, batch=3, features=2, at=at), rule) for rule in rules()])
    spared, kept = [], Sums.unmoved_by

    def watched(self, *args, **named):
        spared.append(kept(self, *args, **named))
        return spared[-1]

    monkeypatch.setattr("gradlab.learning.gradients.SPARING", 0)  # small as these networks are
    monkeypatch.setattr(Sums, "unmoved_by", watched)
    quick = probe(whole, record=GRADIENTS)
    by_one = [probe(Block((run,), whole.views), record=GRADIENTS) for run in whole.runs]
    assert at == "every" or any(each.any() for each in spared)
    monkeypatch.setattr(Sums, "unmoved_by", lambda self, size, refresh: np.zeros(len(size), dtype=bool))
    assert_same_records(quick, probe(whole, record=GRADIENTS))
    for r, alone in enumerate(by_one):
        assert_same_records({name: values[r : r + 1] for name, values in quick.items()}, alone)


# --- narrowing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["elman", "lstm"])
@pytest.mark.parametrize("at", ["final", "every"])
def test_what_is_recorded_does_not_depend_on_what_else_is(cell, at):
    views = [(task(length=14, batch=3, features=2, at=at), rule) for rule in rules()]
    whole = block(radii(cell, "tanh", 4), views)
    full = probe(whole)
    for name in full.keys() - {"status", "first_overflow"}:
        got = probe(whole, record=[name])
        assert got.keys() == {name, "status", "first_overflow"}
        assert_same_records(got, full, [name, "status", "first_overflow"])


# --- at random ------------------------------------------------------------------------------------------

LENGTHS = st.integers(1, 30)
PLACES = st.sampled_from(["final", "every", "listed"])


@st.composite
def blocks(draw):
    """Random blocks of cases that may be stacked."""
    cell = draw(st.sampled_from(["elman", "lstm", {"name": "lstm", "forget_bias": 2.0}]))
    common = {
        "cell": cell,
        "activation": draw(st.sampled_from(activations.names())),
        "hidden": draw(st.integers(1, 9)),
        "dtype": draw(st.sampled_from(["float64", "float64", "float32"])),
    }
    gains = draw(
        st.lists(st.sampled_from([0.0, 1e-12, 0.1, 0.9, 1.0, 1.5, 3.0, 1e6]), min_size=1, max_size=4)
    )
    nets = [
        network(
            **common,
            spectrum={"name": "ginibre", "gain": g},
            bias={"name": "normal", "gain": draw(st.sampled_from([0.0, 2.0]))},
        )
        for g in gains
    ]
    sizes = {"features": draw(st.integers(1, 3)), "batch": draw(st.integers(1, 5))}
    views = []
    for _ in range(draw(st.integers(1, 4))):
        length, at = draw(LENGTHS), draw(PLACES)
        at = (
            sorted(draw(st.sets(st.integers(0, length - 1), min_size=1, max_size=3)))
            if at == "listed"
            else at
        )
        loss = draw(st.sampled_from(["mse", "cross_entropy", "unit"]))
        rule = draw(st.sampled_from(clips.names()))
        has = "threshold" in clips.get(rule).__dataclass_fields__
        threshold = {} if not has else {"threshold": draw(st.sampled_from([1e-9, 0.01, 1.0, 1e9]))}
        views.append((task(length=length, at=at, loss=loss, outputs=3, **sizes), clip(rule, **threshold)))
    return nets, views, draw(st.sampled_from([(0,), (0, 3)]))


@settings(max_examples=60)
@given(blocks(), st.integers(1, 4), st.integers(1, 12))
def test_random_blocks(drawn, tile, segment):
    """Random settings, company, tiles and stretches; nothing may be NaN within a case's own lags."""
    nets, views, replicates = drawn
    whole = block(nets, views, 1, replicates)
    import gradlab.measure.probe as module

    kept = module.tile_and_segment
    module.tile_and_segment = lambda *args, **named: (tile, segment)
    try:
        together = probe(whole)
    finally:
        module.tile_and_segment = kept
    for r, run in enumerate(whole.runs):
        for v, (work, rule) in enumerate(views):
            alone = probe(Block((run,), (whole.views[v],)))
            alone = {name: values[0, 0] for name, values in alone.items()}
            assert_same_records(case_in(together, r, v, alone), alone)
            for name, values in alone.items():
                if name != "log10_memory_gradient_norm" or run.network.cell.name == "lstm":
                    assert not np.isnan(values).any(), (name, work, rule, run.network)


def test_the_spread_of_a_learner_is_the_same_in_any_company():
    work = task(length=6, features=2, batch=2, at="every")
    view = View(work, OFF, learners.registry.build({"name": "uoro", "draws": 40}))
    runs = tuple(Run(net(hidden=3), 0, replicate) for replicate in range(8))
    names = ("learner_spread", "learner_bias", "cosine_to_bptt")
    together = probe(Block(runs, (view,)), names)
    for r, run in enumerate(runs):
        alone = probe(Block((run,), (view,)), names)
        for name in names:
            assert alone[name][0, 0] == together[name][r, 0], (name, r)
