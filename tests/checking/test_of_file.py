"""Archives of networks that were read from files: what they say is what their settings give."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlab
from gradlab.archive.manifest import seal
from gradlab.checking import verify

Rewritten = Callable[[Path, str, Callable[[np.ndarray], object]], None]
ROWS = {"elman": 1, "gru": 3, "lstm": 4}


def weights(cell: str, hidden: int = 3, layers: int = 1, both: bool = False) -> dict[str, np.ndarray]:
    """A network as PyTorch names its tensors."""
    stream, found = np.random.default_rng(0), {}
    for layer in range(layers):
        for end in ("", "_reverse")[: 1 + both]:
            wide = hidden * (1 + both) if layer else 2
            for name, columns in (("weight_ih", wide), ("weight_hh", hidden)):
                found[f"{name}_l{layer}{end}"] = stream.normal(size=(ROWS[cell] * hidden, columns))
    return found


@pytest.fixture
def probed(tmp_path: Path) -> Callable[..., Path]:
    """Measure a network into an archive."""

    def run(cell: str = "lstm", layers: int = 1, both: bool = False, **how: Any) -> Path:
        inputs = np.random.default_rng(1).normal(size=(5, 2, 2))
        gradlab.probe(weights(cell, 3, layers, both), inputs, out=tmp_path / "a", **how)
        return tmp_path / "a"

    return run


def said(path: Path) -> str:
    seal(path)
    return "\n".join(map(str, verify(path).problems))


def retold(path: Path, change: Callable[[dict[str, Any]], object], name: str = "") -> None:
    """Change the metadata of an array, or of the whole."""
    for file in (path / "data.zarr/zarr.json", path / f"data.zarr/{name}/zarr.json"):
        metadata = json.loads(file.read_text())
        own = metadata
        if name and "consolidated_metadata" in metadata:
            own = metadata["consolidated_metadata"]["metadata"][name]
        change(own["attributes"])
        file.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"cell": "elman", "activation": {"name": "leaky_relu", "slope": 0.3}, "layers": 2},
        {"cell": "gru", "both": True, "clip": {"name": "norm", "threshold": 0.1}, "title": "Mine"},
        {"record": ["log10_path_gradient_norm", "log10_credit_norm", "radius_drawn"], "at": "every"},
        {"at": [1, 3], "both": True, "layers": 2, "record": ["saturation"]},
    ],
    ids=["plain", "slope", "clipped", "on request", "listed steps"],
)
def test_what_was_measured_is_verified(probed: Callable[..., Path], how: dict[str, Any]) -> None:
    report = verify(probed(**how))
    assert report.verified, report.problems
    assert report.keys == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", "Other"),
        ("seed", 7),
        ("cell", "gru"),
        ("activation", "relu"),
        ("clip", "norm(1.0)"),
        ("x", 1),
    ],
)
def test_attributes_are_those_of_the_settings(probed: Callable[..., Path], key: str, value: object) -> None:
    path = probed()
    retold(path, lambda attributes: attributes.update({key: value}))
    assert f"{key}: expected what the settings give" in said(path)


def test_units_are_those_of_the_schema(probed: Callable[..., Path]) -> None:
    path = probed()
    retold(path, lambda attributes: attributes.update(units="furlong"), "lag")
    assert "lag: expected unit 'time steps', got 'furlong'" in said(path)


def test_coordinates_are_those_of_the_settings(probed: Callable[..., Path], rewritten: Rewritten) -> None:
    path = probed(both=True)
    rewritten(path, "direction", lambda values: np.copyto(values, values[::-1].copy()))
    assert "direction: expected the coordinate that the settings give" in said(path)
    rewritten(path, "lag", lambda values: np.copyto(values, values[::-1].copy()))
    assert "lag: expected the coordinate that the settings give" in said(path)


def test_a_record_that_the_settings_ask_for_is_missed(probed: Callable[..., Path]) -> None:
    path = probed()
    settings = path / "spec.resolved.toml"
    settings.write_text(
        settings.read_text().replace('record = ["', 'record = ["log10_path_gradient_norm", "')
    )
    assert "log10_path_gradient_norm: expected this record" in said(path)


CHANGES: dict[str, tuple[str, str]] = {
    "no title": (r'title = ".*"\n', ""),
    "no cell": (r'cell = ".*"\n', ""),
    "a cell that is none": (r'cell = ".*"', 'cell = "perceptron"'),
    "a cell of another kind": (r'cell = ".*"', "cell = 3"),
    "an activation of another kind": (r"activation = .*", "activation = [1]"),
    "records of another kind": (r"record = \[[^]]*\]", "record = 3"),
    "records that are no names": (r"record = \[[^]]*\]", "record = [[3]]"),
    "a clip rule of another kind": (r"\[clip\]\nname = .*", "[clip]\nname = 4"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_settings_that_are_none_are_told_and_nothing_breaks(probed: Callable[..., Path], what: str) -> None:
    path = probed()
    settings = path / "spec.resolved.toml"
    before = settings.read_text()
    pattern, new = CHANGES[what]
    after = re.sub(pattern, new, before)
    assert after != before, before
    settings.write_text(after)
    assert said(path)
