"""A small sweep with made-up numbers: axes with labels and a zipped setting, a hole, two replicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlab.archive.extend import keys_of
from gradlab.archive.schema import recorded
from gradlab.archive.store import ArchiveSink
from gradlab.archive.variables import KEYS, STATUS, VARIABLES
from gradlab.measure.records import ORDINARY

TEXT = np.dtypes.StringDType()
CODE = "c0de" * 4


@dataclass(frozen=True)
class Axis:
    name: str
    keys: tuple[str, ...]
    coordinates: dict[str, Any]


def _axes() -> tuple[Axis, ...]:
    return (
        Axis("radius", ("network.spectrum.radius",), {"radius": np.linspace(0.5, 1.5, 5)}),
        Axis(
            "activation",
            ("network.activation", "task.batch"),
            {"activation": np.array(["tanh", "relu", "ünïcode"], TEXT), "batch": np.array([8, 16, 32])},
        ),
    )


@dataclass
class Sweep:
    axes: tuple[Axis, ...] = field(default_factory=_axes)
    replicates: int = 2
    n_lags: int = 7
    gates: tuple[str, ...] = ()
    layers: int = 1
    directions: tuple[str, ...] = ("forward",)
    tile: tuple[int, ...] = (2, 2, 2)
    record: tuple[str, ...] = recorded(ORDINARY)
    attrs: dict[str, Any] = field(
        default_factory=lambda: {"title": "T", "question": "Q?", "measure": "probe", "seed": 3}
    )

    @property
    def along(self) -> dict[str, Any]:
        """Labels of what variables run along besides the case, as a plan has them."""
        longest = range(self.n_lags)
        along = {"path": ("memory", "rest", "total"), "loss_time": longest, "lag": longest, "time": longest}
        along |= {"layer": range(self.layers)} if self.layers > 1 else {}
        along |= {"direction": self.directions} if len(self.directions) > 1 else {}
        return along | ({"gate": self.gates} if self.gates else {})

    @property
    def shape(self) -> tuple[int, ...]:
        lengths = [len(next(iter(axis.coordinates.values()))) for axis in self.axes]
        return (*lengths, self.replicates)

    @property
    def case_keys(self) -> np.ndarray:
        keys = np.array([f"{i:032x}" for i in range(int(np.prod(self.shape)))]).reshape(self.shape)
        if len(self.axes) == 2:
            keys[1, 2] = ""
        return keys

    @property
    def index(self) -> np.ndarray:
        """Every case that is to be run, (cases, case dimensions)."""
        return np.argwhere(self.case_keys != "")

    def dense(self) -> dict[str, np.ndarray]:
        """Finished arrays of every recorded variable."""
        rng = np.random.default_rng(5)
        arrays = {}
        hole = self.case_keys == ""
        for name in self.record:
            variable = VARIABLES[name]
            last = tuple(len(self.along[dim]) for dim in variable.over if dim in self.along)
            values = variable.empty(self.shape + last)
            if variable.dtype == "float64":
                values[...] = rng.normal(size=values.shape)
                if variable.over[-1:] in (("lag",), ("time",)):
                    values[:, 0, ..., 4:] = np.nan  # shorter cases
            values[hole] = variable.fill
            arrays[name] = values
        arrays["status"][~hole] = STATUS["ok"]
        arrays["status"][4, 1, 0] = STATUS["overflowed"]
        arrays["first_overflow"][4, 1, 0] = 2
        arrays["regime"][~hole] = -1
        for name in self.record:
            if VARIABLES[name].dtype == "float64":
                arrays[name][4, 1, 0] = np.inf
        arrays |= keys_of(self.case_keys, np.where(hole, "", CODE))
        return arrays

    def open(self, path: Path, **changes: Any) -> ArchiveSink:
        settings: dict[str, Any] = {
            "spec_text": "title = 'T'\n",
            "spec_resolved": "title = 'T'\nseed = 3\n",
            "axes": self.axes,
            "replicates": self.replicates,
            "along": self.along,
            "record": self.record,
            "tile": self.tile,
            "settings_keys": self.case_keys,
            "code": CODE,
            "attrs": self.attrs,
        }
        return ArchiveSink.create_or_open(path, **(settings | changes))

    def records(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """What the runner would give for these cases."""
        return {name: a[tuple(index.T)] for name, a in self.dense().items() if name not in KEYS}

    def write_all(self, sink: ArchiveSink) -> None:
        sink.write(self.index, self.records(self.index))


@pytest.fixture
def sweep() -> Sweep:
    return Sweep()


@pytest.fixture
def sweep_class() -> Callable[..., Sweep]:
    return Sweep


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Return every file below a directory with its bytes."""

    def files(path: Path) -> dict[str, bytes]:
        return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}

    return files
