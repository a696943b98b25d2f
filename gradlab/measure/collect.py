"""From what the engine measured to records by forward pass and view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.backward import Backward
from gradlab.learning.layers import Layers
from gradlab.learning.taps import PATHS
from gradlab.learning.trajectory import Trajectory
from gradlab.measure.layout import Layout, View
from gradlab.measure.learned import Learned
from gradlab.measure.records import (
    OF_GRADIENT,
    OF_LEARNER,
    OF_SAMPLES,
    OK,
    OVERFLOWED,
    RECORDS,
    UNDETERMINED,
    earlier,
    growth,
)
from gradlab.network.cells import AbstractCell
from gradlab.network.spectra import Drawn
from gradlab.tasks import AbstractTask

Array = NDArray[Any]

#: The engine's tap behind each record that is a norm along the lag.
TAPS = {
    "log10_state_gradient_norm": "state",
    "log10_memory_gradient_norm": "memory",
    "log10_preactivation_gradient_norm": "preactivation",
    "log10_weight_gradient_norm": "weight",
}


def open_taps(wanted: frozenset[str], cell: AbstractCell) -> frozenset[str]:
    """Return the taps that a set of records needs."""
    taps = {tap for name, tap in TAPS.items() if name in wanted}
    if "log10_path_gradient_norm" in wanted and cell.gated:
        taps.add("path")
    return frozenset(taps | ({"sample"} if wanted & OF_SAMPLES else set()))


class Collect:
    """Turns what the engine measured on a tile into records by (run, view)."""

    def __init__(
        self,
        views: Sequence[View],
        layout: Layout,
        wanted: frozenset[str],
        drawn: Sequence[Sequence[Sequence[Sequence[Drawn]]]],
        layers: Layers,
        result: Backward,
        credit: Mapping[AbstractTask, Array],
        learned: Learned | None,
    ):
        self.views, self.layout, self.wanted, self.drawn = views, layout, wanted, drawn
        self.layers, self.result, self.credit, self.learned = layers, result, credit, learned
        self.runs = len(drawn)
        # The reverse direction goes on, in its own time, to the first step of the sequence.
        both = layers.networks.directions > 1
        self.lags = max(view.task.steps if both else view.task.lags for view in views)

    def records(self) -> dict[str, Array]:
        """Return all wanted records, and status and first_overflow."""
        first = np.stack([self._first_overflow(v) for v in range(len(self.views))], axis=1)
        self.overflowed = first >= 0
        out: dict[str, Array] = {
            "status": np.where(first >= 0, OVERFLOWED, OK).astype(np.int8),
            "first_overflow": first,
        }
        self._add_profiles(out)
        if "saturation" in self.wanted:
            out["saturation"] = self._saturation()
        if "log10_path_gradient_norm" in self.wanted:
            out["log10_path_gradient_norm"] = self._paths()
        if "log10_credit_norm" in self.wanted:
            out["log10_credit_norm"] = self._credit()
        if self.wanted & OF_SAMPLES:
            self._add_growth(out)
        if self.learned is not None:
            self._add_gradients(out, self.learned)
        if "loss" in self.wanted:
            out["loss"] = np.stack(
                [self.result.loss[lane].mean(axis=-1) for lane, _ in self.layout.place], axis=1
            )
        self._mark_overflow(out, self.overflowed)
        self._add_drawn(out)
        return {
            name: out[name] for name in out if name in self.wanted or name in ("status", "first_overflow")
        }

    def _empty(self, *between: int) -> Array:
        """Return an array (run, view, layer, direction, ..., lag) of NaN."""
        sizes = len(self.layers.trajectories), len(self.layers.top)
        return np.full((self.runs, len(self.views), *sizes, *between, self.lags), np.nan)

    def _add_profiles(self, out: dict[str, Array]) -> None:
        profiles = {tap: name for name, tap in TAPS.items() if name in self.wanted}
        if self.wanted & OF_SAMPLES:
            profiles |= {"mean": "mean_log10_sample_gradient_norm", "std": "std_log10_sample_gradient_norm"}
        has_memory = "memory" in self.layers.networks.cell.state_parts
        for tap, name in profiles.items():
            out[name] = self._empty()
            if tap != "memory" or has_memory:
                self._fill(out[name], tap, self.layout.place)

    def _fill(self, out: Array, tap: str, place: Sequence[tuple[int, int]]) -> None:
        """Write what a tap recorded for every view at (lane, view) `place`."""
        for layer, directions in enumerate(self.result.records):
            for direction, records in enumerate(directions):
                for v, (lane, view) in enumerate(place):
                    values = records[tap][lane][view]
                    # Whatever an overflowed case gave, only what is not there stays NaN.
                    out[:, v, layer, direction, : values.shape[-1]] = np.where(
                        self.overflowed[:, v, None], np.inf, values
                    )

    def _paths(self) -> Array:
        out = self._empty(len(PATHS))
        if self.layers.networks.cell.gated:
            for i, path in enumerate(PATHS):
                self._fill(out[..., i, :], f"path {path}", self.layout.raw)
        return out

    def _credit(self) -> Array:
        longest = max(view.task.steps for view in self.views)
        out = np.full((self.runs, len(self.views), longest, self.lags), np.nan)
        for v, view in enumerate(self.views):
            values = self.credit[view.task]
            out[:, v, : values.shape[1], : values.shape[2]] = values
        return out

    def _trajectories(self) -> Iterator[tuple[int, int, Trajectory]]:
        """Yield all trajectories with their layer and direction."""
        for layer, directions in enumerate(self.layers.trajectories):
            for direction, trajectory in enumerate(directions):
                yield layer, direction, trajectory

    def _state_overflow(self, task: AbstractTask) -> Array:
        """Return the first time step that a loss can see at which a state left the range; -1 for never."""
        first = np.full(self.runs, -1, dtype=np.int64)
        for _, direction, trajectory in self._trajectories():
            own = trajectory.first_overflow
            if direction:
                own = np.where(own >= 0, self.layers.networks.length - 1 - own, -1)
            elif self.layers.networks.directions == 1:
                own = np.where(own < task.lags, own, -1)
            first = earlier(own, first)
        return first

    def _first_overflow(self, v: int) -> Array:
        """Return the first time step at which the state, or the loss's slope, left the range; else -1."""
        state = self._state_overflow(self.views[v].task)
        return earlier(state, self.result.overflow[self.layout.place[v][0]])

    def _saturation(self) -> Array:
        out = self._empty()
        for layer, direction, trajectory in self._trajectories():
            assert trajectory.saturation is not None
            for v, (lane, _) in enumerate(self.layout.place):
                lags = self._lags_of(layer, direction, lane)
                values = trajectory.saturation[:lags][::-1].T
                # Whatever an overflowed case gave, only what is not there stays NaN.
                out[:, v, layer, direction, :lags] = np.where(self.overflowed[:, v, None], np.inf, values)
        return out

    def _lags_of(self, layer: int, direction: int, lane: int) -> int:
        """Return how many lags there are: time steps up to the last one that an adjoint reaches."""
        task, networks = self.layout.tasks[lane], self.layers.networks
        if layer + 1 == len(self.layers.trajectories):
            return networks.length - task.looks()[0] if direction else task.lags
        return networks.length if networks.directions > 1 else task.lags

    def _add_growth(self, out: dict[str, Array]) -> None:
        shape = (self.runs, len(self.views))
        rate, error, regime = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.int8)
        for v, (lane, view) in enumerate(self.layout.place):
            profile = self.result.records[-1][0]["mean"][lane][view]
            rate[:, v], error[:, v], regime[:, v] = growth(profile)
        out["growth_rate"], out["growth_rate_standard_error"], out["regime"] = rate, error, regime

    def _add_gradients(self, out: dict[str, Array], learned: Learned) -> None:
        asked = (OF_GRADIENT | OF_LEARNER) & self.wanted
        for name in asked:
            out[name] = np.empty((self.runs, len(self.views)))
        for v, view in enumerate(self.views):
            compared = learned.compared(v, view, asked)
            for name in asked:
                out[name][:, v] = compared[name]
        if "log10_online_gradient_norm" in self.wanted:
            longest = max(view.task.steps for view in self.views)
            norms = out["log10_online_gradient_norm"] = np.full((self.runs, len(self.views), longest), np.nan)
            for v, made in enumerate(learned.made):
                if made is not None and made.online is not None:
                    norms[:, v, : made.online.shape[1]] = made.online

    def _mark_overflow(self, out: dict[str, Array], overflowed: Array) -> None:
        """Set every number of an overflowed case to +inf, and leave what is not there NaN."""
        if not overflowed.any():
            return
        for name, values in out.items():
            if name == "regime":
                values[overflowed] = UNDETERMINED
            elif values.dtype.kind == "f":
                own = values[overflowed]
                values[overflowed] = np.where(np.isnan(own), np.nan, np.inf) if RECORDS[name] else np.inf

    def _add_drawn(self, out: dict[str, Array]) -> None:
        for name, attribute in (
            ("radius_drawn", "radius"),
            ("norm_drawn", "norm"),
            ("henrici_departure", "henrici_departure"),
        ):
            if name in self.wanted:
                values = np.array(
                    [
                        [[[getattr(d, attribute) for d in gates] for gates in layer] for layer in case]
                        for case in self.drawn
                    ]
                )
                out[name] = np.repeat(values[:, None], len(self.views), axis=1)
