"""Views of lanes: factors for each sample by which a clipped pass differs from the raw one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import ldexp, log2_total
from gradlab.learning.clipping import AbstractClip

Array = NDArray[Any]
_NEVER = 2**31 - 1
NEARLY = 1e-6  # far above the rounding of a length, so that what is not near a bound is within it
SMALL = 1e-300  # below it a factor, as a plain number, may be rounded by more


class Views:
    """All views of all lanes, in the order of the lanes.

    A view's factor is ``mantissa * 2 ** exponent`` for each sample; it starts at one and can only
    fall on the way back, to wherever its rule holds the sample's adjoint.

    Parameters
    ----------
    rules : sequence of sequences of AbstractClip
        For every lane the rules of its views.
    cases, batch : int
        Sizes.

    Attributes
    ----------
    lane : integer array of shape (view,)
        The lane of each view.
    rescaled : boolean array of shape (view,)
        Whether the view has a rule that rescales samples.
    mantissa, exponent : arrays of shape (view, case, batch), or None
        None where no view is rescaled.
    acted : boolean array of shape (view, case)
        Where a rule has lowered the factor of any sample.
    """

    def __init__(self, rules: Sequence[Sequence[AbstractClip]], cases: int, batch: int):
        flat = [rule for own in rules for rule in own]
        self.count = len(flat)
        self.lane = np.repeat(np.arange(len(rules)), [len(own) for own in rules])
        self._ends = np.cumsum([len(own) for own in rules])
        self._bound = np.array([rule.sample_bound() for rule in flat])
        self.rescaled = np.isfinite(self._bound)
        self._lowered = np.flatnonzero(self.rescaled)
        self._surely = self._bound[self._lowered, None, None] * (1.0 - NEARLY)  # what is shorter is within
        self.acted = np.zeros((self.count, cases), dtype=bool)
        self.mantissa: Array | None = None
        self.exponent: Array | None = None
        if self.rescaled.any():
            self.mantissa = np.ones((self.count, cases, batch))
            self.exponent = np.zeros((self.count, cases, batch), dtype=np.int64)
            self._note()

    def of(self, lane: int) -> range:
        """Return the numbers of a lane's views."""
        return range(0 if lane == 0 else int(self._ends[lane - 1]), int(self._ends[lane]))

    def active(self, lanes: int) -> int:
        """Return how many views the first `lanes` lanes have."""
        return int(self._ends[lanes - 1])

    def update(self, squares: Array, exponent: Array) -> None:
        """Lower the factors where an adjoint, so scaled, would be longer than its rule allows.

        Parameters
        ----------
        squares, exponent : arrays of shape (lane, case, batch)
            Each sample's squared adjoint norm, ``squares * 4 ** exponent``, of the active lanes.
        """
        if self.mantissa is None or self.exponent is None or not self._near(squares, exponent):
            return
        lane = self.lane[: self.active(len(squares))]
        size, size_power = np.frexp(np.sqrt(squares[lane].astype(np.float64)))
        bound, bound_power = np.frexp(np.where(self.rescaled, self._bound, 1.0)[: len(lane), None, None])
        wanted, power = np.frexp(bound / size)
        power = power + (bound_power - size_power) - exponent[lane]
        power = np.where((size > 0) & self.rescaled[: len(lane), None, None], power, _NEVER)
        held, held_power = np.frexp(self.mantissa[: len(lane)])
        held_power = held_power + self.exponent[: len(lane)]
        lower = (power < held_power) | ((power == held_power) & (wanted < held))
        self.acted[: len(lane)] |= lower.any(axis=-1)
        np.copyto(self.mantissa[: len(lane)], wanted, where=lower)
        np.copyto(self.exponent[: len(lane)], power, where=lower)
        self._note()

    def _near(self, squares: Array, exponent: Array) -> bool:
        """Whether an adjoint, so scaled, is as long as its rule allows, or nearly: a factor may have to fall.

        Looking takes a third of the time that finding new factors does, and few time steps need those.
        """
        count = int(np.searchsorted(self._lowered, self.active(len(squares))))
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.sqrt(squares)
            size = ldexp(size, exponent) if exponent.any() else size
            within = self._plain[:count] * size[self.lane[self._lowered[:count]]] < self._surely[:count]
        return not bool(within.all())

    def _note(self) -> None:
        """Keep the factors as plain numbers; a very small one is near, whatever it meets."""
        assert self.mantissa is not None
        assert self.exponent is not None
        factor = ldexp(self.mantissa[self._lowered], self.exponent[self._lowered])
        self._plain = np.where(factor > SMALL, factor, np.inf)

    def fold(self, lane: int, parts: Sequence[Array], exponent: Array) -> None:
        """Multiply the factor of a lane's only view into its adjoint, in place, and start again from one."""
        if self.mantissa is None or self.exponent is None:
            return
        (view,) = self.of(lane)
        for part in parts:
            part *= self.mantissa[view].astype(part.dtype)[:, None, :]
        exponent += self.exponent[view]
        self.mantissa[view], self.exponent[view] = 1.0, 0
        self._plain[self._lowered == view] = 1.0

    def log2_norms(self, squares: Array, exponent: Array) -> Array:
        """Return log2 of the norm over the batch for the active views, shape (view, case).

        `squares` and `exponent`, (lane, case, batch), are those of the active lanes.
        """
        lane = self.lane[: self.active(len(squares))]
        if self.mantissa is None or self.exponent is None:
            return log2_total(squares, exponent)[lane]
        mantissa = self.mantissa[: len(lane)]
        return log2_total(squares[lane] * mantissa * mantissa, exponent[lane] + self.exponent[: len(lane)])

    def shifts(self, exponent: Array | None, lanes: int) -> Array | None:
        """Return the powers of two of the active views, (view, case, batch); None for zeros."""
        count = self.active(lanes)
        if self.exponent is None:
            return None if exponent is None else exponent[self.lane[:count]]
        own = self.exponent[:count]
        return own if exponent is None else own + exponent[self.lane[:count]]
