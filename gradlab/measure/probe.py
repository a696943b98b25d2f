"""One backward pass looked at closely: settings in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import LOG10_2
from gradlab.learning.bptt import Backward, Lane, backpropagate
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.clipping.off import Off
from gradlab.learning.gradient import ScaledGradient, angle
from gradlab.learning.taps import Taps
from gradlab.learning.trajectory import Stack, Trajectory
from gradlab.learning.workspace import Workspace
from gradlab.measure.records import (
    OF_GRADIENT,
    OF_SAMPLES,
    OK,
    OVERFLOWED,
    RECORDS,
    UNDETERMINED,
    growth,
)
from gradlab.measure.size import Sizes, sizes_of, tile_and_segment
from gradlab.network.parameters import Parameters, draw_readout
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

Array = NDArray[Any]
_OFF = Off()
_TAPS = {
    "log10_state_gradient_norm": "state",
    "log10_memory_gradient_norm": "memory",
    "log10_preactivation_gradient_norm": "preactivation",
    "log10_weight_gradient_norm": "weight",
}


@dataclass(frozen=True)
class Run:
    """One forward pass: a network, and the keys of its random streams."""

    network: NetworkSettings
    seed: int
    replicate: int


@dataclass(frozen=True)
class View:
    """What is measured on a forward pass: where the loss looks, and the clip rule."""

    task: AbstractTask
    clip: AbstractClip


@dataclass(frozen=True)
class Block:
    """Forward passes of equal shape, each measured through the same views.

    All networks agree in cell, activation, hidden size and dtype; all tasks agree in the stream of
    inputs. Every (run, view) is one case.
    """

    runs: tuple[Run, ...]
    views: tuple[View, ...]


@dataclass(frozen=True)
class _Layout:
    """How the views of a block are served: engine lanes, and (lane, view) of each case and its raw twin."""

    tasks: tuple[AbstractTask, ...]
    rules: tuple[AbstractClip, ...]
    scales: tuple[tuple[AbstractClip, ...], ...]
    place: tuple[tuple[int, int], ...]
    raw: tuple[tuple[int, int], ...]


def _layout(views: Sequence[View], gradients: bool) -> _Layout:
    """Share backward passes among views: lanes by (task, rule of the recursion)."""
    lanes: dict[tuple[AbstractTask, AbstractClip], list[AbstractClip]] = {}

    def serve(
        task: AbstractTask, clip: AbstractClip
    ) -> tuple[tuple[AbstractTask, AbstractClip], AbstractClip]:
        alone = clip.changes_entries or (clip.rescales_samples and len(task.looks()) > 1)
        key = (task, clip if alone else _OFF)
        scale = clip if clip.rescales_samples else _OFF
        scales = lanes.setdefault(key, [])
        if scale not in scales:
            scales.append(scale)
        return key, scale

    placed = []
    for view in views:
        rule = view.clip if view.clip.scope == "adjoint" else _OFF
        raw = serve(view.task, _OFF) if gradients else None
        own = serve(view.task, rule)
        placed.append((own, raw or own))
    keys = sorted(lanes, key=lambda key: -key[0].lags)
    where = {key: i for i, key in enumerate(keys)}

    def index(key: tuple[AbstractTask, AbstractClip], scale: AbstractClip) -> tuple[int, int]:
        return where[key], lanes[key].index(scale)

    return _Layout(
        tuple(key[0] for key in keys),
        tuple(key[1] for key in keys),
        tuple(tuple(lanes[key]) for key in keys),
        tuple(index(*own) for own, _ in placed),
        tuple(index(*raw) for _, raw in placed),
    )


def probe(
    block: Block,
    record: Collection[str] = tuple(RECORDS),
    memory: int = 256 << 20,
    workspace: Workspace | None = None,
) -> dict[str, Array]:
    """Measure every case of a block.

    Parameters
    ----------
    block : Block
        What to measure.
    record : collection of str
        Names out of `RECORDS`; what is not asked for is not computed.
    memory : int
        Bytes that the buffers may take; it decides how many forward passes are held at once and
        how long the stretches of the tape are, and changes no bit of any result.
    workspace : Workspace, optional
        Buffers to reuse.

    Returns
    -------
    dict of arrays
        By record, shape (run, view), (run, view, lag) or (run, view, gate); further "status" and
        "first_overflow". Lags beyond a case's own are NaN; where the forward state overflowed,
        norms and rates are +inf.
    """
    wanted = frozenset(record)
    gradients = bool(wanted & OF_GRADIENT)
    layout = _layout(block.views, gradients)
    workspace = workspace or Workspace()
    tile, segment = tile_and_segment(_sizes(block, layout, wanted), memory)
    parts = [
        _probe_tile(block.runs[i : i + tile], block.views, layout, wanted, segment, workspace)
        for i in range(0, len(block.runs), tile)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def backward_passes(views: Sequence[View], gradients: bool) -> int:
    """Return how many backward passes serve these views on one forward pass."""
    return len(_layout(views, gradients).tasks)


def check_memory(
    block: Block, record: Collection[str], memory: int, total: Callable[[int], int] = int
) -> None:
    """Raise UserMistake if not even one run of the block fits into `memory` bytes.

    `total` turns the bytes that would suffice for the buffers into what the message asks for.
    """
    wanted = frozenset(record)
    layout = _layout(block.views, bool(wanted & OF_GRADIENT))
    tile_and_segment(_sizes(block, layout, wanted), memory, total)


def buffer_bytes(block: Block, record: Collection[str], memory: int) -> int:
    """Return the bytes that `probe` will take for a block under a bound."""
    wanted = frozenset(record)
    sizes = _sizes(block, _layout(block.views, bool(wanted & OF_GRADIENT)), wanted)
    tile, segment = tile_and_segment(sizes, memory)
    return sizes.total(min(tile, len(block.runs)), segment)


def _sizes(block: Block, layout: _Layout, wanted: frozenset[str]) -> Sizes:
    views, lags = len(block.views), layout.tasks[0].lags
    along = [RECORDS[name] for name in wanted]
    results = len(block.runs) * views * sum(lags if kind == "lag" else 1 for kind in along)
    scales = sum(map(len, layout.scales))
    gradients = bool(wanted & OF_GRADIENT)
    return sizes_of(block.runs[0].network, layout.tasks, scales, gradients, _open_taps(wanted), results)


def _open_taps(wanted: frozenset[str]) -> frozenset[str]:
    taps = {tap for name, tap in _TAPS.items() if name in wanted}
    return frozenset(taps | ({"sample"} if wanted & OF_SAMPLES else set()))


def _probe_tile(
    runs: Sequence[Run],
    views: Sequence[View],
    layout: _Layout,
    wanted: frozenset[str],
    segment: int,
    workspace: Workspace,
) -> dict[str, Array]:
    network, task = runs[0].network, layout.tasks[0]
    drawn = [
        Parameters.draw(
            run.network, features=task.features, length=task.length, seed=run.seed, replicate=run.replicate
        )
        for run in runs
    ]
    length = task.lags

    def inputs(start: int, stop: int) -> Array:
        shape = (stop - start, len(runs), task.features, task.batch)
        buffer = workspace.take("inputs", shape, network.dtype)
        for c, run in enumerate(runs):
            buffer[:, c] = task.inputs(start, stop, run.seed, run.replicate)
        return buffer

    affine = np.stack([p.affine for p in drawn])
    stack = Stack(network.cell, network.activation, affine, inputs, length, network.hidden, task.batch)
    lanes = [_lane(runs, *lane) for lane in zip(layout.tasks, layout.rules, layout.scales, strict=True)]
    gradients = bool(wanted & OF_GRADIENT)
    open_taps = _open_taps(wanted)
    taps = Taps(
        open_taps,
        [lane.looks[-1] for lane in lanes],
        [len(lane.views) for lane in lanes],
        len(runs),
        task.batch,
        min(segment, length),
    )
    many_looks = any(len(lane.looks) > 1 for lane in lanes)
    with np.errstate(all="ignore"):  # what leaves the range of the forward state is found and marked
        trajectory = Trajectory(
            stack,
            segment=segment,
            keep_states=gradients or many_looks or "weight" in open_taps,
            looks={t for lane in lanes for t in lane.looks} if not many_looks else set(),
            saturation="saturation" in wanted,
            workspace=workspace,
        )
        trajectory.run()
        result = backpropagate(trajectory, lanes, taps, gradients=gradients, workspace=workspace)
    return _Collect(views, layout, wanted, drawn, trajectory, taps, result).records()


def _lane(
    runs: Sequence[Run], task: AbstractTask, rule: AbstractClip, scales: tuple[AbstractClip, ...]
) -> Lane:
    """Return the engine's lane for a task: its targets, its readouts, its rules."""
    network, loss = runs[0].network, task.loss_entry
    readout = None
    if loss.uses_readout:
        readout = np.stack(
            [
                draw_readout(run.network, outputs=task.n_outputs, seed=run.seed, replicate=run.replicate)
                for run in runs
            ]
        )

    def look(t: int, state: Array) -> tuple[Array, Array]:
        target = np.stack([task.targets(t, t + 1, r.seed, r.replicate, network.hidden)[0] for r in runs])
        if loss.target_kind != "classes":
            target = target.astype(state.dtype, copy=False)
        if readout is None:
            return loss.evaluate(state, target)
        n = network.hidden
        return loss.evaluate(np.matmul(readout[:, :, :n], state) + readout[:, :, n:], target)

    return Lane(task.looks(), look, readout, rule, scales)


