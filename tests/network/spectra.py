"""What the tests of spectrum families share: settings under which each has a matrix of every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradlab.network.spectra import AbstractSpectrum, registry

SIZES = [1, 2, 3, 16, 33]
OWN = np.array([[0.5, -2.0, 0.0], [0.0, 0.25, 1.0], [3.0, 0.0, -0.125]])
# Settings under which a family has a matrix of every size; most need none.
VARIANTS: list[dict[str, Any]] = [
    *({"name": name} for name in registry.names() if name not in ("sparse", "file")),
    {"name": "sparse", "connections": 1},
    {"name": "normal", "eigenvalues": "disc"},
    {"name": "nonnormal", "eigenvalues": "disc", "feed_forward": 3.0},
    {"name": "nonnormal", "feed_forward": 0.0},
    {"name": "singular", "spread": 1.0},
    {"name": "singular", "spread": 0.0},
    {"name": "heavy_tailed", "nu": 1.0},
    {"name": "heavy_tailed", "nu": 0.5},
    {"name": "low_rank", "noise": 0.0},
]
every_family = pytest.mark.parametrize(
    "table", VARIANTS, ids=lambda table: "-".join(map(str, table.values()))
)


def cases(table: dict[str, Any], sizes: list[int] = SIZES) -> list[tuple[AbstractSpectrum, int, str, float]]:
    """Return (entry, size, scaling, wanted) for every scaling a family claims, where it is possible."""
    entry = registry.get(table["name"])
    found = [
        (registry.build({**table, way: 0.7}), size, way, 0.7) for way in entry.scalings for size in sizes
    ]
    return [case for case in found if not (is_zero(table, case[1]) and case[2] in ("radius", "norm"))]


def is_zero(table: dict[str, Any], size: int) -> bool:
    return size == 1 and table["name"] in ("antisymmetric", "delay_line")
