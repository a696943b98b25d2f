"""The error surface over a plane of parameters, and descents over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.core.streams import digest
from gradlab.experiment.measures._base import AbstractMeasure, Index, Labels, among, numbered, registry
from gradlab.measure.landscape import RECORDS, Block, LandscapeView, seconds_of
from gradlab.measure.plane import check_lines
from gradlab.measure.probe import Run

if TYPE_CHECKING:
    from gradlab.experiment.expansion import Distinct
    from gradlab.experiment.grid import Grid


@registry.register
@dataclass(frozen=True)
class Landscape(AbstractMeasure):
    """Loss and gradient norm at every place of a plane, and the way that descent takes."""

    name: ClassVar[str] = "landscape"
    sections: ClassVar[tuple[str, ...]] = ("network", "task", "clip", "landscape")
    records: ClassVar[Mapping[str, tuple[str, ...]]] = RECORDS
    view: ClassVar[tuple[str, ...]] = ("task", "clip", "landscape")

    def labels(self, grid: Grid) -> Labels:
        """Return the places on the two lines, and the updates."""
        lines = {
            name: [getattr(one, name).places for one in grid.of("landscape")] for name in ("first", "second")
        }
        found: Labels = {name: np.unique(np.concatenate(own)).tolist() for name, own in lines.items()}
        return found | {"update": range(max(one.updates for one in grid.of("landscape")) + 1)}

    def shared(self, grid: Grid) -> tuple[Index, Index]:
        """Return the number of every point's network with its seed, and of its structure."""
        stream = among([digest(task.identity()) for task in grid.tasks])[grid.task_index]
        shape = among([network.structure() for network in grid.networks])[grid.network_index]
        own = np.stack([grid.network_index, stream, grid.seed_index], axis=1)
        return numbered(own), numbered(np.stack([shape, stream], axis=1))

    def run(self, grid: Grid, row: int, replicate: int) -> Run:
        """Return the network of a point."""
        return Run(grid.networks[grid.network_index[row]], grid.seeds[grid.seed_index[row]], replicate)

    def block(self, grid: Grid, runs: tuple[Any, ...], views: tuple[tuple[int, ...], ...]) -> Block:
        """Return a block of planes."""
        planes = grid.of("landscape")
        return Block(runs, tuple(LandscapeView(grid.tasks[t], grid.clips[c], planes[p]) for t, c, p in views))

    def seconds(self, grid: Grid, row: int) -> float:
        """Return about how long a case takes."""
        plane = grid.of("landscape")[grid.index("landscape")[row]]
        return seconds_of(grid.networks[grid.network_index[row]], grid.tasks[grid.task_index[row]], plane)

    def attributes(self, grid: Grid) -> dict[str, str]:
        """Return what the two lines of the plane are, if all cases have the same."""
        names = {
            key: {getattr(one, key).label for one in grid.of("landscape")} for key in ("first", "second")
        }
        return {key: found.pop() for key, found in names.items() if len(found) == 1}

    def unfit(self, parts: Mapping[str, Distinct]) -> list[Problem]:
        """Return the problems of planes: parameters that a network has not, several sizes, unfit rules."""
        planes, networks, tasks = (parts[one].settings for one in ("landscape", "network", "task"))

        def check_places(key: str) -> None:
            lines = [getattr(one, key) for one in planes]
            places = {(frozenset((line.start, line.stop)), line.num) for line in lines}
            if len(places) > 1:
                expected = "the same start, stop and num for all cases"
                raise UserMistake(Problem(f"landscape.{key}", expected, f"{len(places)} different ones"))

        problems: list[Problem] = []
        for n, t, p in parts_met(parts, ("network", "task", "landscape")):
            with gathering(problems):
                check_lines(planes[p], networks[n], tasks[t])
        for key in ("first", "second"):
            with gathering(problems):
                check_places(key)
        for clip in parts["clip"].settings:
            with gathering(problems):
                if clip.needs:
                    hint = "A descent within a plane has nothing else to show to a rule."
                    expected = "a rule that looks at the gradient alone, for a landscape"
                    raise UserMistake(Problem("clip", expected, repr(clip.name), hint))
        return problems


def parts_met(parts: Mapping[str, Distinct], sections: tuple[str, ...]) -> list[list[int]]:
    """Return which settings of some sections meet at any grid point."""
    met: list[list[int]] = np.unique(np.stack([parts[s].index for s in sections]), axis=1).T.tolist()
    return met
