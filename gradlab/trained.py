"""A network that the user trained elsewhere: its weights and inputs in, the same dataset as a run out.

Its archive is one like any other. In place of a spec that could be run it keeps, under the same
headings, what the network and the inputs are, where they were read from, and the SHA-256 of each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.archive.of_file import attributes_of, settings_key
from gradlab.core.checks import checked_path, integer, text
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from gradlab.measure.arrays import Prepared
    from gradlab.measure.inputs import Given, Source
    from gradlab.network.weights import Weights

MOST_MATRICES = 5


@dataclass(frozen=True, eq=False)
class Trained:
    """What is to be measured, read and checked.

    Parameters
    ----------
    weights : Weights
        The network.
    inputs, targets : Given, Given or None
        As they were given.
    prepared : Prepared
        The network with its inputs and targets.
    record : tuple of str
        What is recorded.
    table : dict
        All settings, as the archive keeps them.
    """

    weights: Weights
    inputs: Given
    targets: Given | None
    prepared: Prepared
    record: tuple[str, ...]
    table: dict[str, Any]

    @property
    def key(self) -> str:
        """Content key: a digest of all that determines the numbers; not of where the files lie."""
        return settings_key(self.table)

    @property
    def along(self) -> dict[str, Sequence[Any]]:
        """The labels of every dimension that a record may run along."""
        from gradlab.learning.taps import PATHS

        task, sizes, cell = self.prepared.task, self.prepared.sizes, self.prepared.cell
        steps = range(task.length)
        lags = steps if sizes.bidirectional else range(task.lags)  # a reverse direction ends at the last
        along: dict[str, Sequence[Any]] = {"path": PATHS, "loss_time": steps, "time": steps, "lag": lags}
        if sizes.layers > 1:
            along["layer"] = range(sizes.layers)
        if sizes.bidirectional:
            along["direction"] = ("forward", "reverse")
        if len(cell.recurrent_blocks) > 1:
            along["gate"] = cell.recurrent_blocks
        return along

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the dataset, as those of a run."""
        return attributes_of(self.table)

    def measure(self) -> dict[str, NDArray[Any]]:
        """Return the records of the only case, with the dimensions that `along` has."""
        from gradlab.measure.records import RECORDS

        along, found = self.along, self.prepared.measure(self.record)
        shapes = {name: [len(along[d]) for d in RECORDS.get(name, ()) if d in along] for name in found}
        # What `along` does not have is of size one: a single layer, direction, row block; or of none,
        # where no row block has recurrent weights.
        return {
            name: values.reshape(shapes[name]) if values.size else np.full(shapes[name], np.nan)
            for name, values in found.items()
        }


def probe(
    weights: str | os.PathLike[str] | Mapping[str, ArrayLike],
    inputs: Source,
    targets: Source | None = None,
    *,
    loss: str | None = None,
    at: str | Collection[int] = "final",
    clip: str | Mapping[str, Any] = "off",
    record: Collection[str] | None = None,
    cell: str | Mapping[str, Any] | None = None,
    activation: str | Mapping[str, Any] = "tanh",
    prefix: str | None = None,
    readout: str = "auto",
    seed: int = 0,
    title: str | None = None,
    out: str | Path | None = None,
) -> xr.Dataset:
    """Measure a network that was trained elsewhere.

    Parameters
    ----------
    weights : path or mapping of arrays
        A .safetensors or .npz file with the names of ``torch.nn.RNN``, ``LSTM`` or ``GRU``, or what such
        a file would hold, as a ``state_dict``.
    inputs : path or array_like
        A .npy file or an array, of shape (length, features) or (length, batch, features); or a .csv
        file, a line a time step.
    targets : path or array_like, optional
        One for each time step where the loss looks: (looks, batch, outputs), or (looks, batch)
        classes; dimensions of size one may be left out.
    loss : str, optional
        By default "mse" with targets, and "unit" without: random unit vectors are sent back
        through the network alone.
    at, clip, activation : str or table
        As in a spec. The activation is that of the states: "relu" for ``nonlinearity="relu"``.
    record : collection of str, optional
        What to record; by default what a run records.
    cell, prefix, readout
        As for `gradlab.network.weights.read_weights`, where they are not to be found automatically.
    seed : int
        Of the random unit vectors.
    title : str, optional
        Heading of figures; by default the name of the file.
    out : path, optional
        Directory of an archive to write; without it the data are held in memory.

    Returns
    -------
    xarray.Dataset
        As that of a run with a single case. Where PyTorch adds two biases to the same pre-activation
        they are one parameter here, whose gradient counts once in a norm.

    Raises
    ------
    UserMistake
        With every problem of the files or the settings.
    """
    trained = read(
        weights, inputs, targets, loss=loss, at=at, clip=clip, record=record, cell=cell,
        activation=activation, prefix=prefix, readout=readout, seed=seed, title=title,
    )  # fmt: skip
    return dataset(trained) if out is None else archive(trained, checked_path("out", out))[0]


