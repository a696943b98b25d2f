"""What is recorded while networks are trained, and the state from which a training goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradlab.learning.learners.kalman import Kalman
from gradlab.measure.carrying import first_states, named
from gradlab.measure.filtering import first_covariances
from gradlab.measure.records import OK
from gradlab.measure.trainable import draw_blocks
from gradlab.measure.training import TrainingBlock

Array = NDArray[Any]
State: TypeAlias = dict[str, Array]
Dim: TypeAlias = Literal["update", "lag", "predictor"]

_EACH: tuple[Dim, ...] = ("update",)
_PROFILE: tuple[Dim, ...] = ("update", "lag")

#: Every record with what it runs along besides the case itself. What is recorded at an update is as it was
#: before the parameters moved.
TRAINING_RECORDS: dict[str, tuple[Dim, ...]] = {
    "loss": _EACH,
    "metric": _EACH,
    "log10_gradient_norm": _EACH,
    "log10_clipped_gradient_norm": _EACH,
    "clip_factor": _EACH,
    "clip_angle": _EACH,
    "clip_active": _EACH,
    "clip_active_share": _EACH,
    "weight_radius": _EACH,
    "weight_norm": _EACH,
    "smoothness": _EACH,
    "log10_state_gradient_norm": _PROFILE,
    "saturation": _PROFILE,
    "final_metric": (),
    "chance": (),
    "baseline": ("predictor",),
    "solved_at": (),
    "diverged_at": (),
    "diverged_by": (),
}

#: Taken at the price of another pass forward and back: only where it is asked for.
ON_REQUEST = frozenset({"smoothness"})
ORDINARY = tuple(name for name in TRAINING_RECORDS if name not in ON_REQUEST)

#: Of `diverged_by`: a state or the loss was not finite, or a parameter.
BY_LOSS, BY_PARAMETERS = 1, 2


def begin(block: TrainingBlock, wanted: Collection[str]) -> State:
    """Return the state before the first update; the case is in front of every array."""
    cases, training = block.cases, block.training
    count, recorded, lags = len(cases), len(training.recorded()), cases[0].task.lags
    state: State = {f"parameter {i}": b for i, b in enumerate(draw_blocks(cases))}
    names = {slot for case in cases for slot in case.optimiser.slots}
    for name in sorted(names):
        for i in range(len(state)):
            if f"parameter {i}" in state:
                state[f"slot {name} {i}"] = np.zeros_like(state[f"parameter {i}"])
    if isinstance(block.learner, Kalman):
        blocks = [values for name, values in state.items() if name.startswith("parameter ")]
        for i, own in enumerate(first_covariances(block.learner, cases[0].network, blocks)):
            state[f"covariance {i}"] = own
    if training.carry_state:
        state |= named(first_states(cases))
    state["done"] = np.zeros(count, dtype=np.int64)
    state["running"] = np.ones(count, dtype=bool)
    state["status"] = np.full(count, OK, dtype=np.int8)
    state["active"] = np.zeros((count, 2), dtype=np.int64)  # acted, and updates, since the last record
    if any("history" in case.clip.needs for case in cases):
        state["history"] = np.full((count, training.updates), -np.inf)
    sizes = {"update": recorded, "lag": lags}
    for name, dims in TRAINING_RECORDS.items():
        if "update" in dims and name in wanted:
            state[f"record {name}"] = np.full((count, *(sizes[dim] for dim in dims)), np.nan)
    state["final_metric"] = np.full(count, np.nan)
    state["chance"] = np.array([case.task.chance() for case in cases])
    for name in ("solved_at", "diverged_at"):
        state[name] = np.full(count, -1, dtype=np.int64)
    state["diverged_by"] = np.zeros(count, dtype=np.int8)
    return state


def results(state: Mapping[str, Array], wanted: Collection[str]) -> dict[str, Array]:
    """Return the records of a state, and "status"; what follows from the settings alone is not among them."""
    out = {"status": state["status"].copy()}
    for name, dims in TRAINING_RECORDS.items():
        if name in wanted and dims != ("predictor",):
            out[name] = state[f"record {name}" if dims else name].copy()
    return out
