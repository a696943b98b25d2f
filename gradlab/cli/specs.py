"""Specs as the commands take them: a file, and settings given beside it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradlab.cli.terminal import clean

if TYPE_CHECKING:
    from gradlab.experiment.spec import Spec


def read_spec(path: Path, settings: Sequence[str]) -> Spec:
    """Return the spec in a file with settings replaced.

    Raises
    ------
    UserMistake
        With every problem of the file, else of the settings.
    """
    from gradlab.api import load_spec
    from gradlab.experiment.spec import with_settings

    spec = load_spec(path)
    return with_settings(spec, settings) if settings else spec


def given_text(path: Path, spec: Spec, settings: Sequence[str]) -> str:
    """Return what an archive keeps as the spec given: the file's own text, unless settings changed it."""
    from gradlab.experiment.toml import to_toml

    if not settings:
        return path.read_bytes().decode("utf-8-sig")
    changes = " ".join(f"--set {shlex.quote(one)}" for one in settings)
    return f"# {clean(path.name)} with {clean(changes)}\n{to_toml(spec.given)}"
