"""The contract of a learner: how the gradient of the parameters is made.

Full back-propagation through time is one learner among others. Records along the lag describe the
adjoints of full back-propagation whatever the learner is; the learner makes the parameter gradient,
which is then clipped.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from gradlab.core.errors import Problem, UserMistake
from gradlab.core.registry import Registry
from gradlab.learning.scaled_gradient import ScaledGradient

if TYPE_CHECKING:
    from gradlab.learning.layers import Layers
    from gradlab.learning.sources import Lane
    from gradlab.network.settings import NetworkSettings

Array = NDArray[Any]


@dataclass(frozen=True)
class Work:
    """What a learner makes a gradient of: a trajectory and a loss.

    Parameters
    ----------
    layers : Layers
        A forward pass that has been run; all layers keep their states.
    lane : Lane
        Where the loss looks, its slope there, and the readout.
    length : int
        Time steps of the task.
    keys : sequence of (int, int)
        Root seed and replicate of every case: the keys of a learner's own random streams.
    to_parameters : callable, optional
        Turns a gradient by what is multiplied into that by the parameters there are, where these are others.
    """

    layers: Layers
    lane: Lane
    length: int
    keys: Sequence[tuple[int, int]]
    to_parameters: Callable[[ScaledGradient], ScaledGradient] | None = None


@dataclass(frozen=True)
class Made:
    """What a learner made.

    Parameters
    ----------
    gradient : ScaledGradient
        By the parameters in the order of `gradlab.learning.backward.Backward`, summed over samples.
    draws : tuple of ScaledGradient
        Of a stochastic learner: every gradient it drew, of which `gradient` is the first.
    online : array of shape (case, length), or None
        Of an online learner: log10 of the norm of what it adds to the gradient (of the batch's mean
        loss) at each time step; -inf where it adds nothing.
    """

    gradient: ScaledGradient
    draws: tuple[ScaledGradient, ...] = ()
    online: Array | None = None

    def map(self, change: Callable[[ScaledGradient], ScaledGradient]) -> Made:
        """Return the same with every gradient changed."""
        first = change(self.gradient)
        rest = tuple(change(one) for one in self.draws[1:])
        return replace(self, gradient=first, draws=(first, *rest) if self.draws else ())


class AbstractLearner(ABC):
    """A way to make the gradient of the parameters.

    Claims: `online` says that it goes forward in time with the network and keeps no tape;
    `stochastic` that it draws random numbers of its own, so that its gradient is one of many;
    `exact` that its gradient equals that of full back-propagation through time; `for_training` that it
    changes weights from observation to observation and makes no gradient that could be measured;
    `has_adjoints` that rules which clip adjoints have something to act on; `cells` says in words which
    networks it fits.
    """

    name: ClassVar[str]
    online: ClassVar[bool]
    stochastic: ClassVar[bool]
    exact: ClassVar[bool]
    for_training: ClassVar[bool] = False
    has_adjoints: ClassVar[bool] = False
    cells: ClassVar[str]

    def check_network(self, network: NetworkSettings, where: str) -> None:  # noqa: B027  # most fit all
        """Raise UserMistake if there is no such learner of this network; `where` is the learner's key."""

    def bytes_needed(self, network: NetworkSettings, task: Any) -> int:
        """Return the bytes it takes for one case besides what full back-propagation takes."""
        return 0

    def make(self, work: Work) -> Made:
        """Return the gradient; the engine itself is full back-propagation and needs no such method."""
        raise NotImplementedError(self.name)


def refuse_many_layers(learner: AbstractLearner, network: NetworkSettings, where: str) -> None:
    """Raise UserMistake unless a network has one layer and one direction of time."""
    if network.layers > 1 or network.bidirectional:
        got = f"{network.layers} layers" if network.layers > 1 else "a bidirectional network"
        expected = f"a network of one layer in one direction of time for {learner.name!r}"
        raise UserMistake(Problem(where, expected, got, "The learner 'bptt' fits every network."))


registry: Registry[AbstractLearner] = Registry("learner", "gradlab.learning.learners")
