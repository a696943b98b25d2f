"""A short sequence written out in the spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gradlab.core.checks import array
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks._base import AbstractTask, Array, registry


@registry.register
@dataclass(frozen=True, kw_only=True)
class Given(AbstractTask):
    """Inputs and target values stand in the spec: worked examples, and tests by hand.

    Parameters
    ----------
    inputs_given : tuple of tuples of float
        One row a time step, one number a feature; every sample of the batch sees the same.
    targets_given : tuple of tuples of float
        One row a time step, one number an output.
    """

    name: ClassVar[str] = "given"

    batch: int = 1
    inputs_given: tuple[tuple[float, ...], ...]
    targets_given: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        together(super().__post_init__, self._check_loss, self._check_inputs)
        together(self._check_targets, self._check_length)

    def _check_loss(self) -> None:
        if self.loss == "cross_entropy":
            raise UserMistake(
                Problem("loss", '"mse" or "unit"', "'cross_entropy'", "The targets given are values.")
            )

    def _check_inputs(self) -> None:
        wanted = (None, self.features)
        rows = array("inputs_given", self.inputs_given, wanted, "time steps, features")
        object.__setattr__(self, "inputs_given", tuple(map(tuple, rows.tolist())))

    def _check_targets(self) -> None:
        wanted = (len(self.inputs_given), self.n_outputs)
        targets = array("targets_given", self.targets_given, wanted, "time steps, outputs")
        object.__setattr__(self, "targets_given", tuple(map(tuple, targets.tolist())))

    def _check_length(self) -> None:
        rows = len(self.inputs_given)
        if self.length > rows:
            raise UserMistake(Problem("length", f"at most {rows}, the rows given", str(self.length)))

    def _rows(self, rows: tuple[tuple[float, ...], ...], start: int, stop: int) -> Array:
        return np.repeat(np.asarray(rows[start:stop])[:, :, None], self.batch, axis=2)

    def inputs(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the rows given."""
        return self._rows(self.inputs_given, start, stop)

    def values(self, start: int, stop: int, seed: int, replicate: int) -> Array:
        """Return the target rows given."""
        return self._rows(self.targets_given, start, stop)

    def chance(self) -> float:
        """Return the variance of the targets over the time steps looked at; see the base class."""
        if self.loss_entry.target_kind == "directions":
            return super().chance()
        asked = np.asarray(self.targets_given)[list(self.looks())]
        return float(asked.var(axis=0).mean()) * len(asked)
