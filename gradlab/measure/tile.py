"""Cases of a block that are updated together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from gradlab.core.scaled import LOG10_2
from gradlab.learning.clipping import AbstractClip
from gradlab.learning.learners.kalman import Kalman
from gradlab.learning.optimisers import AbstractOptimiser
from gradlab.learning.scaled_gradient import ScaledGradient, angle
from gradlab.learning.workspace import Workspace
from gradlab.measure.carrying import Carried
from gradlab.measure.evaluation import evaluate
from gradlab.measure.filtering import Filter
from gradlab.measure.history import BY_LOSS, BY_PARAMETERS, State
from gradlab.measure.records import DIVERGED
from gradlab.measure.trainable import Trainable
from gradlab.measure.training import Trainee, TrainingBlock, without_rate
from gradlab.measure.updates import Array, Batch, Pass, Seen, draw, given_of, part


@dataclass(frozen=True)
class Group:
    """Neighbouring cases with one clip rule and one optimiser, learning rates apart."""

    rows: slice
    clip: AbstractClip
    optimiser: AbstractOptimiser


def group_key(case: Trainee) -> tuple[AbstractClip, AbstractOptimiser]:
    """Return what the cases of a group agree in."""
    return case.clip, without_rate(case.optimiser)


def grouped(cases: Sequence[Trainee]) -> list[Group]:
    """Return the groups of cases that lie sorted."""
    groups, start = [], 0
    for (clip, optimiser), own in groupby(cases, group_key):
        stop = start + len(list(own))
        groups.append(Group(slice(start, stop), clip, optimiser))
        start = stop
    return groups


class Tile:
    """Goes on with some cases of a state; a case that ends leaves the tile.

    Parameters
    ----------
    block : TrainingBlock
    state : dict of arrays
        Of the whole block; parameters and slots are brought up to date by `store`.
    rows : integer array
        Which cases, those of a group side by side.
    wanted : frozenset of str
        The records.
    segment : int
        Time steps in a stretch of the tape.
    workspace : Workspace
    """

    def __init__(
        self,
        block: TrainingBlock,
        state: State,
        rows: NDArray[np.int64],
        wanted: frozenset[str],
        segment: int,
        workspace: Workspace,
    ):
        self._block, self._state, self._wanted = block, state, wanted
        self._segment, self._workspace = segment, workspace
        training = block.training
        self._place = {int(u): k for k, u in enumerate(training.recorded())}
        self._evaluated = training.evaluated()
        self._changed = False  # whether parameters differ from those of the state
        self.loss = np.full(len(rows), np.nan)
        self._gather(rows)

    def _gather(self, rows: NDArray[np.int64]) -> None:
        """Take over the cases `rows` of the state."""
        self.rows, state = rows, self._state
        self._cases = [self._block.cases[i] for i in rows.tolist()]
        if not self._cases:
            return
        count = sum(name.startswith("parameter ") for name in state)
        blocks = [state[f"parameter {i}"][rows] for i in range(count)]
        self._groups = grouped(self._cases)
        names = {slot for group in self._groups for slot in group.optimiser.slots}
        self._slots = {name: [state[f"slot {name} {i}"][rows] for i in range(count)] for name in names}
        self._scratch = [np.empty_like(block) for block in blocks]
        self._rates = np.array([case.optimiser.rate for case in self._cases])
        network = self._cases[0].network
        self._parameters = Trainable(network, blocks)
        learner = self._block.learner
        self._work = Pass(self._cases, self._parameters, learner, self._segment, self._workspace)
        self._carried = Carried.of(state, rows)
        self._filter: Filter | None = None
        if isinstance(learner, Kalman):
            groups = sum(name.startswith("covariance ") for name in state)
            self._filter = Filter(learner, [state[f"covariance {i}"][rows] for i in range(groups)])

    def store(self) -> None:
        """Bring parameters, slots and what is carried over in the state up to date."""
        if not self._changed:
            return
        for i, block in enumerate(self._parameters.blocks):
            self._state[f"parameter {i}"][self.rows] = block
            for name, slots in self._slots.items():
                self._state[f"slot {name} {i}"][self.rows] = slots[i]
        for i, covariance in enumerate(() if self._filter is None else self._filter.covariances):
            self._state[f"covariance {i}"][self.rows] = covariance
        if self._carried is not None:
            self._carried.store(self._state, self.rows)
        self._changed = False

    def _leave(self, ended: NDArray[np.bool_]) -> None:
        """Let cases go that have ended."""
        if ended.any():
            self.store()
            self._state["running"][self.rows[ended]] = False
            self.loss = self.loss[~ended]
            self._gather(self.rows[~ended])

    def advance(self, after: Callable[[Tile], None]) -> None:
        """Train to the end; `after` is called after every update."""
        training = self._block.training
        with np.errstate(all="ignore"):  # what leaves the range is found and marked
            for u in range(int(self._state["done"][self.rows].min()), training.updates):
                k = self._place.get(u)
                if k is not None and self._evaluated[k]:
                    self._judge(u, k)
                if not len(self.rows):
                    return
                self._update(u, k)
                after(self)
                if not len(self.rows):
                    return
            self._judge(training.updates, None)
            self._leave(np.ones(len(self.rows), dtype=bool))

    def _judge(self, u: int, k: int | None) -> None:
        """Take the metric after `u` updates."""
        state, training = self._state, self._block.training
        if not {"metric", "final_metric", "solved_at"} & self._wanted and not training.stop_when_solved:
            return
        metric = evaluate(self._work, training.evaluate)
        solved = np.array(
            [bool(case.task.solved(m)) for case, m in zip(self._cases, metric, strict=True)], bool
        )
        if k is not None and "metric" in self._wanted:
            state["record metric"][self.rows, k] = metric
        state["final_metric"][self.rows] = metric
        first = solved & (state["solved_at"][self.rows] < 0)
        state["solved_at"][self.rows[first]] = u
        if training.stop_when_solved:
            self._leave(solved)

    def _update(self, u: int, k: int | None) -> None:
        recorded = k is not None
        profile = recorded and "log10_state_gradient_norm" in self._wanted
        saturation = recorded and "saturation" in self._wanted
        batch = self._draw(u)
        names = ("state",) if profile else ()
        seen = self._work.run(u, batch, names, saturation=saturation, unclipped=recorded)
        before = seen.gradient.log2_norm()
        matrices = self._matrix_records() if recorded else {}
        old = self._copies(seen.gone, recorded and "smoothness" in self._wanted)
        acted, clips = self._step(u, seen, before, recorded)
        if self._filter is not None:
            self._filter.update(self._work, batch, seen)
        if self._carried is not None and seen.ends is not None:
            self._carried.states = seen.ends
        self._restore(seen.gone, old)
        self._changed = True
        self.loss = seen.loss
        self._state["active"][self.rows] += np.stack([acted, np.ones_like(acted)], axis=1)
        if k is not None:
            self._record(k, seen, before, {**clips, **matrices})
            if "smoothness" in self._wanted:
                self._state["record smoothness"][self.rows, k] = self._smoothness(u, batch, seen, old)
        self._state["done"][self.rows] = u + 1
        self._mark(u, seen.gone)

    def _draw(self, u: int) -> Batch:
        """Return the examples of update `u`, with the states they go on from if any are carried over."""
        if self._carried is not None:
            return self._carried.draw(self._cases, u, self._workspace)
        return draw(self._cases, "training", u, None, self._workspace)

    def _step(self, u: int, seen: Seen, before: Array, recorded: bool) -> tuple[Array, dict[str, Array]]:
        """Clip and move; return in which cases the rule acted, and what is recorded of it."""
        blocks, updates = self._parameters.blocks, self._block.training.updates
        history = self._state["history"][self.rows, :u] if "history" in self._state else None
        factors = [case.schedule.factor(u, updates) for case in self._cases]
        rates = (self._rates * np.array(factors))[:, None, None]
        acted = np.zeros(len(self.rows), dtype=bool) if seen.acted is None else seen.acted & ~seen.gone
        after, turned = before.copy(), np.zeros(len(self.rows))
        for group in self._groups:
            rows, clip = group.rows, group.clip
            raw = part(seen.gradient, rows)
            clipped = clip.clip_gradient(raw, given_of(clip.needs, self._work, seen, rows, history))
            if clipped is not raw:
                acted[rows] = _differ(raw, clipped)
                if recorded:
                    after[rows] = clipped.log2_norm()
                    turned[rows] = 0.0 if clip.keeps_direction else angle(raw, clipped)
            for i, gradient in enumerate(() if self._filter is not None else _plain(clipped)):
                rate = rates[rows].astype(gradient.dtype)
                slots = [self._slots[name][i][rows] for name in group.optimiser.slots]
                scratch = self._scratch[i][rows]
                group.optimiser.update(blocks[i][rows], gradient, slots, rate, u, scratch)
        if "history" in self._state:
            self._state["history"][self.rows, u] = before
        if not recorded:
            return acted, {}
        changed = acted
        if seen.unclipped is not None:
            after, before = before, seen.unclipped.log2_norm()
            turned, changed = angle(seen.unclipped, seen.gradient), _differ(seen.unclipped, seen.gradient)
        return acted, {
            "log10_gradient_norm": before * LOG10_2,
            "log10_clipped_gradient_norm": after * LOG10_2,
            "clip_factor": np.exp2(np.where(np.isfinite(before), after - before, 0.0)),
            "clip_angle": turned,
            "clip_active": changed.astype(np.float64),
        }

    def _copies(self, gone: Array, everything: bool) -> list[Array]:
        """Return what the parameters were, where that will be needed."""
        if everything:
            return [block.copy() for block in self._parameters.blocks]
        return [block[gone] for block in self._parameters.blocks] if gone.any() else []

    def _restore(self, gone: Array, old: Sequence[Array]) -> None:
        """Leave cases without a gradient where they were."""
        if gone.any():
            for block, kept in zip(self._parameters.blocks, old, strict=True):
                block[gone] = kept[gone] if len(kept) == len(gone) else kept

    def _record(self, k: int, seen: Seen, before: Array, known: dict[str, Array]) -> None:
        state, rows = self._state, self.rows
        known["loss"] = seen.loss
        acted = state["active"][rows]
        known["clip_active_share"] = acted[:, 0] / np.maximum(acted[:, 1], 1)
        state["active"][rows] = 0
        lags = self._cases[0].task.lags
        if "log10_state_gradient_norm" in self._wanted and seen.back is not None:
            known["log10_state_gradient_norm"] = seen.back.records[-1][0]["state"][0][0]
        if "saturation" in self._wanted:
            values = seen.layers.top[0].saturation
            assert values is not None
            known["saturation"] = values[:lags][::-1].T
        for name, values in known.items():
            if name in self._wanted:
                lost = seen.gone.reshape(-1, *[1] * (values.ndim - 1))
                keep = name in ("weight_radius", "weight_norm", "clip_active", "clip_active_share")
                state[f"record {name}"][rows, k] = values if keep else np.where(lost, np.inf, values)

    def _matrix_records(self) -> dict[str, Array]:
        """Return radius and norm of what multiplies the top layer's state: the largest of the row blocks."""
        if not {"weight_radius", "weight_norm"} & self._wanted:
            return {}
        matrices = self._parameters.matrices().astype(np.float64)
        nothing = np.full(len(matrices), np.nan)
        out = {"weight_radius": nothing, "weight_norm": nothing}
        if matrices.shape[1]:
            if "weight_norm" in self._wanted:
                out["weight_norm"] = np.linalg.norm(matrices, ord=2, axis=(-2, -1)).max(axis=1)
            if "weight_radius" in self._wanted and matrices.shape[-2] == matrices.shape[-1]:
                out["weight_radius"] = np.abs(np.linalg.eigvals(matrices)).max(axis=(1, 2))
        return out

    def _smoothness(self, u: int, batch: Batch, seen: Seen, old: Sequence[Array]) -> Array:
        """Return ``|g(x+) - g(x)| / |x+ - x|`` on the batch of the update (Zhang and others 2020)."""
        again = self._work.run(u, batch)
        moved = again.gradient.plus(seen.gradient.times(-1.0)).log2_norm()
        steps = [new - before for new, before in zip(self._parameters.blocks, old, strict=True)]
        none = np.zeros(len(self.rows), dtype=np.int64)
        length = ScaledGradient(tuple(steps), tuple(none for _ in steps)).log2_norm()
        smoothness = np.exp2(moved - np.where(np.isfinite(length), length, 0.0))
        smoothness = np.where(np.isfinite(length), smoothness, np.nan)
        return np.where(again.gone & ~seen.gone, np.inf, smoothness)

    def _mark(self, u: int, gone: Array) -> None:
        """Mark and let go the cases that diverged at update `u`."""
        ended = gone | ~self._parameters.finite()
        if ended.any():
            state, rows = self._state, self.rows[ended]
            state["status"][rows], state["diverged_at"][rows] = DIVERGED, u
            state["diverged_by"][rows] = np.where(gone[ended], BY_LOSS, BY_PARAMETERS)
            state["final_metric"][rows] = np.inf
            self._leave(ended)


def _differ(raw: ScaledGradient, clipped: ScaledGradient) -> NDArray[np.bool_]:
    """Return in which cases a rule changed anything."""
    acted = np.zeros(len(raw.exponents[0]), dtype=bool)
    for a, b in zip(raw.mantissas, clipped.mantissas, strict=True):
        acted |= (a != b).any(axis=(1, 2))
    for a, b in zip(raw.exponents, clipped.exponents, strict=True):
        acted |= a != b
    return acted


def _plain(gradient: ScaledGradient) -> tuple[Array, ...]:
    """Return gradients as plain arrays; out of range they become 0 or inf."""
    if any(exponent.any() for exponent in gradient.exponents):
        return gradient.values()
    return gradient.mantissas
