"""The contract of a clip rule.

Three different things bear the name of clipping. A rule of scope ``parameters`` changes the
finished parameter gradient: it never changes the profile of adjoints within the pass and acts
across updates only. A rule of scope ``adjoint`` acts at every time step of the recursion and
changes the profile. The engine has one code path for all of them: every hook below is the
identity unless a rule says otherwise.
"""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gradlab.core.registry import Registry
from gradlab.learning.gradient import ScaledGradient

Array = NDArray[Any]


class AbstractClip(ABC):
    """A clip rule.

    Claims: `scope`; `bounds` names what never exceeds the threshold afterwards ("nothing",
    "gradient norm", "gradient entries", "sample adjoint norm", "adjoint entries"); `keeps_direction`
    says that the clipped quantity stays parallel to the raw one; `non_finite` says what happens
    to a gradient that is not finite.
    """

    name: ClassVar[str]
    scope: ClassVar[Literal["none", "parameters", "adjoint"]]
    bounds: ClassVar[str]
    keeps_direction: ClassVar[bool]
    non_finite: ClassVar[str] = (
        "cannot arise from range, because gradients carry their own exponent; where the forward state "
        "overflowed the case is marked overflowed and nothing is clipped"
    )

    #: Whether the rule only rescales each sample's adjoint; its pass is then the raw pass times a
    #: factor for each sample, as long as the loss looks at one time step.
    rescales_samples: ClassVar[bool] = False
    #: Whether the rule changes entries of the adjoint, so that it needs a backward pass of its own.
    changes_entries: ClassVar[bool] = False

    def clip_gradient(self, gradient: ScaledGradient) -> ScaledGradient:
        """Return the parameter gradient as this rule leaves it."""
        return gradient

    def sample_bound(self) -> float:
        """Return the largest norm a sample's adjoint may have."""
        return np.inf

    def clip_entries(self, part: Array, exponent: Array) -> None:  # noqa: B027  # most rules change none
        """Clip, in place, an adjoint ``part * 2 ** exponent``.

        `part` is (case, hidden, batch), `exponent` is (case, batch).
        """


registry: Registry[AbstractClip] = Registry("clip rule", "gradlab.learning.clipping")