def read(
    weights: str | os.PathLike[str] | Mapping[str, ArrayLike],
    inputs: Source,
    targets: Source | None,
    *,
    loss: str | None,
    at: str | Collection[int],
    clip: str | Mapping[str, Any],
    record: Collection[str] | None,
    cell: str | Mapping[str, Any] | None,
    activation: str | Mapping[str, Any],
    prefix: str | None,
    readout: str,
    seed: int,
    title: str | None,
) -> Trained:
    """Read and check what `probe` is given; see there."""
    from gradlab.core.gaps import together
    from gradlab.learning import clipping
    from gradlab.measure.arrays import check_records, looked_at, prepare
    from gradlab.measure.inputs import INPUTS, TARGETS, as_inputs, as_targets, read_numbers
    from gradlab.network import activations
    from gradlab.network.weights import read_weights
    from gradlab.tasks import losses

    loss = loss if loss is not None else ("unit" if targets is None else "mse")
    net, x, y, asked, places, the_loss, *_ = together(
        lambda: read_weights(weights, cell=cell, prefix=prefix, readout=_seen(readout, loss, cell)),
        lambda: read_numbers(inputs, "inputs", INPUTS, table=True),
        lambda: None if targets is None else read_numbers(targets, "targets", TARGETS),
        lambda: None if record is None else check_records(record),
        lambda: looked_at(at),
        lambda: losses.registry.build(loss, "loss"),
        lambda: activations.registry.build(activation, "activation"),
        lambda: clipping.registry.build(clip, "clip"),
        lambda: integer("seed", seed, at_least=0),
        lambda: None if title is None else text("title", title),
    )
    if the_loss.uses_readout and net.readout is None:
        expected = f"a linear layer with {net.hidden * (1 + net.bidirectional)} inputs, for the loss {loss!r}"
        hint = "Give its name, or take the loss 'unit', which needs none."
        raise UserMistake(Problem("readout", expected, "none", hint))
    sequence = as_inputs(x.values, net.features, net.dtype)
    looks = (len(sequence) if places == "every" else 1) if isinstance(places, str) else len(places)
    classes = the_loss.target_kind == "classes"
    prepared = prepare(
        net.parameters,
        sequence,
        None if y is None else as_targets(y.values, looks, x.values.ndim == 2, 2 if classes else 3),
        cell=net.cell, activation=activation, loss=loss, at=places, clip=clip, seed=seed,
    )  # fmt: skip
    return _described(Trained(net, x, y, prepared, _records(asked, prepared), {}), title, seed, cell)


def _seen(readout: str, loss: str, cell: str | Mapping[str, Any] | None) -> str:
    """Return which readout is read: none where neither the loss nor the cell looks at one."""
    from gradlab.network import cells
    from gradlab.network.weights import AUTO, NONE
    from gradlab.tasks import losses

    fed_back = cell is not None and cells.registry.build(cell, "cell").feeds_back == "output"
    needed = losses.registry.build(loss, "loss").uses_readout or fed_back
    return readout if needed or not isinstance(readout, str) or readout != AUTO else NONE


def _described(
    trained: Trained, title: str | None, seed: int, cell: str | Mapping[str, Any] | None
) -> Trained:
    """Return what is to be measured together with its settings."""
    name = Path(trained.weights.path).name if trained.weights.path else ""
    sections = _sections(trained.weights, trained.inputs, trained.targets, trained.prepared)
    if not isinstance(cell, Mapping):  # settings that say how to draw weights mean nothing here
        sections["network"]["cell"] = trained.weights.cell.name
    table = {"title": name if title is None else title, "question": "", "measure": "probe", "seed": int(seed)}
    return replace(trained, table={**table, "record": list(trained.record), **sections})


def _records(asked: Collection[str] | None, prepared: Prepared) -> tuple[str, ...]:
    """Return what is recorded: what was asked for, or what a run of this cell records."""
    from gradlab.measure.records import OF_LEARNER, ON_REQUEST, RECORDS

    if asked is not None:
        return tuple(name for name in RECORDS if name in asked)
    apart = set(ON_REQUEST | OF_LEARNER)
    if "memory" not in prepared.cell.state_parts:
        apart.add("log10_memory_gradient_norm")
    return tuple(name for name in RECORDS if name not in apart)


