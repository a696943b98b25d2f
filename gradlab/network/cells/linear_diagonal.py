"""The linear recurrent unit (Orvieto and others 2023): complex numbers that turn and shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.scratch import scratch
from gradlab.network.activations import AbstractActivation
from gradlab.network.cells._base import AbstractCell, Array, registry
from gradlab.network.spectra import AbstractSpectrum


@registry.register
@dataclass(frozen=True)
class LinearDiagonal(AbstractCell):
    """A linear recurrence in the basis of its eigenvectors, which are taken for granted.

    The ``2 m`` real units are the real parts (first half) and imaginary parts (second half) of ``m``
    complex numbers, each multiplied by an eigenvalue at every time step: unit j and unit j + m are a
    pair. The eigenvalues are those of a matrix of the spectrum family: a conjugate pair ``p +- iq``
    gives one complex number its factor, two real eigenvalues give two independent real units.

    The activation of the network is not used: the recurrence is linear. In a deep network of the
    paper the nonlinearity stands between the layers.

    Notation
        ``h'`` old state, ``h`` new state, ``swap`` the exchange of the two halves, ``d`` the
        diagonal (``p, p``, or two real eigenvalues), ``r`` the rotation (``-q, +q``, or ``0, 0``),
        ``dh``, ``dz`` adjoints.

    Equations
        forward   ``z = U x + b``, ``h = d h' + r swap(h') + z``
        backward  ``dz = dh``, ``dh' = d dh + swap(r dh)``
        diagonal  ``dd = h' dz``, ``dr = swap(h') dz``

    Kept for backward: ``h'``. Saturation is 1: the derivative by every pre-activation is.

    Parameters
    ----------
    normalised : bool
        Multiply the input weights of each unit by ``sqrt(1 - |lambda|^2)``, so that states have the
        size of the inputs however long they are remembered; needs every ``|lambda| < 1``.

    References
    ----------
    Orvieto and others (2023), Resurrecting recurrent neural networks for long sequences, section 3;
    ``normalised`` is its gamma (equation 7).
    """

    name: ClassVar[str] = "linear_diagonal"
    row_blocks: ClassVar[tuple[str, ...]] = ("state",)
    state_parts: ClassVar[tuple[str, ...]] = ("state",)
    local_parts: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    recurrent: ClassVar[int | None] = 0
    diagonals: ClassVar[tuple[str, ...]] = ("diagonal", "rotation")
    direct: ClassVar[bool] = True

    normalised: bool = False

    def check_size(self, hidden: int) -> None:
        """Raise UserMistake unless units come in pairs."""
        if hidden % 2:
            hint = f"Units are the real and imaginary parts of complex numbers; take {hidden + 1}."
            raise UserMistake(Problem("hidden", "an even number for 'linear_diagonal'", str(hidden), hint))

    def unfit(self, spectra: Sequence[AbstractSpectrum]) -> list[Problem]:
        """Return the problem of a radius that leaves nothing to normalise with."""
        return [
            Problem(
                "spectrum.radius",
                "a radius below 1 for a normalised linear_diagonal",
                f"{family.radius:g}",
                "The normalisation is sqrt(1 - |eigenvalue|^2); normalised = false does without.",
            )
            for family in spectra
            if self.normalised and family.radius is not None and family.radius >= 1.0
        ]

    def partners(self, hidden: int) -> Array:
        """Return the pairs of real and imaginary parts."""
        return np.arange(hidden).reshape(2, -1).T

    def draw_diagonals(self, drawn: Array | None, hidden: int, stream: np.random.RandomState) -> Array:
        """Return diagonal and rotation from the eigenvalues of `drawn`, shape (2, hidden).

        Pairs come first, sorted by (real part, imaginary part), then the real eigenvalues, sorted,
        two by two.
        """
        if drawn is None:
            raise ValueError("linear_diagonal takes its eigenvalues from a matrix")
        values = _eigenvalues(drawn)
        upper = np.sort_complex(values[values.imag > 0])
        reals = np.sort(values.real[values.imag == 0]).reshape(-1, 2)
        d = [np.concatenate([upper.real, reals[:, half]]) for half in (0, 1)]
        turn = np.concatenate([upper.imag, np.zeros(len(reals))])
        return np.stack([np.concatenate(d), np.concatenate([-turn, turn])])

    def input_scale(self, diagonals: Array) -> Array | None:
        """Return ``sqrt(1 - |lambda|^2)`` of each unit, or None if not `normalised`."""
        if not self.normalised:
            return None
        modulus = np.hypot(diagonals[0], diagonals[1])
        largest = float(modulus.max())
        if not largest < 1.0:
            raise UserMistake(
                Problem(
                    "normalised",
                    "every eigenvalue inside the unit circle (a radius below 1)",
                    f"a radius of {largest:.6g}",
                    "The normalisation is sqrt(1 - |eigenvalue|^2); normalised = false does without.",
                )
            )
        return np.asarray(np.sqrt((1.0 - modulus) * (1.0 + modulus)))

    def bounded(self, activation: AbstractActivation) -> bool:
        """Never: an eigenvalue may lie outside the unit circle."""
        return False

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
        """``h = d h' + r swap(h') + z``; keeps ``h'`` in place of `z`."""
        before, state = old[0], new[0]
        turned = _swapped(before, scratch("turned", state.shape, state.dtype))
        np.multiply(diagonal[1], turned, out=turned)
        np.multiply(diagonal[0], before, out=state)
        np.add(state, turned, out=state)
        np.add(state, local[0], out=state)
        np.copyto(local[0], before)
        if saturation is not None:
            saturation[...] = 1.0

    def backward(self, t: int, diagonal: Array, local: Array, adjoint: Sequence[Array], dz: Array) -> None:
        """``dz = dh``, then ``d dh + swap(r dh)``."""
        dh, half = adjoint[0], adjoint[0].shape[-2] // 2
        np.copyto(dz[0], dh)
        turned = np.multiply(diagonal[1], dh, out=scratch("turned", dh.shape, dh.dtype))
        np.multiply(diagonal[0], dh, out=dh)
        dh[..., :half, :] += turned[..., half:, :]
        dh[..., half:, :] += turned[..., :half, :]

    def diagonal_gradient(self, local: Array, dz: Array, out: Array) -> None:
        """``dd = h' dz``, ``dr = swap(h') dz``."""
        before = local[0]
        np.multiply(before, dz[0], out=out[0])
        np.multiply(_swapped(before, scratch("turned", before.shape, before.dtype)), dz[0], out=out[1])


def _swapped(state: Array, out: Array) -> Array:
    """Write the halves of a state (case, hidden, batch) the other way round."""
    half = state.shape[-2] // 2
    np.copyto(out[:, :half], state[:, half:])
    np.copyto(out[:, half:], state[:, :half])
    return out


def _eigenvalues(matrix: Array) -> Array:
    """Return the eigenvalues of a real matrix, complex ones in exact conjugate pairs."""
    from threadpoolctl import threadpool_limits  # imported late: only drawing needs it

    # Factorisations differ in the last bits with the number of BLAS threads.
    with threadpool_limits(1, user_api="blas"):
        return np.asarray(np.linalg.eigvals(np.asarray(matrix, dtype=np.float64)), dtype=np.complex128)
