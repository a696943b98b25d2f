"""How the views of a forward pass share backward passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gradlab.learning.clipping import AbstractClip
from gradlab.learning.clipping.off import Off
from gradlab.learning.learners import AbstractLearner
from gradlab.learning.learners.bptt import Bptt
from gradlab.measure.records import OF_GRADIENT, OF_LEARNER
from gradlab.network.settings import NetworkSettings
from gradlab.tasks import AbstractTask

_OFF = Off()
_BPTT = Bptt()


@dataclass(frozen=True)
class View:
    """What is measured on a forward pass: where the loss looks, the clip rule, how gradients are made."""

    task: AbstractTask
    clip: AbstractClip
    learner: AbstractLearner = _BPTT


@dataclass(frozen=True)
class Layout:
    """How the views of a block are served: engine lanes, and (lane, view) of each case and its raw twin."""

    tasks: tuple[AbstractTask, ...]
    rules: tuple[AbstractClip, ...]
    scales: tuple[tuple[AbstractClip, ...], ...]
    place: tuple[tuple[int, int], ...]
    raw: tuple[tuple[int, int], ...]


def lay_out(views: Sequence[View], wanted: Collection[str], network: NetworkSettings) -> Layout:
    """Share backward passes among views: lanes by (task, rule of the recursion).

    Parameters
    ----------
    views : sequence of View
        What is measured.
    wanted : collection of str
        Names of records: gradients and paths are of the raw pass besides the clipped one.
    network : NetworkSettings
        Where adjoints go on to another layer, or through a readout, a rule that rescales samples has
        a pass of its own.
    """
    asked = set(wanted)
    raw_too = bool((OF_GRADIENT | OF_LEARNER | {"log10_path_gradient_norm"}) & asked)
    joined = network.layers > 1 or network.bidirectional or network.cell.feeds_back == "output"
    lanes: dict[tuple[AbstractTask, AbstractClip], list[AbstractClip]] = {}

    def serve(
        task: AbstractTask, clip: AbstractClip
    ) -> tuple[tuple[AbstractTask, AbstractClip], AbstractClip]:
        alone = clip.changes_entries or (clip.rescales_samples and (joined or len(task.looks()) > 1))
        key = (task, clip if alone else _OFF)
        scale = clip if clip.rescales_samples else _OFF
        scales = lanes.setdefault(key, [])
        if scale not in scales:
            scales.append(scale)
        return key, scale

    placed = []
    for view in views:
        rule = view.clip if view.clip.scope == "adjoint" else _OFF
        raw = serve(view.task, _OFF) if raw_too else None
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
