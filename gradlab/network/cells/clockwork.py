"""The clockwork network (Koutnik and others 2014): modules of units that tick at different periods."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from gradlab.core.checks import integer, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells._base import AbstractCell, Array, registry


@registry.register
@dataclass(frozen=True)
class Clockwork(AbstractCell):
    """Plain recurrence in which a module of period ``p`` changes only at time steps ``t = 0, p, 2p, ...``.

    Units are sorted from fast to slow in modules of equal size; a module sees itself and slower
    modules, so the recurrent matrix is block upper triangular.

    Notation
        ``h'`` old state, ``h`` new state, ``phi`` activation, ``d`` an adjoint; ``on`` the units
        whose module has ``t mod p = 0``, ``off`` the others.

    Equations
        forward   ``z = W h' + U x + b``, ``h[on] = phi(z[on])``, ``h[off] = h'[off]``
        backward  ``dz[on] = phi'(z[on]) dh[on]``, ``dz[off] = 0``;
                  ``dh' = W^T dz``, and ``dh'[off] += dh[off]``

    Kept for backward: ``phi'(z)``, 0 where a unit does not change.

    Parameters
    ----------
    periods : tuple of int
        The period of each module, strictly increasing; `hidden` must be a multiple of their number.
        The default is the exponential series of the paper, short enough for small networks.

    Notes
    -----
    Saturation is the mean over the units that change; 1 at a time step where none does.

    References
    ----------
    Koutnik, Greff, Gomez and Schmidhuber (2014), A clockwork RNN.
    """

    name: ClassVar[str] = "clockwork"
    row_blocks: ClassVar[tuple[str, ...]] = ("state",)
    state_parts: ClassVar[tuple[str, ...]] = ("state",)
    local_parts: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    direct: ClassVar[bool] = True

    periods: tuple[int, ...] = (1, 2, 4, 8)

    def __post_init__(self) -> None:
        given = tuple(integer(f"periods[{i}]", p, at_least=1) for i, p in enumerate(self.periods))
        if not given or any(a >= b for a, b in pairwise(given)):
            expected = "at least one period, strictly increasing"
            raise UserMistake(Problem("periods", expected, shown(list(given)), "As in [1, 2, 4, 8]."))
        object.__setattr__(self, "periods", given)

    @property
    def cycle(self) -> int:
        """The least common multiple of the periods."""
        return math.lcm(*self.periods)

    def check_size(self, hidden: int) -> None:
        """Raise UserMistake unless `hidden` units make modules of equal size."""
        modules = len(self.periods)
        if hidden % modules:
            expected = f"a multiple of {modules}, the number of clockwork modules"
            hint = "Take another size, or give as many periods as fit (cell.periods)."
            raise UserMistake(Problem("hidden", expected, str(hidden), hint))

    def mask(self, hidden: int) -> Array:
        """Return the block upper triangle: a module sees itself and slower ones."""
        module = np.arange(hidden) // (hidden // len(self.periods))
        return np.asarray(module[:, None] <= module[None, :])

    def forward(
        self,
        activation: AbstractActivation,
        t: int,
        diagonal: Array,
        local: Array,
        old: Sequence[Array],
        new: Sequence[Array],
        saturation: Array | None,
    ) -> None:
        """Let the modules whose time it is take a step; the others keep their state."""
        z, before, state = local[0], old[0], new[0]
        changed = 0
        for rows, on in self._stretches(t, state.shape[1]):
            if on:
                activation.evaluate(z[:, rows], state[:, rows], z[:, rows])
                changed += rows.stop - rows.start
            else:
                np.copyto(state[:, rows], before[:, rows])
                z[:, rows] = 0.0
        if saturation is None:
            return
        if changed:
            # The others stand at 0 and add nothing to the sum.
            total = z.reshape(len(saturation), -1).sum(axis=-1)
            np.divide(total, changed * z.shape[-1], out=saturation)
        else:
            saturation[...] = 1.0

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz = phi'(z) dh`` where units changed; ``dh`` stays where they did not."""
        dh = adjoint[0]
        np.multiply(local[0], dh, out=dz[0])
        for rows, on in self._stretches(t, dh.shape[-2]):
            if on:
                dh[..., rows, :] = 0.0

    def _stretches(self, t: int, hidden: int) -> Iterator[tuple[slice, bool]]:
        """Yield stretches of units whose modules all change at time `t`, or all do not."""
        size, first = hidden // len(self.periods), 0
        on = [t % period == 0 for period in self.periods]
        for module in range(1, len(on) + 1):
            if module == len(on) or on[module] != on[first]:
                yield slice(first * size, module * size), on[first]
                first = module
