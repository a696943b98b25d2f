"""A small sweep with real numbers, as an archive and packed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from checked_sweep import SPEC

import gradlab
from gradlab.archive.manifest import seal
from gradlab.archive.packed import pack


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that nobody touches."""
    path = tmp_path_factory.mktemp("sound") / "whole"
    gradlab.run(SPEC, path)
    (path / "figures").mkdir(exist_ok=True)
    (path / "figures" / "x.png").write_bytes(b"not looked at")
    seal(path)
    return path


@pytest.fixture(scope="session")
def sound_zip(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed."""
    return pack(sound, tmp_path_factory.mktemp("packed") / "whole.zip")


@pytest.fixture
def whole(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to be altered."""
    return Path(shutil.copytree(sound, tmp_path / "whole"))


@pytest.fixture
def rewritten() -> Callable[[Path, str, Callable[[np.ndarray], object]], None]:
    """Change numbers of an archive as somebody would who knows how, and seal it again."""

    def rewrite(path: Path, name: str, change: Callable[[np.ndarray], object]) -> None:
        array = zarr.open_group(path / "data.zarr", mode="r+")[name]
        values = np.asarray(array[...])
        change(values)
        array[...] = values
        seal(path)

    return rewrite
