"""A radius or norm that no matrix of a family has: told before anything runs, never scaled from rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlab
from gradlab.core.errors import UserMistake
from gradlab.network.spectra import registry

ZEROS = [0.0, [0.0, 0.0], 0.0]
#: Settings beside the size, and what cannot be scaled then.
ABSENT = [
    ("antisymmetric", {}, 1, {"radius", "norm"}),
    ("antisymmetric", {}, 3, set()),
    ("delay_line", {}, 1, {"norm"}),
    ("delay_line", {}, 3, set()),
    ("normal", {"eigenvalues": ZEROS}, 3, {"radius", "norm"}),
    ("normal", {"eigenvalues": [0.0, [0.0, 0.1]]}, 3, set()),
    ("nonnormal", {"eigenvalues": ZEROS}, 3, {"radius"}),
    ("nonnormal", {"eigenvalues": ZEROS, "feed_forward": 0.0}, 3, {"radius", "norm"}),
    ("nonnormal", {"eigenvalues": [0.0]}, 1, {"radius", "norm"}),
    ("file", {"path": "chain.npy"}, 3, {"radius"}),
    ("file", {"path": "zero.npy"}, 3, {"radius", "norm"}),
    ("file", {"path": "ones.npy"}, 3, set()),
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("chain.npy", np.eye(3, k=-1))
    np.save("zero.npy", np.zeros((3, 3)))
    np.save("ones.npy", np.ones((3, 3)))


@pytest.mark.parametrize("way", ["radius", "norm"])
@pytest.mark.parametrize(("name", "settings", "size", "absent"), ABSENT)
def test_what_is_absent_is_refused_with_the_spec(
    name: str, settings: dict[str, Any], size: int, absent: set[str], way: str
) -> None:
    if way not in registry.get(name).scalings:
        return
    spectrum = {"name": name, **settings, way: 1.5}
    table = {"network": {"hidden": size, "spectrum": spectrum}, "task": {"name": "noise", "length": 3}}
    if way in absent:
        message = rf"network\.spectrum\.{way}: expected 0, or a matrix of '{name}' of size {size} whose "
        with pytest.raises(UserMistake, match=message + r"\w+ is not 0, got .* cannot be scaled up"):
            gradlab.run(table)
    else:
        assert gradlab.run(table)[f"{way}_drawn"].values == pytest.approx(1.5, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("size", [1, 3])
def test_what_a_family_says_is_absent_is_zero_in_what_it_draws(name: str, size: int) -> None:
    more = {"file": {"path": "zero.npy"}, "sparse": {"connections": 1}}.get(name, {})
    scaling = registry.get(name).scalings[-1]
    spectrum = registry.build({"name": name, scaling: 0.0, **more}, "spectrum")
    if name == "file" and size != 3:
        return
    drawn, absent = spectrum._held(size)[1], spectrum.absent(size)
    assert {"radius": drawn.radius, "norm": drawn.norm}.items() >= dict.fromkeys(absent, 0.0).items()
    for way in absent:  # what is to be zero is no mistake
        spectrum.check_scaling(size)
        if way in spectrum.scalings:
            assert getattr(spectrum.draw(size, 0, 0), way) == 0.0
