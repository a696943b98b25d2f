"""``gradlab probe``: measure a network that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from gradlab.cli import complete
from gradlab.cli.group import command_line
from gradlab.cli.options import Json, Quiet

NETWORK, TASK, RUN = "Network", "Inputs and loss", "Run"

Text: TypeAlias = str | None

Weights = Annotated[
    Path, typer.Argument(metavar="WEIGHTS", help="A .safetensors or .npz file with PyTorch's names.")
]
Inputs = Annotated[
    Path,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="A .npy file (length, features) or (length, batch, features), or .csv, a line a time step.",
        rich_help_panel=TASK,
    ),
]
Targets = Annotated[
    Path | None,
    typer.Option(
        "--targets",
        metavar="FILE",
        help="A .npy file (looks, batch, outputs), or (looks, batch) for classes.",
        rich_help_panel=TASK,
        show_default="none",
    ),
]


def _text(flag: str, metavar: str, panel: str, text: str, default: str, catalogue: str = "") -> object:
    return typer.Option(
        flag,
        metavar=metavar,
        help=text,
        rich_help_panel=panel,
        show_default=default,
        autocompletion=complete.entries(catalogue) if catalogue else None,
    )


Loss = Annotated[Text, _text("--loss", "NAME", TASK, "The loss.", "mse with targets, else unit", "losses")]
At = Annotated[
    Text, _text("--at", "WHEN", TASK, "Where the loss looks: final, every, or steps as in 10+20.", "final")
]
Clip = Annotated[Text, _text("--clip", "NAME", TASK, "Clip rule, as in norm:1.", "off", "clips")]
Cell = Annotated[Text, _text("--cell", "NAME", NETWORK, "The cell.", "told from the weights", "cells")]
Activation = Annotated[
    Text,
    _text("--activation", "NAME", NETWORK, "Activation of the states, as in relu.", "tanh", "activations"),
]
Prefix = Annotated[
    Text, _text("--prefix", "TEXT", NETWORK, "What stands before weight_ih_l0, as in encoder.lstm.", "found")
]
Readout = Annotated[
    Text, _text("--readout", "NAME", NETWORK, "The linear layer behind the last one, or none.", "found")
]
Record = Annotated[Text, _text("--record", "NAMES", RUN, "What to record.", "what a run records")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of the unit vectors of loss unit.", rich_help_panel=RUN)
]
Title = Annotated[Text, _text("--title", "TEXT", RUN, "Title, kept with the data.", "the file's name")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Where the archive goes.",
        rich_help_panel=RUN,
        show_default="results/NAME-DIGEST",
    ),
]
Figures = Annotated[bool, typer.Option("--figures/--no-figures", help="Draw figures.", rich_help_panel=RUN)]


def probe(
    ctx: typer.Context,
    weights: Weights,
    inputs: Inputs,
    targets: Targets = None,
    loss: Loss = None,
    at: At = None,
    clip: Clip = None,
    cell: Cell = None,
    activation: Activation = None,
    prefix: Prefix = None,
    readout: Readout = None,
    record: Record = None,
    seed: Seed = 0,
    title: Title = None,
    out: Out = None,
    figures: Figures = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a network that was trained elsewhere, on inputs of your own.

    In PyTorch: safetensors.torch.save_file(model.state_dict(), "trained.safetensors"). Without targets
    random unit vectors are sent back from the last states: what is seen is the network alone.

    For example:
      gradlab probe trained.safetensors --inputs inputs.npy
      gradlab probe trained.safetensors --inputs readings.csv --targets targets.npy --loss mse --clip norm:1
      gradlab probe model.npz --inputs inputs.npy --prefix encoder.lstm --at every --out results/encoder
    """
    given = {name: value for name, value in locals().items() if name != "ctx"}
    from gradlab.cli.probing import probe_flags

    probe_flags(given, command_line(ctx))
