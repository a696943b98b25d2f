"""What ``gradlab probe`` does with its flags: reads, measures, draws, reports."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlab import trained
from gradlab.archive.variables import REGIME
from gradlab.cli.flags import entries, flag, looks, words
from gradlab.cli.report import closing, files_of, found_in
from gradlab.cli.terminal import clean, duration, safe, say, say_json, tell
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake, gathering
from gradlab.drawing import draw_figures
from gradlab.experiment.sections import CATALOGUES

if TYPE_CHECKING:
    import xarray as xr

    from gradlab.network.weights import Weights

#: What is told of the only case, besides its regime.
NUMBERS = ("growth_rate", "growth_rate_standard_error", "loss", "log10_gradient_norm", "clip_factor")
MOST_NAMES = 8


def probe_flags(given: Mapping[str, Any], command: Sequence[str]) -> None:
    """Measure what the flags ask for, into an archive with figures, and say what was found.

    Parameters
    ----------
    given : mapping
        Parameters of the command by name.
    command : sequence of str
        The command line.

    Raises
    ------
    UserMistake
        With every problem, named by flag where a flag set what is wrong.
    """
    note = (lambda line: None) if given["quiet"] else tell
    try:
        asked = _read(given)
    except UserMistake as mistake:
        raise UserMistake([_by_flag(problem, given) for problem in mistake.problems]) from None
    for line in lines_of(asked.weights):
        note(line)
    out = given["out"] or Path("results") / f"{given['weights'].stem}-{asked.key[:8]}"
    began = time.perf_counter()
    ds, done = trained.archive(asked, out, command)
    seconds = time.perf_counter() - began
    told = f"Measured in {duration(seconds)}" if done else "Measured before"
    note(f"{told}, archive in {clean(out)}.")
    result = {"archive": str(out), **found_in(ds), "done": done, "kept": 1 - done}
    result |= {"seconds": round(seconds, 3), "network": asked.table["network"], **_numbers(ds)}
    result |= {"unused": list(asked.weights.unused), "converted": list(asked.weights.halves), "figures": {}}
    if given["figures"]:
        drawn = draw_figures(out, own=True)
        result["figures"] = files_of(drawn)
        if result["figures"]:  # why others are not drawn is plain: most need a sweep
            note(f"Figures: {', '.join(result['figures'])}.")
    if given["as_json"]:
        say_json(result)
    elif not given["quiet"]:
        say(*_findings(result), *closing(result))


def _read(given: Mapping[str, Any]) -> trained.Trained:
    """Return what the flags ask for, read and checked."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    readers: dict[str, Callable[[str, str], Any]] = {
        "at": looks,
        "clip": lambda text, where: entries(text, where, CATALOGUES["clip"]),
        "cell": lambda text, where: entries(text, where, CATALOGUES["network.cell"]),
        "activation": lambda text, where: entries(text, where, CATALOGUES["network.activation"]),
    }
    for name, reader in readers.items():
        if given[name] is not None:
            with gathering(problems):
                values[name] = _only(reader(given[name], flag(name)), given[name], flag(name))
    if problems:
        raise UserMistake(problems)
    return trained.read(
        str(given["weights"]),
        str(given["inputs"]),
        None if given["targets"] is None else str(given["targets"]),
        loss=given["loss"],
        at=values.get("at", "final"),
        clip=values.get("clip", "off"),
        record=None if given["record"] is None else list(words(given["record"], "--record")),
        cell=values.get("cell"),
        activation=values.get("activation", "tanh"),
        prefix=given["prefix"],
        readout=given["readout"] if given["readout"] is not None else "auto",
        seed=given["seed"],
        title=given["title"],
    )


def _only(values: Any, text: str, where: str) -> Any:
    if len(values) != 1:
        raise UserMistake(Problem(where, "one value: a probe has a single case", shown(text)))
    return values[0]


def _by_flag(problem: Problem, given: Mapping[str, Any]) -> Problem:
    """Return the problem with the flag in place of the argument that it sets."""
    if problem.where == "weights":
        return dataclasses.replace(problem, where="WEIGHTS")
    return dataclasses.replace(problem, where=flag(problem.where)) if problem.where in given else problem


def lines_of(weights: Weights) -> list[str]:
    """Return what was found in a file of weights, in lines."""
    layers = "1 layer" if weights.layers == 1 else f"{weights.layers} layers"
    both = ", both directions" if weights.bidirectional else ""
    prefix = f", prefix {weights.prefix.removesuffix('.')}" if weights.prefix else ""
    readout = f", readout {weights.readout}" if weights.readout else ""
    sizes = f"{weights.hidden} hidden units, {weights.features} features"
    lines = [clean(f"{weights.cell.name}: {layers}{both}, {sizes}, {weights.dtype}{prefix}{readout}.")]
    if weights.halves:
        lines.append(f"Half precision, computed in {weights.dtype}: {_some(weights.halves)}.")
    if weights.unused:
        lines.append(f"Not part of the network: {_some(weights.unused)}.")
    return lines


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(map(clean, names[:MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def _numbers(ds: xr.Dataset) -> dict[str, Any]:
    """Return what was measured of the only case and is one number."""
    found: dict[str, Any] = {name: float(ds[name].values[0]) for name in NUMBERS if name in ds}
    if "regime" in ds:
        found["regime"] = next(word for word, code in REGIME.items() if code == ds["regime"].values[0])
    return found


def _findings(result: Mapping[str, Any]) -> list[str]:
    """Return the numbers of the only case in lines."""
    lines = []
    if "growth_rate" in result:
        error = result.get("growth_rate_standard_error")
        within = f" ± {error:.2g}" if error is not None else ""
        lines.append(f"Slope {result['growth_rate']:.4g}{within} decades per time step.")
    if "log10_gradient_norm" in result:
        lines.append(f"Gradient norm 10^{result['log10_gradient_norm']:.4g}.")
    return [safe(line) for line in lines]