def _sections(net: Weights, x: Given, y: Given | None, prepared: Prepared) -> dict[str, Any]:
    """Return the network, the task and the clip rule under the headings of a spec."""
    from gradlab.core.registry import settings_of

    task = prepared.task
    of_weights = {**_origin(net.path, net.sha256), "prefix": net.prefix, "readout": net.readout}
    network = {
        "weights": {key: value for key, value in of_weights.items() if value is not None},
        "cell": settings_of(prepared.cell),
        "hidden": net.hidden,
        "layers": net.layers,
        "bidirectional": net.bidirectional,
        "activation": settings_of(prepared.activation),
        "dtype": net.dtype,
    }
    given = {"inputs": x, "targets": y}
    files = {key: _origin(one.path, one.sha256) for key, one in given.items() if one is not None}
    sizes = {"features": task.features, "batch": task.batch, "length": task.length}
    if task.loss_entry.uses_readout:
        sizes["outputs"] = task.n_outputs
    at = task.at if isinstance(task.at, str) else list(task.at)
    return {
        "network": network,
        "task": {**files, **sizes, "loss": task.loss, "at": at},
        "clip": settings_of(prepared.clip),
    }


def _origin(path: str | None, sha256: str) -> dict[str, str]:
    return ({} if path is None else {"file": os.path.abspath(path)}) | {"sha256": sha256}


def dataset(trained: Trained) -> xr.Dataset:
    """Measure, and return the data, held in memory."""
    from gradlab.archive.extend import keys_of
    from gradlab.archive.schema import to_dataset
    from gradlab.core.fingerprint import code_key

    arrays = {name: np.asarray(values)[None] for name, values in trained.measure().items()}
    arrays |= keys_of(np.array([trained.key]), np.array([code_key()]))
    return to_dataset((), 1, trained.along, arrays, trained.attributes)


def archive(trained: Trained, out: Path, command: Sequence[str] = ()) -> tuple[xr.Dataset, int]:
    """Measure into an archive, unless it holds the case already.

    Parameters
    ----------
    trained : Trained
        From `read`.
    out : Path
        The archive's directory.
    command : sequence of str
        The command line, for the provenance.

    Returns
    -------
    xarray.Dataset, int
        The data, lazy; and the number of cases that were measured now, 0 or 1.

    Raises
    ------
    UserMistake
        If there is something else in `out`, or the disk refuses.
    """
    from gradlab.archive.lock import writing
    from gradlab.archive.provenance import collect, command_line, write_provenance
    from gradlab.archive.reading import open_archive
    from gradlab.archive.store import ArchiveSink, check_own, sealed
    from gradlab.experiment.toml import to_toml
    from gradlab.experiment.worker import linear_algebra

    begun = time.perf_counter()
    command = list(command) or command_line()
    with writing(out, command), sealed(out):
        check_own(out, trained.key)
        sink = ArchiveSink.create_or_open(
            out,
            spec_text=None,
            spec_resolved=to_toml(trained.table),
            axes=(),
            replicates=1,
            along=trained.along,
            record=trained.record,
            tile=(1,),
            settings_keys=np.array([trained.key]),
            attrs=trained.attributes,
        )
        if done := int(not sink.finished().all()):
            records = {name: np.asarray(values)[None] for name, values in trained.measure().items()}
            sink.write(np.zeros((1, 1), dtype=np.int64), records)
        sink.close()
        run = collect(command, trained.table["seed"], linear_algebra())
        write_provenance(out, run, time.perf_counter() - begun, workers=1, cases=done)
    return open_archive(out), done


def matrices_in(table: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Read the recurrent matrices again from the file that an archive's settings name, by label.

    What multiplies the state, by the first row block of every layer and direction; `MOST_MATRICES` of
    them, evenly chosen. None of a cell without recurrent weights, or with others than square ones.

    Raises
    ------
    UserMistake
        If the file is gone, is another one now, or the weights were given as arrays.
    """
    from gradlab.core.places import evenly
    from gradlab.network.grouping import grouped
    from gradlab.network.weights import NONE, read_weights

    cell, settings = table["network"]["cell"], table["network"]["weights"]
    if (path := settings.get("file")) is None:
        got = "none: they were given as arrays"
        raise UserMistake(Problem("weights", "the file that the weights were read from", got))
    net = read_weights(path, cell=cell, prefix=settings["prefix"], readout=NONE)
    if net.sha256 != settings["sha256"]:
        raise UserMistake(Problem("weights", f"{path} as it was when it was measured", "other bytes"))
    blocks, found = net.cell.recurrent_blocks, {}
    if not blocks or net.cell.feeds_back == "output":
        return {}
    for k, layer in enumerate(grouped(net.parameters, net.cell)):
        for direction, group in zip(("forward", "reverse"), layer, strict=False):
            parts = [f"layer {k}"] if net.layers > 1 else []
            parts += [direction] if net.bidirectional else []
            parts += [blocks[0].replace("_", " ")] if len(blocks) > 1 else []
            own = group["weight_hh"][: net.hidden].astype("float64")
            found[", ".join(parts) or "recurrent weights"] = net.cell.effective(own)
    labels = list(found)
    return {labels[i]: found[labels[i]] for i in evenly(len(labels), MOST_MATRICES)}
