"""The contract of a loss: per sample and time step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from numpy.typing import NDArray

from gradlab.core.registry import Registry

Array = NDArray[Any]


class AbstractLoss(ABC):
    """A loss of one sample at one time step; over time it is summed, over the batch averaged.

    Claims: `uses_readout` says whether it sees the readout's output or the hidden state itself;
    `target_kind` is what it is compared with: "values", "classes" or "directions"; `takes_logits`
    says that it looks at ``V h + b`` itself and not at the activation of the readout.
    """

    name: ClassVar[str]
    uses_readout: ClassVar[bool]
    target_kind: ClassVar[str]
    takes_logits: ClassVar[bool] = False

    @abstractmethod
    def evaluate(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Return the loss of every sample and its derivative by the output.

        Parameters
        ----------
        output : array of shape (..., case, outputs, batch)
            Of the readout, or the hidden state where `uses_readout` is false.
        target : array
            (..., case, outputs, batch) values or directions, or (..., case, batch) integer classes.

        Returns
        -------
        loss : array of shape (..., case, batch)
        slope : array of shape (..., case, outputs, batch)
        """


registry: Registry[AbstractLoss] = Registry("loss", "gradlab.tasks.losses")
