"""How the views of a forward pass share backward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradlab.learning.clipping import AbstractClip
from gradlab.learning.clipping.off import Off
from gradlab.tasks import AbstractTask

_OFF = Off()


@dataclass(frozen=True)
class View:
    """What is measured on a forward pass: where the loss looks, and the clip rule."""

    task: AbstractTask
    clip: AbstractClip


@dataclass(frozen=True)
class Layout:
    """How the views of a block are served: engine lanes, and (lane, view) of each case and its raw twin."""

    tasks: tuple[AbstractTask, ...]
    rules: tuple[AbstractClip, ...]
    scales: tuple[tuple[AbstractClip, ...], ...]
    place: tuple[tuple[int, int], ...]
    raw: tuple[tuple[int, int], ...]


def lay_out(views: Sequence[View], gradients: bool) -> Layout:
    """Share backward passes among views: lanes by (task, rule of the recursion)."""
    lanes: dict[tuple[AbstractTask, AbstractClip], list[AbstractClip]] = {}

    def serve(
        task: AbstractTask, clip: AbstractClip
    ) -> tuple[tuple[AbstractTask, AbstractClip], AbstractClip]:
        alone = clip.changes_entries or (clip.rescales_samples and len(task.looks()) > 1)
        key = (task, clip if alone else _OFF)
        scale = clip if clip.rescales_samples else _OFF
        scales = lanes.setdefault(key, [])
        if scale not in scales:
            scales.append(scale)
        return key, scale

    placed = []
    for view in views:
        rule = view.clip if view.clip.scope == "adjoint" else _OFF
        raw = serve(view.task, _OFF) if gradients else None
        own = serve(view.task, rule)
        placed.append((own, raw or own))
    keys = sorted(lanes, key=lambda key: -key[0].lags)
    where = {key: i for i, key in enumerate(keys)}

    def index(key: tuple[AbstractTask, AbstractClip], scale: AbstractClip) -> tuple[int, int]:
        return where[key], lanes[key].index(scale)

    return Layout(
        tuple(key[0] for key in keys),
        tuple(key[1] for key in keys),
        tuple(tuple(lanes[key]) for key in keys),
        tuple(index(*own) for own, _ in placed),
        tuple(index(*raw) for _, raw in placed),
    )


def backward_passes(views: Sequence[View], gradients: bool) -> int:
    """Return how many backward passes serve these views on one forward pass."""
    return len(lay_out(views, gradients).tasks)
