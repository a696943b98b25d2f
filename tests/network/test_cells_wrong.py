"""Cells that are wrong on purpose: what the comparison with the oracles is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import oracles
import pytest
from engine import PER_LAG, case_of, probe_case, task
from recorded import check_gradients, check_records, net

from gradlab.network.cells.antisymmetric import Antisymmetric
from gradlab.network.cells.clockwork import Clockwork
from gradlab.network.cells.elman import Elman
from gradlab.network.cells.gru import Gru
from gradlab.network.cells.linear_diagonal import LinearDiagonal
from gradlab.network.cells.lstm import Lstm
from gradlab.network.cells.peephole_lstm import PeepholeLstm


@dataclass(frozen=True)
class FlippedElman(Elman):
    """Wrong on purpose: the sign of the adjoint."""

    name: ClassVar[str] = "elman"

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal, local, adjoint, dz)
        np.negative(dz, out=dz)


@dataclass(frozen=True)
class SlightlyWrongElman(Elman):
    """Wrong on purpose: one part in 1e10."""

    name: ClassVar[str] = "elman"

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal, local, adjoint, dz)
        dz *= 1.0 + 1e-10


@dataclass(frozen=True)
class ForgetfulLstm(Lstm):
    """Wrong on purpose: what the state passes to the memory is dropped."""

    name: ClassVar[str] = "lstm"

    def complete(self, diagonal, local, adjoint):
        pass


@dataclass(frozen=True)
class StuckLstm(Lstm):
    """Wrong on purpose: the memory's adjoint goes back without the forget gate."""

    name: ClassVar[str] = "lstm"

    def backward(self, t, diagonal, local, adjoint, dz):
        kept = adjoint[1].copy()
        super().backward(t, diagonal, local, adjoint, dz)
        adjoint[1][...] = kept


@dataclass(frozen=True)
class IndirectGru(Gru):
    """Wrong on purpose: it does not say that the state is passed on past the matrix."""

    direct: ClassVar[bool] = False


@dataclass(frozen=True)
class UntiedAntisymmetric(Antisymmetric):
    """Wrong on purpose: the gradient by what multiplies, not by what is drawn."""

    def tie(self, gradient):
        return gradient


@dataclass(frozen=True)
class UnmaskedClockwork(Clockwork):
    """Wrong on purpose: modules also see faster ones."""

    def mask(self, hidden):
        return None


@dataclass(frozen=True)
class EarlyClockwork(Clockwork):
    """Wrong on purpose: back through the clock of another time step."""

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t + 1, diagonal, local, adjoint, dz)


@dataclass(frozen=True)
class SwappedPeepholes(PeepholeLstm):
    """Wrong on purpose: the gradients of two peepholes change places."""

    def diagonal_gradient(self, local, dz, out):
        super().diagonal_gradient(local, dz, out)
        out[:2] = out[1::-1].copy()


@dataclass(frozen=True)
class StraightDiagonal(LinearDiagonal):
    """Wrong on purpose: nothing turns on the way back."""

    def backward(self, t, diagonal, local, adjoint, dz):
        super().backward(t, diagonal * np.array([1.0, 0.0]).reshape(2, 1, 1, 1), local, adjoint, dz)


WRONG = [
    FlippedElman(),
    SlightlyWrongElman(),
    ForgetfulLstm(),
    StuckLstm(),
    IndirectGru(),
    UntiedAntisymmetric(step=0.5),
    UnmaskedClockwork((1, 2, 5)),
    EarlyClockwork((1, 2, 5)),
    SwappedPeepholes(),
    StraightDiagonal(normalised=False),
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_wrong_cell_is_caught(wrong):
    """The negative control: what the suite above is worth."""
    right = net(wrong.name, "tanh")
    work = task(length=5, features=2, batch=2)
    check_records(case_of(right, work))
    with pytest.raises(AssertionError):
        check_records(case_of(replace(right, cell=wrong), work))


def test_the_sign_alone_is_caught_by_the_gradients():
    """Norms do not see a flipped sign; the entries of the gradients do."""
    case = case_of(replace(net("elman", "tanh"), cell=FlippedElman()), task(length=1, features=2, batch=2))
    _, rtol, by_parameter = oracles.expected_records(case)
    with pytest.raises(AssertionError):
        check_gradients(case, by_parameter, rtol)


def test_per_lag_names_are_all_known():
    assert set(PER_LAG) <= set(probe_case(net("lstm", "tanh"), task(length=2)))
