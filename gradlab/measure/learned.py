"""The parameter gradients of all views: as back-propagation or another learner makes them, and clipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import LOG10_2
from gradlab.learning.backward import Backward, Lane
from gradlab.learning.clipping import Given
from gradlab.learning.layers import Layers
from gradlab.learning.learners import Made, Work
from gradlab.learning.learners.bptt import Bptt
from gradlab.learning.scaled_gradient import ScaledGradient, angle
from gradlab.learning.workspace import Workspace
from gradlab.measure.embedded import embedded
from gradlab.measure.given import sample_gradients, weights_of
from gradlab.measure.layout import Layout, View
from gradlab.measure.records import OF_LEARNER, needs_gradients
from gradlab.network.settings import NetworkSettings

if TYPE_CHECKING:
    from gradlab.measure.material import Material

Array = NDArray[Any]
_BPTT = Bptt()


@dataclass
class Learned:
    """Gradients of the batch's mean loss, by view.

    Parameters
    ----------
    raw, own : list of ScaledGradient
        By full back-propagation without any clipping; and as the view's learner makes it, rules on
        the adjoint included and rules on the gradient not yet.
    made : list of Made or None
        What a learner other than full back-propagation tells besides.
    given : list of Given
        What the view's clip rule may look at.
    """

    raw: list[ScaledGradient]
    own: list[ScaledGradient]
    made: list[Made | None]
    given: list[Given]
    _norms: dict[int, Array] = field(default_factory=dict)

    def compared(self, v: int, view: View, asked: frozenset[str]) -> dict[str, Array]:
        """Return those records of a view's gradient that are asked for.

        They are of it before and after clipping, and beside that of full back-propagation.
        """
        made, own, bptt = self.made[v], self.own[v], self.raw[v]
        raw = bptt if made is None else own
        none = np.zeros(len(own.exponents[0]))

        @cache
        def clipped() -> ScaledGradient:
            return view.clip.clip_gradient(own, self.given[v])

        @cache
        def after() -> Array:
            return self._norm(own) if clipped() is own else clipped().log2_norm()

        def factor() -> Array:
            before = self._norm(raw)
            finite = np.isfinite(before)
            return np.exp2(np.where(finite, after() - np.where(finite, before, 0.0), 0.0))

        def turned() -> Array:
            kept = view.clip.scope == "parameters" and view.clip.keeps_direction
            return none if kept or clipped() is raw else angle(raw, clipped())

        ways: dict[str, Callable[[], Array]] = {
            "log10_gradient_norm": lambda: self._norm(raw) * LOG10_2,
            "log10_clipped_gradient_norm": lambda: after() * LOG10_2,
            "clip_factor": factor,
            "clip_angle": turned,
        }
        records = {name: way() for name, way in ways.items() if name in asked}
        if not asked & OF_LEARNER:
            return records
        if made is None:
            return records | {"cosine_to_bptt": none + 1.0, "learner_bias": none, "learner_spread": none}
        return records | beside_bptt(own, made, bptt)

    def change(self, through: Callable[[ScaledGradient], ScaledGradient]) -> None:
        """Change every gradient, each once."""
        done: dict[int, ScaledGradient] = {}

        def once(gradient: ScaledGradient) -> ScaledGradient:
            if id(gradient) not in done:
                done[id(gradient)] = through(gradient)
            return done[id(gradient)]

        kept = self.raw, self.own, self.made  # so that no number is given to another object meanwhile
        self.raw, self.own = [once(one) for one in kept[0]], [once(one) for one in kept[1]]
        self.made = [one if one is None else one.map(once) for one in kept[2]]

    def _norm(self, gradient: ScaledGradient) -> Array:
        if id(gradient) not in self._norms:
            self._norms[id(gradient)] = gradient.log2_norm()
        return self._norms[id(gradient)]


def beside_bptt(own: ScaledGradient, made: Made, bptt: ScaledGradient) -> dict[str, Array]:
    """Return how a learner's gradient compares with that of full back-propagation.

    The bias is that of the mean over the learner's draws, the spread the root mean square distance
    from that mean, both over the norm of the full gradient; with one draw the spread is zero.
    """
    size = bptt.log2_norm()
    draws = made.draws or (own,)
    mean = draws[0]
    for one in draws[1:]:
        mean = mean.plus(one)
    mean = mean.times(1.0 / len(draws))
    apart = [one.plus(mean.times(-1.0)).log2_norm() for one in draws]
    with np.errstate(invalid="ignore", over="ignore"):
        # One after another: NumPy adds up those of a single case in another order than those of several.
        squares = reduce(np.add, (np.exp2(2.0 * _ratio(one, size)) for one in apart))
        spread = np.sqrt(squares / len(apart))
        bias = np.exp2(_ratio(mean.plus(bptt.times(-1.0)).log2_norm(), size))
    if made.draws == ():
        spread = np.zeros(len(size))
    return {
        "cosine_to_bptt": np.cos(angle(own, bptt)),
        "learner_bias": bias,
        "learner_spread": spread,
    }


def _ratio(log2_norm: Array, log2_size: Array) -> Array:
    """Return the difference of logarithms; -inf where there is nothing to divide, 0 over 0."""
    return np.where(np.isneginf(log2_norm), -np.inf, log2_norm - log2_size)


def make_gradients(
    material: Material,
    views: Sequence[View],
    layers: Layers,
    lanes: Sequence[Lane],
    layout: Layout,
    result: Backward,
    asked: frozenset[str],
    workspace: Workspace,
) -> Learned | None:
    """Return the parameter gradients of all views; None where no record needs them."""
    if not needs_gradients(asked):
        return None
    known: dict[Any, ScaledGradient] = {}
    made_by: dict[Any, Made] = {}
    learned = Learned([], [], [], [])
    change = _to_parameters(material)

    def gone(lane: int) -> Array:
        return _gone(layers, layout, result, lane)

    def of_bptt(place: tuple[int, int]) -> ScaledGradient:
        if place not in known:
            lane, view = place
            known[place] = _mean(result.gradients[lane][view], layers, gone(lane))
        return known[place]

    for v, view in enumerate(views):
        raw = of_bptt(layout.raw[v])
        if view.learner == _BPTT:
            learned.raw.append(raw)
            learned.own.append(of_bptt(layout.place[v]))
            learned.made.append(None)
            continue
        key = view.learner, layout.raw[v]
        lane = layout.raw[v][0]
        if key not in made_by:
            made = view.learner.make(Work(layers, lanes[lane], view.task.steps, material.keys, change))
            made_by[key] = made.map(partial(_mean, layers=layers, gone=gone(lane)))
            known[key] = made_by[key].gradient
        learned.raw.append(raw)
        learned.own.append(known[key])
        learned.made.append(made_by[key])
    if change is not None:
        learned.change(change)
    learned.given = _given(material, views, layers, lanes, layout, result, workspace)
    return learned


def _given(
    material: Material,
    views: Sequence[View],
    layers: Layers,
    lanes: Sequence[Lane],
    layout: Layout,
    result: Backward,
    workspace: Workspace,
) -> list[Given]:
    """Return what each view's clip rule may look at: what it says that it needs.

    In a probe there are no updates before this one.
    """
    history = np.empty((layers.networks.cases, 0))
    samples: dict[int, ScaledGradient] = {}
    batch = layers.networks.batch
    to_parameters = _to_parameters(material, batch)

    def change(gradient: ScaledGradient, gone: Array) -> ScaledGradient:
        for mantissa in gradient.mantissas:
            mantissa[np.repeat(gone, batch)] = 0.0
        return gradient if to_parameters is None else to_parameters(gradient)

    given = []
    for v, view in enumerate(views):
        lane, needs, own = layout.raw[v][0], view.clip.needs, Given()
        if "weights" in needs:
            own = replace(own, weights=weights_of(material, lanes[lane], layers))
        if "history" in needs:
            own = replace(own, history=history)
        if "samples" in needs and view.learner == _BPTT:
            if lane not in samples:
                part = workspace.part(f"samples {lane}")
                changed = partial(change, gone=_gone(layers, layout, result, lane))
                samples[lane] = sample_gradients(layers, lanes[lane], part, changed)
            own = replace(own, samples=partial(samples.__getitem__, lane))
        given.append(own)
    return given


def _gone(layers: Layers, layout: Layout, result: Backward, lane: int) -> Array:
    """Return which cases have a state that the loss of a lane can see, or that loss itself, out of range."""
    return np.asarray(layers.overflowed(layout.tasks[lane].lags) | (result.overflow[lane] >= 0))


def _mean(total: ScaledGradient, layers: Layers, gone: Array) -> ScaledGradient:
    """Return the gradient of the batch's mean loss; zero for overflowed cases, which have none."""
    batch = layers.networks.batch

    def mean(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
        mantissa = mantissa / mantissa.dtype.type(batch)
        mantissa[gone] = 0.0
        return mantissa, exponent

    with np.errstate(all="ignore"):
        return total.map(mean)


def _to_parameters(material: Material, repeat: int = 1) -> Callable[[ScaledGradient], ScaledGradient] | None:
    """Return what turns gradients, `repeat` a case, into those by the parameters there are; None: nothing."""
    biases, embeddings = material.biases, bool(material.embeddings)
    if biases is None and not embeddings:
        return None
    through = _Embedded(material, repeat).through if embeddings else None

    def change(gradient: ScaledGradient) -> ScaledGradient:
        if biases is not None:
            gradient = _of_biases(gradient, material.network, biases)
        return gradient if through is None else through(gradient)

    return change


def _of_biases(
    gradient: ScaledGradient, network: NetworkSettings, biases: Sequence[NDArray[np.bool_]]
) -> ScaledGradient:
    """Return a gradient with zeros in place of what biases that are not there would have."""
    mantissas = list(gradient.mantissas)
    step = 1 + bool(network.cell.diagonals)
    for at, there in zip(range(0, len(mantissas), step), biases, strict=False):  # a loss may have no readout
        if not there.all():
            mantissas[at] = mantissas[at].copy()
            mantissas[at][:, ~there, -1] = 0.0
    return ScaledGradient(tuple(mantissas), gradient.exponents)


class _Embedded:
    """Replaces gradients by ``U E`` with those by ``U`` and by ``E``; `repeat` gradients a case."""

    def __init__(self, material: Material, repeat: int = 1):
        self._table = np.stack([table for table, _ in material.embeddings for _ in range(repeat)])
        directions = range(material.network.directions)
        self._inward = [
            np.stack([u[d] for _, u in material.embeddings for _ in range(repeat)]) for d in directions
        ]
        self._step = 1 + bool(material.network.cell.diagonals)

    def through(self, gradient: ScaledGradient) -> ScaledGradient:
        """Return the gradient by the parameters there are, that by ``E`` last."""
        return embedded(gradient, self._table, self._inward, self._step)
