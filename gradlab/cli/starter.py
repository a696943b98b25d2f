"""The starter spec that ``gradlab new`` writes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

TEXT = """\
# A gradlab spec. Run it with:  gradlab run {file}
# See what it comes to first:   gradlab plan {file}
# What can stand here:          gradlab list

title = {title}
question = "At which spectral radius do gradients turn from vanishing to exploding?"
seed = 0
replicates = 4                     # independent copies of every case
# record = ["growth_rate"]         # keep less than everything: gradlab list records
# memory = "1GiB"                  # bound for all processes together

[network]
cell = "elman"                     # or {{ name = "lstm", forget_bias = 1.0 }}: gradlab list cells
hidden = 32
activation = "tanh"                # gradlab list activations
spectrum = {{ name = "ginibre", radius = 1.0 }}  # radius, norm or gain: gradlab list spectra
# input = {{ name = "normal", gain = 1.0 }}      # input weights: gradlab list initialisers
# bias = {{ name = "constant", value = 0.0 }}
# readout = {{ name = "normal", gain = 1.0 }}
# dtype = "float64"                # or "float32"

[task]
name = "noise"                     # gradlab list tasks
features = 8
batch = 16
length = 100
loss = "mse"                       # gradlab list losses
at = "final"                       # where the loss looks: "every", or time steps such as [0, -1]

[clip]
name = "off"                       # or name = "norm" with threshold = 1.0: gradlab list clips

[learner]
name = "bptt"                      # gradlab list learners

[sweep]                            # every key above can be an axis; this is the product of the axes
"network.spectrum.radius" = {{ start = 0.5, stop = 2.5, num = 11 }}
"network.activation" = ["tanh", "relu"]
# "task.length" = [25, 50, 100]
# "clip" = [{{ name = "off" }}, {{ name = "norm", threshold = 1.0 }}]
# where = "radius < 2 or activation == 'tanh'"
"""


def as_argument(path: Path) -> str:
    """Return a path as a command takes it: one that begins with a dash would be an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def write_starter(name: str) -> Path:
    """Write the starter spec called `name`, and return its path.

    Raises
    ------
    UserMistake
        If the name cannot be one of a file, a file of this name exists, or the disk refuses.
    """
    path = Path(name if name.endswith(".toml") else f"{name}.toml")
    stem = path.stem
    nameless = not name.strip() or stem in ("", ".", "..", ".toml") or name.endswith(("/", "\\"))
    if nameless or not name.isprintable():
        raise UserMistake(Problem("NAME", "a name for a file", shown(name)))
    text = TEXT.format(file=shlex.quote(as_argument(path)), title=json.dumps(stem, ensure_ascii=False))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        expected, hint = "a file that does not exist yet", "Nothing was changed; give another name."
        raise UserMistake(Problem(str(path), expected, "one that does", hint)) from None
    except (OSError, UnicodeEncodeError) as error:
        got = getattr(error, "strerror", None) or "a name that is not Unicode"
        raise UserMistake(Problem(str(path), "a file that can be written", got)) from None
    return path
