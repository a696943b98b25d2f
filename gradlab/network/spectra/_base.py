"""The contract of a spectrum family, and how a drawn matrix is scaled."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gradlab.core.checks import integer, number, shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.memory import Memory
from gradlab.core.registry import Registry, settings_of
from gradlab.core.streams import canonical, stream
from gradlab.network.spectra._measure import Properties, properties

Matrix = NDArray[np.float64]
Check = Callable[[str, Any], Any]

# A radius below this share of the norm is the rounding error of a zero: the computed eigenvalues of
# a nilpotent matrix of index 2 are of size sqrt(machine epsilon) = 1.5e-8.
NO_RADIUS = 1e-7


@dataclass(frozen=True, eq=False)
class Drawn:
    """A recurrent weight matrix and what it is like.

    Parameters
    ----------
    matrix : float64 array, (size, size)
        Rows = to, columns = from. The caller's own.
    radius : float
        Largest absolute eigenvalue.
    norm : float
        Largest singular value.
    henrici_departure : float
        ``sqrt(||W||_F^2 - sum |eigenvalue|^2)/||W||_F``, from 0 (normal) to 1 (nilpotent); 0 for the
        zero matrix.
    """

    matrix: Matrix
    radius: float
    norm: float
    henrici_departure: float


@dataclass(frozen=True, kw_only=True)
class AbstractSpectrum(ABC):
    """A family of recurrent weight matrices.

    A family gives an unscaled `law`; one of `radius`, `norm` and `gain` scales it. Two scalings of
    one family are exactly proportional at the same seed, replicate and size.

    Parameters
    ----------
    radius, norm, gain : float, optional
        The wanted largest absolute eigenvalue, largest singular value, or entry standard deviation
        times sqrt(size). Exactly one of those in `scalings` is given.

    Notes
    -----
    Claims (checked by one suite for every entry): `scalings` are the ways in which the family can be
    scaled and `why` says why just these; `normal` says that every matrix of the family commutes with
    its transpose; `exact_radius` that a matrix scaled to a radius has it to rounding (a gain fixes it
    only in law); `deterministic` that there is nothing random about it; `law_radius` is the radius at
    gain 1 for large sizes, where it is known; `unscaled` that it may also stand as it is.
    """

    radius: float | None = None
    norm: float | None = None
    gain: float | None = None

    name: ClassVar[str]
    scalings: ClassVar[tuple[str, ...]]
    why: ClassVar[str]
    normal: ClassVar[bool] = False
    exact_radius: ClassVar[bool] = True
    deterministic: ClassVar[bool] = False
    unscaled: ClassVar[bool] = False
    law_radius: ClassVar[float | None] = None
    checks: ClassVar[Mapping[str, Check]] = {}  # of the family's own fields

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for key, check in {**dict.fromkeys(self._scaling_fields(), _scale), **self.checks}.items():
            with gathering(problems):
                object.__setattr__(self, key, check(key, getattr(self, key)))
        problems += self._scaling_problems()
        if problems:
            raise UserMistake(problems)

    def _scaling_fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("radius", "norm", "gain", *self.scalings)))

    def _given(self) -> list[str]:
        return [key for key in self._scaling_fields() if getattr(self, key) is not None]

    def _scaling_problems(self) -> list[Problem]:
        given: list[str] = []  # a scaling that is a gap is given
        wrong: list[str] = []
        for key in self._scaling_fields():
            try:
                given += [key] if getattr(self, key) is not None else []
            except UserMistake:
                given, wrong = [*given, key], [*wrong, key]
        ways = " or ".join(self.scalings)
        unfit = [key for key in given if key not in self.scalings and key not in wrong]
        if unfit:
            return [
                Problem(
                    key,
                    f"{self.name!r} to be scaled by {ways}",
                    f"{key} = {shown(getattr(self, key))}",
                    self.why,
                )
                for key in unfit
            ]
        one = (
            f"{'at most' if self.unscaled else 'exactly'} one of {', '.join(self.scalings)} for {self.name!r}"
        )
        if len(self.scalings) == 1:
            one = f"a scaling of {self.name!r} by {ways}"
        if len(given) > 1:
            return [Problem(given[-1], one, " and ".join(given), self.why)]
        if not given and not self.unscaled:
            return [Problem(self.scalings[0], one, "none", self.why)]
        return []

    @abstractmethod
    def law(self, size: int, stream: np.random.RandomState) -> Matrix:
        """Return a (size, size) matrix of the family at gain 1 (or its natural scale)."""

    def check_size(self, size: int) -> None:
        """Raise UserMistake if the family has no matrix of this size (with these settings)."""
        integer("size", size, at_least=1)

    def absent(self, size: int) -> tuple[str, ...]:
        """Return what every matrix of this size has none of, with these settings: "radius", "norm"."""
        return ()

    def check_scaling(self, size: int) -> None:
        """Raise UserMistake if a property that is zero in every matrix of this size is to be scaled up.

        `draw` raises too, but what can be known before anything runs is told before.
        """
        for way in self._given():
            if getattr(self, way) > 0.0 and way in self.absent(size):
                raise UserMistake(self._unscalable(way, size))

    def identity(self) -> dict[str, Any]:
        """Return the plain table that determines the numbers: what content keys are made of."""
        return settings_of(self)

    def law_settings(self) -> dict[str, Any]:
        """Return the part of the identity on which the unscaled matrix depends."""
        return {key: value for key, value in self.identity().items() if key not in self._scaling_fields()}

    def draw(
        self,
        size: int,
        seed: int,
        replicate: int,
        part: str = "",
        mask: NDArray[np.bool_] | None = None,
    ) -> Drawn:
        """Return the matrix of a replicate, scaled as wanted.

        Parameters
        ----------
        size : int
            Rows and columns, at least 1.
        seed, replicate : int
            Root seed of the spec, and which replicate.
        part : str, optional
            What the matrix is for, where a cell needs several independent ones (a gate's name).
        mask : boolean array of shape (size, size), optional
            Entries that there are; the others are zero before anything is measured or scaled, so that
            the wanted radius or norm is that of the masked matrix. It may not be of the family any
            more: not normal, not orthogonal.

        Raises
        ------
        UserMistake
            If there is no matrix of this size, or it cannot be scaled as wanted because the
            property to be scaled is zero.
        """
        self.check_size(size)
        matrix, known = self._held(size, seed, replicate, part, mask)
        factor = self._factor(known, size)
        scaled = Drawn(matrix * factor, known.radius * factor, known.norm * factor, known.henrici_departure)
        if factor == 0.0:
            return replace(scaled, matrix=np.zeros_like(matrix), henrici_departure=0.0)
        if self.radius is not None:
            return replace(scaled, radius=self.radius)
        return scaled if self.norm is None else replace(scaled, norm=self.norm)

    def _held(
        self,
        size: int,
        seed: int = 0,
        replicate: int = 0,
        part: str = "",
        mask: NDArray[np.bool_] | None = None,
    ) -> tuple[Matrix, Properties]:
        """Return the unscaled matrix and what it is like, from memory if it is there."""
        masked = None if mask is None else mask.tobytes()
        key = (canonical(self.law_settings()), size, seed, replicate, part, masked)
        return _memory.get(key, lambda: self._measured(size, seed, replicate, part, mask))

    def _measured(
        self, size: int, seed: int, replicate: int, part: str, mask: NDArray[np.bool_] | None
    ) -> tuple[Matrix, Properties]:
        import scipy.linalg  # noqa: F401  # has a BLAS of its own, which must be there to be limited
        from threadpoolctl import threadpool_limits  # imported late: only drawing needs it

        # Factorisations differ in the last bits with the number of BLAS threads.
        with threadpool_limits(1, user_api="blas"):
            matrix = self.law(
                size, stream(seed, "recurrent weights", self.law_settings(), size, replicate, part)
            )
            if mask is not None:
                matrix = np.where(mask, matrix, 0.0)
            return matrix, properties(matrix)

    def _factor(self, known: Properties, size: int) -> float:
        given = self._given()
        if not given:
            return 1.0
        (way,) = given
        wanted = float(getattr(self, way))
        if way not in ("radius", "norm") or wanted == 0.0:
            return wanted
        held = known.radius if way == "radius" else known.norm
        factor = math.inf if way in zeros(known) else wanted / held
        if not math.isfinite(factor):
            unlike = f" for one with radius {known.radius:.3g} and norm {known.norm:.3g}"
            raise UserMistake(self._unscalable(way, size, unlike))
        return factor

    def _unscalable(self, way: str, size: int, unlike: str = "") -> Problem:
        expected = f"0, or a matrix of {self.name!r} of size {size} whose {way} is not 0"
        got = f"{way} = {getattr(self, way):g}{unlike}"
        return Problem(way, expected, got, f"A zero {way} cannot be scaled up.")


def zeros(known: Properties) -> tuple[str, ...]:
    """Return which of radius and norm are zero, to rounding."""
    no_radius = ("radius",) if known.radius <= NO_RADIUS * known.norm else ()
    return (*no_radius, "norm") if known.norm == 0.0 else no_radius


def _scale(where: str, value: Any) -> float | None:
    return None if value is None else number(where, value, at_least=0.0) + 0.0  # no negative zero


Held = tuple[Matrix, Properties]
_memory: Memory[Held] = Memory(32 << 20, lambda held: held[0])

registry: Registry[AbstractSpectrum] = Registry("spectrum", "gradlab.network.spectra")