class _Collect:
    """Turns what the engine measured on a tile into records by (run, view)."""

    def __init__(
        self,
        views: Sequence[View],
        layout: _Layout,
        wanted: frozenset[str],
        drawn: Sequence[Parameters],
        trajectory: Trajectory,
        taps: Taps,
        result: Backward,
    ):
        self.views, self.layout, self.wanted, self.drawn = views, layout, wanted, drawn
        self.trajectory, self.taps, self.result = trajectory, taps, result
        self.runs = len(drawn)
        self.lags = max(view.task.lags for view in views)

    def records(self) -> dict[str, Array]:
        """Return all wanted records, and status and first_overflow."""
        shape = (self.runs, len(self.views))
        first = np.stack([self._first_overflow(v) for v in range(len(self.views))], axis=1)
        out: dict[str, Array] = {
            "status": np.where(first >= 0, OVERFLOWED, OK).astype(np.int8),
            "first_overflow": first,
        }
        profiles = {tap: name for name, tap in _TAPS.items() if name in self.wanted}
        if self.wanted & OF_SAMPLES:
            profiles |= {"mean": "mean_log10_sample_gradient_norm", "std": "std_log10_sample_gradient_norm"}
        for tap, name in profiles.items():
            out[name] = np.full((*shape, self.lags), np.nan)
            if tap in self.taps.records and not (tap == "memory" and not self._has_memory()):
                for v, (lane, view) in enumerate(self.layout.place):
                    values = self.taps.records[tap][lane][view]
                    out[name][:, v, : values.shape[-1]] = values
        if "saturation" in self.wanted:
            out["saturation"] = self._saturation()
        if self.wanted & OF_SAMPLES:
            self._add_growth(out)
        if self.wanted & OF_GRADIENT:
            self._add_gradients(out)
        if "loss" in self.wanted:
            out["loss"] = np.stack(
                [self.result.loss[lane].mean(axis=-1) for lane, _ in self.layout.place], axis=1
            )
        self._mark_overflow(out, first >= 0)
        self._add_drawn(out)
        return {
            name: out[name] for name in out if name in self.wanted or name in ("status", "first_overflow")
        }

    def _has_memory(self) -> bool:
        return "memory" in self.trajectory.stack.cell.state_parts

    def _first_overflow(self, v: int) -> Array:
        """Return the first time step at which the state, or the loss, left the range; -1 for never."""
        lane = self.layout.place[v][0]
        state = self.trajectory.first_overflow
        state = np.where((state >= 0) & (state < self.views[v].task.lags), state, -1)
        loss = self.result.overflow[lane]
        return np.asarray(np.where(state >= 0, np.where(loss >= 0, np.minimum(state, loss), state), loss))

    def _saturation(self) -> Array:
        assert self.trajectory.saturation is not None
        out = np.full((self.runs, len(self.views), self.lags), np.nan)
        for v, view in enumerate(self.views):
            out[:, v, : view.task.lags] = self.trajectory.saturation[: view.task.lags][::-1].T
        return out

    def _add_growth(self, out: dict[str, Array]) -> None:
        shape = (self.runs, len(self.views))
        rate, error, regime = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.int8)
        for v, (lane, view) in enumerate(self.layout.place):
            rate[:, v], error[:, v], regime[:, v] = growth(self.taps.records["mean"][lane][view])
        out["growth_rate"], out["growth_rate_standard_error"], out["regime"] = rate, error, regime

    def _gradient(self, place: tuple[int, int]) -> ScaledGradient:
        """Return the gradient of the batch's mean loss."""
        total = self.result.gradients[place[0]][place[1]]
        batch = self.trajectory.stack.batch
        return total.map(lambda mantissa, exponent: (mantissa / mantissa.dtype.type(batch), exponent))

    def _add_gradients(self, out: dict[str, Array]) -> None:
        shape = (self.runs, len(self.views))
        names = ("log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor", "clip_angle")
        for name in names:
            out[name] = np.empty(shape)
        cache: dict[tuple[int, int], tuple[ScaledGradient, Array]] = {}

        def known(place: tuple[int, int]) -> tuple[ScaledGradient, Array]:
            if place not in cache:
                gradient = self._gradient(place)
                cache[place] = gradient, gradient.log2_norm()
            return cache[place]

        for v, view in enumerate(self.views):
            raw, before = known(self.layout.raw[v])
            own, own_norm = known(self.layout.place[v])
            clipped = view.clip.clip_gradient(own)
            after = own_norm if clipped is own else clipped.log2_norm()
            out["log10_gradient_norm"][:, v] = before * LOG10_2
            out["log10_clipped_gradient_norm"][:, v] = after * LOG10_2
            difference = np.where(
                np.isfinite(before), after - np.where(np.isfinite(before), before, 0.0), 0.0
            )
            out["clip_factor"][:, v] = np.exp2(difference)
            parallel = clipped is raw or (view.clip.scope == "parameters" and view.clip.keeps_direction)
            out["clip_angle"][:, v] = 0.0 if parallel else angle(raw, clipped)

    def _mark_overflow(self, out: dict[str, Array], overflowed: Array) -> None:
        if not overflowed.any():
            return
        for name, values in out.items():
            if name == "regime":
                values[overflowed] = UNDETERMINED
            elif values.dtype.kind == "f":
                if values.ndim == 3:
                    lags = np.array([view.task.lags for view in self.views])
                    inside = np.arange(self.lags) < lags[:, None]
                    values[overflowed[..., None] & inside] = np.inf
                else:
                    values[overflowed] = np.inf

    def _add_drawn(self, out: dict[str, Array]) -> None:
        for name, attribute in (
            ("radius_drawn", "radius"),
            ("norm_drawn", "norm"),
            ("henrici_departure", "henrici_departure"),
        ):
            if name in self.wanted:
                values = np.array([[getattr(d, attribute) for d in p.drawn] for p in self.drawn])
                out[name] = np.repeat(values[:, None], len(self.views), axis=1)
