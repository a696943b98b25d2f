"""The shipped experiments, and how to make them small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import gradlab
from gradlab.experiment.runner import execute
from gradlab.experiment.sink import MemorySink
from gradlab.experiment.spec import with_settings
from gradlab.running import plan_of

FOLDER = Path(__file__).parents[2] / "experiments"
FEW_UPDATES = 40


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of the shipped experiments."""
    return FOLDER


def shortened(axis: Any) -> Any:
    """Return an axis with its first and last value only."""
    if isinstance(axis, list):
        return axis[:1] + axis[1:][-1:]
    ends = {key: value for key, value in axis.items() if key not in ("step", "num")}
    return {**ends, "num": 2}


@pytest.fixture(scope="session")
def thinned() -> Callable[[str], gradlab.Spec]:
    """Return an experiment at one replicate, with the first and last value of every axis, and few updates."""

    def thin(name: str) -> gradlab.Spec:
        table = gradlab.load_spec(FOLDER / f"{name}.toml").to_dict()
        tables = table.get("sweep", [])
        for sweep in tables if isinstance(tables, list) else [tables]:
            for key in [key for key in sweep if key not in ("zip", "where", "rename")]:
                sweep[key] = shortened(sweep[key])
        if "training" in table:
            table["training"] = {**table["training"], "updates": FEW_UPDATES}
        return gradlab.Spec.from_dict({**table, "replicates": 1}, FOLDER)

    return thin


@pytest.fixture(scope="session")
def ran() -> Callable[..., xr.Dataset]:
    """Return the data of an experiment with some settings replaced, every case of it measured."""
    known: dict[tuple[str, ...], xr.Dataset] = {}

    def run(name: str, *settings: str) -> xr.Dataset:
        key = (name, *settings)
        if key not in known:
            known[key] = gradlab.run(with_settings(gradlab.load_spec(FOLDER / f"{name}.toml"), settings))
        ds = known[key]
        assert set(ds["status"].values.ravel().tolist()) <= {0, 1}
        return ds

    return run


@pytest.fixture(scope="session")
def failures() -> Callable[[gradlab.Spec], list[str]]:
    """Return the errors of the cases of a spec that failed."""

    def run(spec: gradlab.Spec) -> list[str]:
        plan = plan_of(spec)
        sink = MemorySink(plan)
        execute(plan, sink)
        return [error for _, error, _ in sink.failures]

    return run
