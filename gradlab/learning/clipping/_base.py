"""The contract of a clip rule.

Three different things bear the name of clipping. A rule of scope ``parameters`` changes the
finished parameter gradient: it never changes the profile of adjoints within the pass and acts
across updates only. A rule of scope ``adjoint`` acts at every time step of the recursion and
changes the profile. The engine has one code path for all of them: every hook below is the
identity unless a rule says otherwise.

Some rules of scope ``parameters`` look at more than the gradient: at the weights, at the norms of the
updates before, at the gradients of single samples. What a rule looks at it declares in `needs`, and
finds in what it is `Given`.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.core.registry import Registry
from gradlab.learning.scaled_gradient import ScaledGradient

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Given:
    """What a clip rule may look at besides the gradient of the batch's mean loss.

    Only what the rule `needs` has to be there.

    Parameters
    ----------
    weights : tuple of arrays of shape (case, rows, columns), optional
        The parameters, in the same blocks as the gradient.
    history : array of shape (case, updates), optional
        log2 of the gradient norms of the updates before this one, oldest first; -inf for a zero gradient.
    samples : callable, optional
        Returns the gradient of every sample's own loss, without 1/batch: a ScaledGradient of as many
        cases as there are samples, those of the first case first.
    """

    weights: tuple[Array, ...] | None = None
    history: Array | None = None
    samples: Callable[[], ScaledGradient] | None = None


NOTHING = Given()


class AbstractClip(ABC):
    """A clip rule.

    Claims: `scope`; `bounds` names what never exceeds the threshold afterwards ("nothing",
    "gradient norm", "gradient entries", "gradient norm of every unit", "sample adjoint norm",
    "adjoint entries"); `keeps_direction` says that the clipped quantity stays parallel to the raw one;
    `needs` names what the rule must be given besides the gradient ("weights", "history", "samples");
    `non_finite` says what happens to a gradient that is not finite.
    """

    name: ClassVar[str]
    scope: ClassVar[Literal["none", "parameters", "adjoint"]]
    bounds: ClassVar[str]
    keeps_direction: ClassVar[bool]
    needs: ClassVar[tuple[str, ...]] = ()
    non_finite: ClassVar[str] = (
        "cannot arise from range, because gradients carry their own exponent; where the forward state "
        "overflowed the case is marked overflowed and nothing is clipped"
    )

    #: Whether the rule only rescales each sample's adjoint; its pass is then the raw pass times a
    #: factor for each sample, as long as the loss looks at one time step.
    rescales_samples: ClassVar[bool] = False
    #: Whether the rule changes entries of the adjoint, so that it needs a backward pass of its own.
    changes_entries: ClassVar[bool] = False

    def clip_gradient(self, gradient: ScaledGradient, given: Given = NOTHING) -> ScaledGradient:
        """Return the parameter gradient as this rule leaves it.

        Parameters
        ----------
        gradient : ScaledGradient
            Of the batch's mean loss. It is left as it is; where no case is changed the very same object
            is returned.
        given : Given
            At least what the rule `needs`.
        """
        return gradient

    def sample_bound(self) -> float:
        """Return the largest norm a sample's adjoint may have."""
        return np.inf

    def beyond(self, part: Array, exponent: Array) -> NDArray[np.bool_]:
        """Return in which cases `clip_entries` would change such an adjoint, (case,)."""
        return np.zeros(len(part), dtype=bool)

    def clip_entries(self, part: Array, exponent: Array) -> None:  # noqa: B027  # most rules change none
        """Clip, in place, an adjoint ``part * 2 ** exponent``.

        `part` is (case, hidden, batch), `exponent` is (case, batch).
        """


def shortened(gradient: ScaledGradient, log2_factor: Array) -> ScaledGradient:
    """Return a gradient times ``2 ** log2_factor``, (case,), which is nowhere above 0.

    Cases whose factor is one keep their bits, and so does a gradient all of whose cases do. A factor of
    zero, log2 of which is -inf, makes a gradient of zeros.
    """
    if not log2_factor.any():
        return gradient
    gone = np.isneginf(log2_factor)
    whole = np.floor(np.where(gone, 0.0, log2_factor))
    fraction = np.where(gone, 0.0, np.exp2(np.where(gone, 0.0, log2_factor) - whole))

    def scaled(mantissa: Array, exponent: Array) -> tuple[Array, Array]:
        factor = fraction.astype(mantissa.dtype)[:, None, None]
        return mantissa * factor, exponent + whole.astype(exponent.dtype)

    return gradient.map(scaled)


registry: Registry[AbstractClip] = Registry("clip rule", "gradlab.learning.clipping")
