"""The error surface over a plane of parameters, and descents over it with and without clipping.

The surface is measured by the engine itself: each place of the plane is a case, and the gradient comes
from full back-propagation. Gradients are those by the two coordinates of the plane,
``dL/da = sum dL/dtheta u`` for a place ``theta_0 + a u + b v``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import LOG10_2
from gradlab.learning.backward import backpropagate
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.clipping.off import Off
from gradlab.learning.layers import Layers, Weights
from gradlab.learning.scaled_gradient import ScaledGradient
from gradlab.learning.workspace import Workspace
from gradlab.measure.block import AbstractBlock
from gradlab.measure.material import Material, lane
from gradlab.measure.plane import LandscapeSettings, blocks_of, direction_of
from gradlab.measure.probe import Run, parameters_of
from gradlab.measure.probe import seconds_of as pass_seconds
from gradlab.measure.records import OK, OVERFLOWED, earlier
from gradlab.measure.size import Sizes, sizes_of, tile_and_segment
from gradlab.network.parameters import draw_readout
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

Array = NDArray[Any]

#: Every record with what it runs along besides the case itself.
RECORDS: dict[str, tuple[str, ...]] = {
    "surface_loss": ("second", "first"),
    "log10_surface_gradient_norm": ("second", "first"),
    "descent_first": ("update",),
    "descent_second": ("update",),
    "descent_loss": ("update",),
    "log10_descent_gradient_norm": ("update",),
}
SURFACE = frozenset({"surface_loss", "log10_surface_gradient_norm"})

TOGETHER = 4096  # places that are measured at once, at most
BUFFERS = 24 << 20  # bytes of adjoints and tape that they may take
MEMORY = 256 << 20
TRIAL_PLACES, TRIAL_UPDATES = 64, 4  # on each line, and of the descent, of a block that is only timed
UPDATE_PLACES = 300  # places of small networks, many at once, that take as long as one by itself
_OFF = Off()


@dataclass(frozen=True)
class LandscapeView:
    """What distinguishes cases that share the weights they begin with."""

    task: AbstractTask
    clip: AbstractClip
    landscape: LandscapeSettings


@dataclass(frozen=True)
class Block(AbstractBlock):
    """Networks of equal shape, each with the same planes."""

    runs: tuple[Run, ...]
    views: tuple[LandscapeView, ...]

    def measure(
        self, record: Collection[str], memory: int, workspace: Workspace, checkpoint: Path | None = None
    ) -> dict[str, Array]:
        """Measure every case; see `landscape`."""
        parts = [
            landscape(run.network, run.seed, run.replicate, self.views, record, memory, workspace)
            for run in self.runs
        ]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    def check_memory(self, record: Collection[str], memory: int, total: Callable[[int], int] = int) -> None:
        """Raise UserMistake if not even one place of the plane fits."""
        network = self.runs[0].network
        for view in self.views:
            _check_view(network, view, memory, total)

    def buffer_bytes(self, record: Collection[str], memory: int) -> int:
        """Return the bytes of the places that are measured at once, and of the surfaces."""
        network = self.runs[0].network
        return max(
            together(network, view.task, memory) * _bytes_of_place(network, view.task) + _kept(view)
            for view in self.views
        )

    @property
    def kind(self) -> object:
        """Structure of the networks, and the tasks."""
        return self.runs[0].network.structure(), tuple(view.task for view in self.views)

    @property
    def run_seconds(self) -> float:
        """About how long the planes of one network take."""
        return sum(seconds_of(self.runs[0].network, view.task, view.landscape) for view in self.views)

    def passes(self, record: Collection[str], *, shared: bool = True) -> tuple[int, int]:
        """Return forward and backward passes: one of each at every place and update."""
        one = [self] if shared else [replace(self, views=(view,)) for view in self.views]
        count = len(self.runs) * sum(sum(block._counts(record)) for block in one)
        return count, count

    def units(self, record: Collection[str]) -> tuple[float, ...]:
        """Return the places, an update counting as several."""
        places, updates = self._counts(record)
        return (len(self.runs) * float(places + UPDATE_PLACES * updates),)

    def _counts(self, record: Collection[str]) -> tuple[int, int]:
        """Return the places and updates of one network."""
        surfaces = {(view.task, view.landscape) for view in self.views} if SURFACE & set(record) else set()
        places = sum(plane.first.num * plane.second.num for _, plane in surfaces)
        return places, sum(view.landscape.updates + 1 for view in self.views)

    def trials(self) -> tuple[Block, ...]:
        """Return a block of one network with fewer places and updates."""
        views = []
        for view in self.views:
            plane = view.landscape
            first, second = (
                replace(line, num=min(line.num, TRIAL_PLACES)) for line in (plane.first, plane.second)
            )
            small = replace(plane, first=first, second=second, updates=min(plane.updates, TRIAL_UPDATES))
            views.append(replace(view, landscape=small))
        return (Block(self.runs[:1], tuple(views)),)


def seconds_of(network: NetworkSettings, task: AbstractTask, plane: LandscapeSettings) -> float:
    """Return about how long a case takes by itself."""
    return pass_seconds(network, task) * (plane.first.num * plane.second.num + plane.updates + 1)


def together(network: NetworkSettings, task: AbstractTask, memory: int) -> int:
    """Return how many places are measured at once; it changes no bit of any result."""
    most = min(BUFFERS, memory // 2) // _bytes_of_place(network, task)
    return int(max(1, min(TOGETHER, most)))


def _sizes(network: NetworkSettings, task: AbstractTask) -> Sizes:
    return sizes_of(network, [task], 1, True, (), 4)


def _bytes_of_place(network: NetworkSettings, task: AbstractTask) -> int:
    return _sizes(network, task).total(1, task.length)


def _check_view(
    network: NetworkSettings, view: LandscapeView, memory: int, total: Callable[[int], int]
) -> None:
    kept = _kept(view)
    tile_and_segment(_sizes(network, view.task), memory - kept, lambda places: total(places + kept))


def _kept(view: LandscapeView) -> int:
    """Return the bytes of a surface with its places."""
    return 64 * view.landscape.first.num * view.landscape.second.num


@dataclass(frozen=True)
class Measured:
    """Loss and gradient at some places of a plane.

    Parameters
    ----------
    loss : array of shape (place,)
        Mean over the batch; infinite where the forward state overflowed.
    gradient : ScaledGradient
        One block of shape (place, 1, 2): by the two coordinates.
    overflow : integer array of shape (place,)
        First time step at which the forward state was not finite; -1 where none was.
    """

    loss: Array
    gradient: ScaledGradient
    overflow: Array


class Plane:
    """A plane through the weights of one network.

    Parameters
    ----------
    network, task, settings : NetworkSettings, AbstractTask, LandscapeSettings
    seed, replicate : int
        Keys of the random streams.
    """

    def __init__(
        self,
        network: NetworkSettings,
        task: AbstractTask,
        settings: LandscapeSettings,
        seed: int,
        replicate: int,
    ):
        self.network, self.task, self.seed, self.replicate = network, task, seed, replicate
        blocks = blocks_of(network, task)
        drawn = parameters_of(network, task, seed, replicate)
        self.weights: list[Array] = []
        for one in (one for layer in drawn.layers for one in layer):
            self.weights.append(one.affine)
            if network.cell.diagonals:
                self.weights.append(one.diagonal)
        if task.loss_entry.uses_readout:
            self.weights.append(draw_readout(network, outputs=task.n_outputs, seed=seed, replicate=replicate))
        lines = (settings.first, settings.second)
        spans = [direction_of(line, blocks, self.weights, seed, replicate, i) for i, line in enumerate(lines)]
        self.directions = [direction for direction, _ in spans]
        self.origin = [place for _, place in spans]

    def at(self, places: Array) -> list[Array]:
        """Return the weights at places of shape (place, 2), by block, the place in front."""
        a, b = (places[:, i, None, None] - self.origin[i] for i in (0, 1))
        return [
            (w + a * u + b * v).astype(self.network.dtype)
            for w, u, v in zip(self.weights, *self.directions, strict=True)
        ]

    def measure(self, places: Array, clip: AbstractClip, workspace: Workspace) -> Measured:
        """Return loss and gradient at places of shape (place, 2), all in one pass."""
        task, count = self.task, len(places)
        material = self._material(self.at(places))
        with np.errstate(all="ignore"):
            layers = Layers(
                material.networks(task),
                segment=task.steps,
                keep_states=True,
                looks=set(),
                saturation=False,
                workspace=workspace,
            )
            layers.run()
            back = backpropagate(
                layers, [lane(material, task, clip, (clip,))], (), gradients=True, workspace=workspace
            )
        overflow = np.full(count, -1, dtype=np.int64)
        for first in [t.first_overflow for directions in layers.trajectories for t in directions]:
            overflow = earlier(first, overflow)
        overflow = np.where(overflow < 0, back.overflow[0], overflow)
        loss = np.where(overflow < 0, back.loss[0].mean(axis=-1), np.inf)
        gradient = self._within(back.gradients[0][0].times(1.0 / task.batch))
        return Measured(loss, gradient, overflow)

    def _within(self, gradient: ScaledGradient) -> ScaledGradient:
        """Return the gradient by the coordinates."""
        sums, exponents = [], np.stack(gradient.exponents)
        top = exponents.max(axis=0)
        with np.errstate(under="ignore"):
            for direction in self.directions:
                parts = [
                    np.ldexp((m.reshape(-1, *w.shape) * w).sum(axis=(1, 2)), e - top)
                    for m, w, e in zip(gradient.mantissas, direction, exponents, strict=True)
                    if w.any()
                ]
                # A direction in proportion to weights that are all zero has no length.
                sums.append(sum(parts[1:], start=parts[0]) if parts else np.zeros(top.shape))
        return ScaledGradient((np.stack(sums, axis=-1)[:, None, :],), (top,))

    def _material(self, weights: Sequence[Array]) -> Material:
        network, task, count = self.network, self.task, len(weights[0])
        step = 1 + bool(network.cell.diagonals)
        blocks = iter(range(0, step * network.layers * network.directions, step))

        def stacked(at: int) -> Weights:
            if step == 1:
                return Weights(weights[at], np.empty((0, count, network.hidden, 1)))
            return Weights(weights[at], weights[at + 1].transpose(1, 0, 2)[..., None])

        def repeated(values: Array) -> Array:
            return np.repeat(values[:, None], count, axis=1)

        def weight(of: AbstractTask, start: int, stop: int) -> Array | None:
            factors = of.weight(start, stop, self.seed, self.replicate)
            return None if factors is None else repeated(factors)

        width = network.hidden * network.directions
        return Material(
            network,
            [[stacked(next(blocks)) for _ in range(network.directions)] for _ in range(network.layers)],
            lambda start, stop: repeated(
                task.inputs(start, stop, self.seed, self.replicate).astype(network.dtype)
            ),
            lambda outputs: weights[-1],
            lambda of, start, stop: repeated(of.targets(start, stop, self.seed, self.replicate, width)),
            [],
            weight=weight,
        )


def landscape(
    network: NetworkSettings,
    seed: int,
    replicate: int,
    views: Sequence[LandscapeView],
    record: Collection[str] = tuple(RECORDS),
    memory: int = MEMORY,
    workspace: Workspace | None = None,
) -> dict[str, Array]:
    """Measure error surfaces and descents over them.

    Parameters
    ----------
    network : NetworkSettings
        Cell, size and the weights that random directions set out from.
    seed, replicate : int
        Keys of the random streams.
    views : sequence of LandscapeView
        Task, clip rule and plane; views that differ in the rule alone share a surface.
    record : collection of str
        Names out of `RECORDS`; what is not asked for is not computed.
    memory : int
        Bytes that the buffers may take; it changes no bit of any result.
    workspace : Workspace, optional
        Buffers to reuse.

    Returns
    -------
    dict of arrays
        By record, the view in front, followed by the dims that `RECORDS` names; further "status" and
        "first_overflow". A descent ends where the loss or the gradient is not finite: NaN from there on.
    """
    workspace, wanted = workspace or Workspace(), frozenset(record)
    surfaces: dict[tuple[AbstractTask, LandscapeSettings], dict[str, Array]] = {}
    rows = []
    longest = max(view.landscape.updates for view in views)
    for view in views:
        plane = Plane(network, view.task, view.landscape, seed, replicate)
        key = (view.task, view.landscape)
        if wanted & SURFACE and key not in surfaces:
            surfaces[key] = _surface(plane, view.landscape, memory, workspace)
        row = dict(surfaces.get(key, {}))
        if wanted - SURFACE:
            row |= _descent(plane, view.landscape, view.clip, workspace, longest)
        overflow = row.pop("overflow", np.array(-1))
        row["first_overflow"] = overflow
        row["status"] = np.where(overflow < 0, OK, OVERFLOWED).astype(np.int8)
        rows.append({name: row[name] for name in row if name in wanted or name not in RECORDS})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _surface(
    plane: Plane, settings: LandscapeSettings, memory: int, workspace: Workspace
) -> dict[str, Array]:
    """Return loss and gradient norm at every place, (second, first)."""
    grid = np.stack(np.meshgrid(settings.first.places, settings.second.places), axis=-1)
    places, most = grid.reshape(-1, 2), together(plane.network, plane.task, memory)
    parts = [plane.measure(places[i : i + most], _OFF, workspace) for i in range(0, len(places), most)]
    overflow = np.concatenate([part.overflow for part in parts])
    norms = np.concatenate([part.gradient.log2_norm() for part in parts]) * LOG10_2
    found = {
        "surface_loss": np.concatenate([part.loss for part in parts]).reshape(grid.shape[:2]),
        "log10_surface_gradient_norm": np.where(overflow < 0, norms, np.inf).reshape(grid.shape[:2]),
    }
    hit = overflow[overflow >= 0]
    return found | {"overflow": np.array(hit.min() if len(hit) else -1)}


def _descent(
    plane: Plane, settings: LandscapeSettings, clip: AbstractClip, workspace: Workspace, longest: int
) -> dict[str, Array]:
    """Return where gradient descent goes within the plane, update 0 being where it begins.

    It is NaN after its last update, up to that of the `longest` descent.
    """
    found = {name: np.full(longest + 1, np.nan) for name in RECORDS if name not in SURFACE}
    place = np.array([settings.begin])
    for update in range(settings.updates + 1):
        here = plane.measure(place, clip, workspace)
        norm = here.gradient.log2_norm() * LOG10_2
        found["descent_first"][update], found["descent_second"][update] = place[0]
        found["descent_loss"][update] = here.loss[0]
        found["log10_descent_gradient_norm"][update] = norm[0]
        with np.errstate(over="ignore"):
            change = settings.rate * clip.clip_gradient(here.gradient).values()[0][0, 0]
        if not (np.isfinite(here.loss).all() and np.isfinite(change).all()):
            break
        place = place - change
    return found
