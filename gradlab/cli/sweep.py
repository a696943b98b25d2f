"""``gradlab sweep``: a sweep from flags, without a spec file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from gradlab.cli import complete
from gradlab.cli.group import command_line
from gradlab.cli.options import (
    AcceptOlderCode,
    Json,
    LogFile,
    Memory,
    NoFigures,
    Prune,
    Quiet,
    Scheduler,
    Settings,
    Workers,
)

NETWORK, TASK, RUN = "Network", "Task and loss", "Run"

Text: TypeAlias = str | None


def _names(flag: str, catalogue: str, panel: str, text: str, default: str) -> object:
    completion = complete.entries(catalogue)
    return typer.Option(
        flag,
        metavar="NAMES",
        help=text,
        autocompletion=completion,
        rich_help_panel=panel,
        show_default=default,
    )


def _numbers(flag: str, panel: str, text: str, default: str | bool = False) -> object:
    return typer.Option(flag, metavar="NUMBERS", help=text, rich_help_panel=panel, show_default=default)


Cell = Annotated[Text, _names("--cell", "cells", NETWORK, "Cells, as in lstm:forget_bias=1.", "elman")]
Forget = Annotated[Text, _numbers("--forget-bias", NETWORK, "Added to the forget gate's bias (lstm).", "0")]
Spectrum = Annotated[
    Text, _names("--spectrum", "spectra", NETWORK, "Families of recurrent weights.", "ginibre")
]
Radius = Annotated[Text, _numbers("--radius", NETWORK, "Spectral radius of the recurrent weights.", "1")]
Norm = Annotated[Text, _numbers("--norm", NETWORK, "Their spectral norm, instead of the radius.")]
Gain = Annotated[Text, _numbers("--gain", NETWORK, "Their gain, instead of the radius.")]
Activation = Annotated[
    Text, _names("--activation", "activations", NETWORK, "Activations, as in leaky_relu:0.1.", "tanh")
]
Hidden = Annotated[Text, _numbers("--hidden", NETWORK, "Hidden units.", "64")]
Layers = Annotated[Text, _numbers("--layers", NETWORK, "Layers.", "1")]
Bidirectional = Annotated[
    bool,
    typer.Option("--bidirectional", help="Read the sequence in both directions.", rich_help_panel=NETWORK),
]
Dtype = Annotated[
    Text,
    typer.Option(metavar="NAMES", help="float64, float32.", rich_help_panel=NETWORK, show_default="float64"),
]
Task = Annotated[Text, _names("--task", "tasks", TASK, "Tasks, as in constant:0.5.", "noise")]
Length = Annotated[Text, _numbers("--length", TASK, "Time steps.", "100")]
Features = Annotated[Text, _numbers("--features", TASK, "Size of an input vector.", "8")]
Batch = Annotated[Text, _numbers("--batch", TASK, "Samples.", "32")]
Loss = Annotated[Text, _names("--loss", "losses", TASK, "Losses.", "mse")]
At = Annotated[
    Text,
    typer.Option(
        metavar="WHEN",
        help="Where the loss looks: final, every, or time steps as in 10 or 10+20.",
        rich_help_panel=TASK,
        show_default="final",
    ),
]
Clip = Annotated[Text, _names("--clip", "clips", TASK, "Clip rules, as in off,norm:1.", "off")]
Learner = Annotated[Text, _names("--learner", "learners", TASK, "Learners, as in bptt,truncated:20.", "bptt")]
Seed = Annotated[Text, _numbers("--seed", RUN, "Root seed of all random numbers.", "0")]
Replicates = Annotated[
    int | None, typer.Option(min=1, help="Copies of every case.", rich_help_panel=RUN, show_default="1")
]
Record = Annotated[
    Text,
    typer.Option(
        metavar="NAMES",
        help="What to record: gradlab list records.",
        rich_help_panel=RUN,
        show_default="the usual",
    ),
]
Where = Annotated[
    Text, typer.Option(metavar="FILTER", help="Leave out cases, as in 'radius < 1.2'.", rich_help_panel=RUN)
]
Title = Annotated[Text, typer.Option(help="Title, kept with the data.", rich_help_panel=RUN)]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="DIR", help="Where the archive goes.", show_default="results/sweep-DIGEST"
    ),
]
PrintSpec = Annotated[bool, typer.Option("--print-spec", "--dry-run", help="Print the spec and run nothing.")]


def sweep(
    ctx: typer.Context,
    cell: Cell = None,
    forget_bias: Forget = None,
    spectrum: Spectrum = None,
    radius: Radius = None,
    norm: Norm = None,
    gain: Gain = None,
    activation: Activation = None,
    hidden: Hidden = None,
    layers: Layers = None,
    bidirectional: Bidirectional = False,
    dtype: Dtype = None,
    task: Task = None,
    length: Length = None,
    features: Features = None,
    batch: Batch = None,
    loss: Loss = None,
    at: At = None,
    clip: Clip = None,
    learner: Learner = None,
    seed: Seed = None,
    replicates: Replicates = None,
    record: Record = None,
    where: Where = None,
    title: Title = None,
    out: Out = None,
    settings: Settings = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    memory: Memory = None,
    prune: Prune = False,
    accept_older_code: AcceptOlderCode = False,
    no_figures: NoFigures = False,
    quiet: Quiet = False,
    log: LogFile = None,
    as_json: Json = False,
    print_spec: PrintSpec = False,
) -> None:
    """Measure a sweep described by flags; the spec it comes to is kept beside the data.

    A list a,b,c or a range START:STOP:NUM (START:STOP:NUM:log) is an axis; a single value is none.

    For example:
      gradlab sweep --radius 0.5:1.5:21 --activation tanh,relu --length 50,200 --replicates 8
      gradlab sweep --cell lstm --forget-bias 0,1,2 --clip off,norm:1,adjoint_norm:0.1
      gradlab sweep --spectrum ginibre,orthogonal --norm 0.9,1.1 --print-spec
    """
    given = {k: v for k, v in locals().items() if k not in ("ctx", "out", "settings", "log")}
    from gradlab.cli.execution import sweep_flags

    sweep_flags(given, settings or [], out, command_line(ctx), log)
