"""Make what `results/` holds of the shipped experiments: `python results/make.py [--runs FOLDER] [NAME ...]`.

With ``--archives`` alone packed archives are made, and the figures stay: of trainings, whole runs take hours.

Runs of whole experiments are made in FOLDER/NAME and kept there, where it is given: what an earlier run
there has measured, with today's numerical code and settings, is not measured again.

Every experiment is run, its figures drawn, its archive packed into at most `MOST` bytes. Where that is
too little for all of it, the experiment is made smaller by the first of `SMALLER` that fits, as ``--set``
would.
What was done is in `results/index.json`, with the digest of every file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import gradlab
from gradlab.archive.manifest import check
from gradlab.archive.packed import pack
from gradlab.core.fingerprint import code_key
from gradlab.drawing import draw_figures
from gradlab.experiment.spec import Spec, with_settings
from gradlab.running import Way, plan_of, run_archive

HOME = Path(__file__).resolve().parent
EXPERIMENTS = HOME.parent / "experiments"
MOST = 1_000_000
MOST_FIGURES = 2
FIGURES = (
    "landscape",
    "training",
    "success",
    "metric",
    "norms",
    "flow",
    "phase",
    "profile",
    "learners",
    "credit",
    "paths",
    "memory",
    "clipping",
    "lengths",
    "cells",
)
SCALARS = (
    'record=["log10_gradient_norm", "log10_clipped_gradient_norm", "clip_factor", "clip_angle", '
    '"loss", "growth_rate", "regime"]'
)
SMALLER: tuple[tuple[str, ...], ...] = (
    (),
    ("replicates=2",),
    ("replicates=1",),
    ("replicates=2", SCALARS),
    ("replicates=1", SCALARS),
)
#: Steps of their own for experiments whose size is not that of replicates and records.
OWN_STEPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "pascanu-cliff": ((), ("landscape.first.num=160", "landscape.second.num=160")),
}
#: Of trainings the figures are of the whole run, and the archive is of its first updates: it is to be
#: measured again in seconds.
FIRST_UPDATES: tuple[tuple[str, ...], ...] = (
    ("training.updates=100", "training.records=20"),
    ("training.updates=100", "training.records=20", "replicates=1"),
)
AUTHOR = "The gradlab developers"


def made(name: str, folder: Path, runs: Path, figures: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Run, draw and pack one experiment, the whole run in `runs`; return its entry in the index.

    Where its `figures` are given, as the index has them, none is drawn.
    """
    spec = gradlab.load_spec(folder / "experiments" / f"{name}.toml")
    target = HOME / "archives" / f"{name}.zip"
    trained = spec.measure == "train"
    steps = FIRST_UPDATES if trained else OWN_STEPS.get(name, SMALLER)
    whole: tuple[str, ...] = ()
    if figures is None:
        figures = [described(one) for one in drawn(name, run(name, spec, whole, runs / name), folder)]
    for number, settings in enumerate(steps):
        archive = runs / name if settings == whole else folder / str(number) / name
        run(name, spec, settings, archive)
        packed = pack(archive, folder / f"{name}.zip", authors=[AUTHOR])
        if packed.stat().st_size <= MOST:
            break
    else:
        sys.exit(f"{name}: {packed.stat().st_size} bytes with {steps[-1]}; it needs another step")
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(packed, target)
    return {
        "spec": f"experiments/{name}.toml",
        "settings": list(settings),
        **({"settings_of_figures": list(whole)} if whole != settings else {}),
        "cases": int((gradlab.open_archive(target)["settings_key"] != "").sum()),
        "content_digest": check(target).content_digest,
        **described(target),
        "figures": figures,
    }


def run(name: str, spec: Spec, settings: tuple[str, ...], archive: Path) -> Path:
    """Run an experiment with some settings; return its archive."""
    command = ["gradlab", "run", f"experiments/{name}.toml"]
    command += [word for one in settings for word in ("--set", one)]
    way = Way(workers=os.cpu_count() or 1, command=command, prune=True)
    if archive.exists() and of_older_code(archive):
        shutil.rmtree(archive)  # a run into a complete one would leave it as it is
    run_archive(plan_of(with_settings(spec, settings)), archive, way=way)
    return archive


def of_older_code(archive: Path) -> bool:
    """Return whether other numerical code than today's measured any case of an archive."""
    keys = {str(key) for key in gradlab.open_archive(archive)["code_key"].values.ravel()}
    return bool(keys - {"", code_key()})


def drawn(name: str, archive: Path, folder: Path) -> list[Path]:
    """Draw the most telling figures that an archive allows, into `results/figures`."""
    found = draw_figures(archive, formats=("png",), out=folder / "drawn" / name)
    ranked = sorted(found, key=lambda one: FIGURES.index(one) if one in FIGURES else len(FIGURES))
    files = [paths[0] for one in ranked if isinstance(paths := found[one], list)][:MOST_FIGURES]
    (HOME / "figures").mkdir(exist_ok=True)
    return [Path(shutil.copyfile(one, HOME / "figures" / f"{name}-{one.name}")) for one in files]


def described(file: Path) -> dict[str, Any]:
    """Return name, size and digest of a file of `results`."""
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {"file": file.relative_to(HOME).as_posix(), "bytes": len(data), "sha256": digest}


def main(names: list[str], runs: Path | None, *, archives: bool = False) -> None:
    """Make the results of the experiments of these names, or of all; keep whole runs in `runs`.

    With `archives`, figures stay as they are.
    """
    index_file = HOME / "index.json"
    there = sorted(file.stem for file in EXPERIMENTS.glob("*.toml"))
    if unknown := set(names) - set(there):
        sys.exit(f"no such experiment: {', '.join(sorted(unknown))}")
    index = json.loads(index_file.read_text()) if index_file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="gradlab-") as folder:
        # Elsewhere, for a resolved spec has the absolute paths of the files that it names.
        shutil.copytree(EXPERIMENTS, Path(folder) / "experiments")
        for name in names or there:
            figures = index[name]["figures"] if archives and name in index else None
            index[name] = made(name, Path(folder), runs or Path(folder) / "whole", figures)
            sys.stdout.write(f"{name}: {index[name]['cases']} cases, {index[name]['bytes']} bytes\n")
    index = {name: index[name] for name in there if name in index}
    index_file.write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    words = argparse.ArgumentParser(description="Make what results/ holds of the shipped experiments.")
    words.add_argument("names", metavar="NAME", nargs="*", help="an experiment; all by default")
    words.add_argument(
        "--runs", metavar="FOLDER", type=Path, help="keep whole runs here, and go on with them"
    )
    words.add_argument("--archives", action="store_true", help="make packed archives alone")
    given = words.parse_args()
    main(given.names, given.runs, archives=given.archives)
