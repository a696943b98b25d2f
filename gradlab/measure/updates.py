"""One update: examples, forward, back, clip, step. Everything that is batched over cases stands here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core import streams
from gradlab.core.scaled import ldexp, window
from gradlab.learning.backward import Backward, Lane, backpropagate
from gradlab.learning.clipping import Given
from gradlab.learning.clipping.off import Off
from gradlab.learning.layers import Layers, Networks
from gradlab.learning.learners import AbstractLearner, Work
from gradlab.learning.regulariser import Omega, omega_at
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.stack import Feedback, Inputs
from gradlab.learning.workspace import Workspace
from gradlab.measure.given import sample_gradients
from gradlab.measure.looking import look_at
from gradlab.measure.trainable import Trainable
from gradlab.measure.training import Trainee
from gradlab.network.readout import OUTPUTS
from gradlab.tasks._examples import Examples

Array = NDArray[Any]
_OFF = Off()


@dataclass(frozen=True)
class Batch:
    """Examples of all cases of a tile.

    Parameters
    ----------
    each : list of Examples
        By case; cases that agree in task, seed and replicate share theirs.
    inputs : array of shape (time, case, features, batch)
    targets : array of shape (look, case, outputs, batch) or (look, case, batch)
    weight : array of shape (look, case, batch), or None
    looks : sequence of int
        Time steps where the loss looks.
    start : list of lists of arrays, optional
        Where the states go on from; see `Networks`.
    """

    each: list[Examples]
    inputs: Array
    targets: Array
    weight: Array | None
    looks: Sequence[int]
    start: list[list[Array]] | None = None

    @property
    def samples(self) -> int:
        """How many samples each case has."""
        return int(self.inputs.shape[-1])

    def stretch(self) -> Inputs:
        """Return the inputs as a function of the time steps."""
        return lambda start, stop: self.inputs[start:stop]


def draw(
    cases: Sequence[Trainee], role: str, number: int, samples: int | None, workspace: Workspace
) -> Batch:
    """Return the examples of an update, or of a chunk of the evaluation set."""
    known: dict[Any, Examples] = {}
    each = []
    for case in cases:
        key = case.task, case.seed, case.replicate
        if key not in known:
            known[key] = case.task.examples(role, number, case.seed, case.replicate, samples)
        each.append(known[key])
    return batch_of(cases, each, role, workspace)


def batch_of(cases: Sequence[Trainee], each: list[Examples], role: str, workspace: Workspace) -> Batch:
    """Return examples by case as one batch."""
    first, looks = each[0], cases[0].task.looks()
    steps, features, batch = first.inputs.shape
    inputs = workspace.take(
        f"inputs for {role}", (steps, len(cases), features, batch), cases[0].network.dtype
    )
    for c, one in enumerate(each):
        inputs[:, c] = one.inputs
    rows = np.array(looks, dtype=np.int64)
    targets = np.stack([one.targets[rows] for one in each], axis=1)
    weight = None
    if any(one.weight is not None for one in each):
        ones = np.ones((steps, batch))
        weight = np.stack([(ones if one.weight is None else one.weight)[rows] for one in each], axis=1)
    return Batch(each, inputs, targets, weight, looks)


@dataclass
class Seen:
    """What an update saw.

    Attributes
    ----------
    loss : array of shape (case,)
        Mean over the batch, before the update.
    gone : boolean array of shape (case,)
        Cases whose states or loss left the range: they have no gradient.
    gradient : ScaledGradient
        Of the batch's mean loss, by the parameters.
    layers : Layers
        The forward pass.
    lane : Lane
        How the loss looked.
    back : Backward or None
        The backward pass, where there was one.
    ends : list of lists of arrays, or None
        The states after the last time step, where they are carried over.
    acted : boolean array of shape (case,), or None
        Where a rule acts on adjoints, whether it did at any time step.
    unclipped : ScaledGradient or None
        Where a rule acts on adjoints and that was asked for, the gradient without it.
    """

    loss: Array
    gone: NDArray[np.bool_]
    gradient: ScaledGradient
    layers: Layers
    lane: Lane
    back: Backward | None
    ends: list[list[Array]] | None
    acted: NDArray[np.bool_] | None = None
    unclipped: ScaledGradient | None = None


class Pass:
    """Forward and back over a batch with the parameters as they are.

    Parameters
    ----------
    cases : sequence of Trainee
        Of one shape.
    parameters : Trainable
    learner : AbstractLearner
    segment : int
        Time steps in a stretch of the tape.
    workspace : Workspace
    """

    def __init__(
        self,
        cases: Sequence[Trainee],
        parameters: Trainable,
        learner: AbstractLearner,
        segment: int,
        workspace: Workspace,
    ):
        self.cases, self.parameters, self.learner = cases, parameters, learner
        self.segment, self.workspace = segment, workspace
        first = cases[0]
        self._network, self._task = first.network, first.task
        self._loss, self._output = first.task.loss_entry, OUTPUTS[first.network.output]
        self._omegas = np.array([case.omega for case in cases])
        self._clip = first.clip if first.clip.scope == "adjoint" else _OFF

    def networks(self, batch: Batch) -> Networks:
        """Return the networks over a batch."""
        network, task = self._network, self._task
        fed = network.cell.feeds_back == "output"
        return Networks(
            network.cell,
            network.activation,
            self.parameters.weights(),
            batch.stretch(),
            task.steps if network.bidirectional or batch.start is not None else task.lags,
            network.hidden,
            batch.samples,
            Feedback(self.parameters.readout, self._output) if fed else None,
            network.initial_state,
            batch.start,
        )

    def layers(self, batch: Batch, *, keep: bool, saturation: bool = False) -> Layers:
        """Run forward over a batch."""
        layers = Layers(
            self.networks(batch),
            segment=self.segment,
            keep_states=keep,
            looks=set() if keep else set(batch.looks),
            saturation=saturation,
            workspace=self.workspace,
        )
        layers.run()
        return layers

    def lane(self, batch: Batch) -> Lane:
        """Return how the loss of a batch looks."""
        place = {t: i for i, t in enumerate(batch.looks)}
        weight = batch.weight

        def some(times: Sequence[int]) -> list[int]:
            return [place[t] for t in times]

        look = look_at(
            self._loss,
            self._output,
            self.parameters.readout,
            lambda times: batch.targets[some(times)],
            None if weight is None else lambda times: weight[some(times)],
        )
        entries = self._clip if self._clip.changes_entries else _OFF
        scale = self._clip if self._clip.rescales_samples else _OFF
        return Lane(batch.looks, look, self.parameters.readout, entries, (scale,))

    def run(
        self,
        update: int,
        batch: Batch,
        names: Collection[str] = (),
        *,
        saturation: bool = False,
        unclipped: bool = False,
    ) -> Seen:
        """Go forward and back; `names` are the open taps, `unclipped` also without a rule on adjoints."""
        layers = self.layers(batch, keep=True, saturation=saturation)
        ends = None if batch.start is None else layers.ends()
        lane = self.lane(batch)
        if self.learner.name == "bptt" or self.learner.for_training:
            omega = _Omega(layers) if self._omegas.any() else None
            acts = self._clip is not _OFF
            back = backpropagate(
                layers, [lane], names, gradients=True, workspace=self.workspace, watch=omega, acted=acts
            )
            gone = self.left_range(layers) | (back.overflow[0] >= 0) | ~np.isfinite(back.loss[0]).all(axis=-1)
            gradient = self._mean(back.gradients[0][0], gone)
            if omega is not None:
                gradient = self._regularised(gradient, omega.total, gone)
            seen = Seen(back.loss[0].mean(axis=-1), gone, gradient, layers, lane, back, ends)
            seen.acted = None if back.acted is None else back.acted[0]
            if unclipped and self._clip is not _OFF:
                plain = replace(lane, clip=_OFF, views=(_OFF,))
                own = self.workspace.part("unclipped")
                raw = backpropagate(layers, [plain], (), gradients=True, workspace=own)
                seen.unclipped = self._mean(raw.gradients[0][0], gone)
            return seen
        losses = _Losses(lane, len(self.cases), batch.samples)
        keys = [(_key(case.seed, update), case.replicate) for case in self.cases]
        made = self.learner.make(Work(layers, losses.lane, self._task.steps, keys))
        gone = self.left_range(layers) | losses.astray
        rest = None
        if names:
            rest = backpropagate(layers, [lane], names, gradients=False, workspace=self.workspace)
        return Seen(losses.mean(), gone, self._mean(made.gradient, gone), layers, lane, rest, ends)

    def left_range(self, layers: Layers) -> NDArray[np.bool_]:
        """Return which cases have a state out of range that a loss can see, or one that is carried over."""
        return layers.overflowed(self._task.lags)

    def _mean(self, total: ScaledGradient, gone: Array) -> ScaledGradient:
        """Return the gradient of the batch's mean loss by the parameters; zero for cases that are gone."""
        batch = total.mantissas[0].dtype.type(self._task.batch)
        anyone = bool(gone.any())

        def mean(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
            mantissa = mantissa / batch
            if anyone:
                mantissa[gone] = 0.0
            return mantissa, exponent

        return self.parameters.gradient(total.map(mean)).map(settled)

    def _regularised(self, gradient: ScaledGradient, omega: Omega, gone: Array) -> ScaledGradient:
        """Return the gradient with that of the regulariser; without it for cases that are gone."""
        own = [np.zeros_like(block) for block in gradient.mantissas]
        share = self._omegas.astype(own[0].dtype)[:, None, None] * omega.gradient
        share[gone | (self._omegas == 0)] = 0.0
        own[0][:, :, : share.shape[-1]] = share
        none = np.zeros(len(gone), dtype=np.int64)
        return gradient.plus(ScaledGradient(tuple(own), tuple(none for _ in own))).map(settled)

    def samples(self, seen: Seen) -> ScaledGradient:
        """Return the gradient of every sample's own loss, those of the first case first."""
        gone = np.repeat(seen.gone, self._task.batch)

        def change(gradient: ScaledGradient) -> ScaledGradient:
            for mantissa in gradient.mantissas:
                mantissa[gone] = 0.0
            return self.parameters.gradient(gradient).map(settled)

        return sample_gradients(seen.layers, seen.lane, self.workspace.part("samples"), change)


class _Omega:
    """Sums the regulariser's immediate derivative on the way back."""

    def __init__(self, layers: Layers):
        (self._trajectory,) = layers.top
        n = layers.networks.hidden
        self._weights = np.ascontiguousarray(self._trajectory.stack.affine[:, :, :n])
        self._later: tuple[Array, Array] | None = None
        cases = len(self._weights)
        self.total = Omega(np.zeros(cases), np.zeros_like(self._weights), np.zeros(cases))

    def __call__(self, t: int, dz: Array, exponent: Array) -> None:
        """Take the adjoint at time `t`; that of the step after it goes through this step's derivative."""
        if self._later is not None:
            derivative = self._trajectory.local(t)[0]
            adjoint, power = self._later
            self.total = self.total.plus(omega_at(derivative, adjoint, self._weights, power))
        self._later = dz[0, 0].copy(), exponent[0].copy()


class _Losses:
    """Keeps what a lane's losses were, for learners that only tell the gradient."""

    def __init__(self, lane: Lane, cases: int, batch: int):
        self._at: dict[int, Array] = {}
        self._shape = cases, batch
        self.astray = np.zeros(cases, dtype=bool)

        def look(times: Sequence[int], state: Array) -> tuple[Array, Array]:
            loss, slope = lane.look(times, state)
            self._at |= zip(times, loss, strict=True)
            fine = np.isfinite(loss).all(axis=-1) & np.isfinite(slope).all(axis=(-2, -1))
            self.astray |= ~fine.all(axis=0)
            return loss, slope

        self.lane = Lane(lane.looks, look, lane.readout, _OFF, (_OFF,))

    def mean(self) -> Array:
        """Return the loss of each case, (case,)."""
        total = np.zeros(self._shape)
        for t in sorted(self._at):
            total += self._at[t]
        return np.asarray(total.mean(axis=-1))


def _key(seed: int, update: int) -> int:
    """Return the root seed of a learner's own streams at an update."""
    return int(streams.digest([seed, "learner", update]), 16)


def settled(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
    """Return a block of gradients with powers of two that follow from its values alone.

    How the engine divides a number between mantissa and power may depend on what is computed beside it.
    Here the power is zero, or that of the largest entry where this is far from one.
    """
    peak = np.maximum(mantissa.max(axis=(1, 2)), -mantissa.min(axis=(1, 2)))
    alive = peak > 0
    power = np.where(alive, np.frexp(peak)[1] + exponent, 0)
    power[np.abs(power) < window(mantissa.dtype).square // 4] = 0
    shift = np.where(alive, exponent - power, 0)
    if shift.any():
        mantissa = ldexp(mantissa, shift[:, None, None])
    return mantissa, power


def part(gradient: ScaledGradient, rows: slice) -> ScaledGradient:
    """Return the gradient of some cases."""
    return gradient.map(lambda mantissa, exponent: (mantissa[rows], exponent[rows]))


def given_of(needs: Sequence[str], work: Pass, seen: Seen, rows: slice, history: Array | None) -> Given:
    """Return what a clip rule may look at."""
    if not needs:
        return Given()
    batch = work.cases[0].task.batch
    own = slice(rows.start * batch, rows.stop * batch)
    return Given(
        tuple(block[rows] for block in work.parameters.blocks) if "weights" in needs else None,
        history[rows] if "history" in needs and history is not None else None,
        (lambda: part(work.samples(seen), own)) if "samples" in needs else None,
    )
