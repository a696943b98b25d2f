"""From what the engine measured to records by forward pass and view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import LOG10_2
from gradlab.learning.bptt import Backward
from gradlab.learning.gradient import ScaledGradient, angle
from gradlab.learning.taps import Taps
from gradlab.learning.trajectory import Trajectory
from gradlab.measure.layout import Layout, View
from gradlab.measure.records import OF_GRADIENT, OF_SAMPLES, OK, OVERFLOWED, UNDETERMINED, growth
from gradlab.network.spectra import Drawn

Array = NDArray[Any]

#: The engine's tap behind each record that is a norm along the lag.
TAPS = {
    "log10_state_gradient_norm": "state",
    "log10_memory_gradient_norm": "memory",
    "log10_preactivation_gradient_norm": "preactivation",
    "log10_weight_gradient_norm": "weight",
}


def open_taps(wanted: frozenset[str]) -> frozenset[str]:
    """Return the taps that a set of records needs."""
    taps = {tap for name, tap in TAPS.items() if name in wanted}
    return frozenset(taps | ({"sample"} if wanted & OF_SAMPLES else set()))


class Collect:
    """Turns what the engine measured on a tile into records by (run, view)."""

    def __init__(
        self,
        views: Sequence[View],
        layout: Layout,
        wanted: frozenset[str],
        drawn: Sequence[Sequence[Drawn]],
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
        profiles = {tap: name for name, tap in TAPS.items() if name in self.wanted}
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
        """Return the gradient of the batch's mean loss; zero for overflowed cases, which have none."""
        total = self.result.gradients[place[0]][place[1]]
        batch = self.trajectory.stack.batch
        state, lags = self.trajectory.first_overflow, self.layout.tasks[place[0]].lags
        gone = ((state >= 0) & (state < lags)) | (self.result.overflow[place[0]] >= 0)

        def mean(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
            mantissa = mantissa / mantissa.dtype.type(batch)
            mantissa[gone] = 0.0
            return mantissa, exponent

        with np.errstate(all="ignore"):
            return total.map(mean)

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
                values = np.array([[getattr(one, attribute) for one in matrices] for matrices in self.drawn])
                out[name] = np.repeat(values[:, None], len(self.views), axis=1)
