"""Datasets as an archive has them, with plausible numbers made up in closed form."""

import numpy as np
import pytest
import xarray as xr

from gradlab.figures.selection import NOT_RUN, OVERFLOWED

TEXT = np.dtypes.StringDType()
LOG = "log10 of a norm"
ATTRS = {
    "radius": ("spectral radius", "1"),
    "length": ("sequence length", "time steps"),
    "clip": ("clipping", "1"),
    "lag": ("lag", "time steps"),
    "forget_bias": ("forget bias", "1"),
    "log10_state_gradient_norm": ("adjoint norm of the state", LOG),
    "log10_memory_gradient_norm": ("adjoint norm of the memory", LOG),
    "log10_gradient_norm": ("norm of the parameter gradient", LOG),
    "log10_clipped_gradient_norm": ("norm of the parameter gradient after clipping", LOG),
    "growth_rate": ("growth rate of the adjoint", "decades per time step"),
}
SLOPES = {"tanh": (0.93, 0.3), "relu": (0.71, 0.05), "logistic": (0.24, 0.02), "identity": (1.0, 0.0)}


def label_all(ds):
    for name, (long_name, units) in ATTRS.items():
        if name in ds.variables:
            ds[name].attrs |= {"long_name": long_name, "units": units}
    return ds


def rate(activation, radius):
    """Decades per time step: log10(factor * radius), held back above one where the units saturate."""
    factor, damping = SLOPES.get(activation, (0.9, 0.1))
    return np.log10(factor * radius) - damping * np.maximum(radius - 1.0, 0.0)


def make(
    radii=21,
    activations=("tanh", "relu", "logistic", "identity"),
    lengths=(25, 50, 100, 200),
    clips=("off", "norm(1.0)", "adjoint_norm(0.1)"),
    replicates=8,
    overflowed=True,
):
    """Dims radius, activation, length, clip, replicate, lag; NaN beyond each case's length."""
    rng = np.random.default_rng(0)
    radius = np.linspace(0.5, 1.5, radii) if radii > 1 else np.array([1.1])
    slope = np.stack([rate(name, radius) for name in activations], axis=1)[:, :, None, None, None]
    slope = slope + 0.01 * rng.standard_normal((radii, 1, 1, 1, replicates)) * (replicates > 1)
    shape = (radii, len(activations), len(lengths), len(clips), replicates)
    slope = np.broadcast_to(slope, shape)
    lag = np.arange(max(lengths))
    start = -1.5 + 0.1 * rng.standard_normal((1, 1, 1, 1, replicates))
    norm = start[..., None] + slope[..., None] * lag + 0.2 * np.exp(-lag / 5.0)
    for index, clip in enumerate(clips):
        if clip.startswith("adjoint"):
            norm[:, :, :, index] = np.minimum(norm[:, :, :, index], -1.0)
    valid = lag < np.array(lengths)[:, None]
    norm = np.where(valid[None, None, :, None, None, :], norm, np.nan)
    raw = np.nanmax(norm, axis=-1) + 0.7
    clipped = raw.copy()
    for index, clip in enumerate(clips):
        if clip.startswith("norm"):
            clipped[:, :, :, index] = np.minimum(raw[:, :, :, index], 0.0)
    status = np.ones(shape, dtype=np.int8)
    if overflowed:
        where = activations.index("relu")
        status[-3:, where, -1, :, :] = OVERFLOWED
        status[-4, where, -1, :, : replicates // 2] = OVERFLOWED
        status[0, where, 0, :, 0] = NOT_RUN
    records = {
        "log10_gradient_norm": raw,
        "log10_clipped_gradient_norm": clipped,
        "growth_rate": np.where(norm[..., -1:].size > 0, slope, np.nan),
    }
    for value in (*records.values(), norm):
        value[status == OVERFLOWED] = np.inf
        value[status == NOT_RUN] = np.nan
    dims = ("radius", "activation", "length", "clip", "replicate")
    return label_all(
        xr.Dataset(
            {
                "log10_state_gradient_norm": ((*dims, "lag"), norm),
                "log10_memory_gradient_norm": ((*dims, "lag"), norm - 0.1),
                **{name: (dims, value) for name, value in records.items()},
                "status": (dims, status),
                "case_key": (dims, np.full(shape, "k", dtype=TEXT)),
            },
            coords={
                "radius": radius,
                "activation": np.array(activations, dtype=TEXT),
                "length": np.array(lengths),
                "clip": np.array(clips, dtype=TEXT),
                "replicate": np.arange(replicates),
                "lag": lag,
            },
            attrs={"title": "Where gradients vanish and explode", "cell": "elman", "spectrum": "orthogonal"},
        )
    )


@pytest.fixture(scope="session")
def dataset():
    """The main job: 21 radii, 4 activations, 4 lengths, 3 clips, 8 replicates, 200 lags."""
    return make()


@pytest.fixture
def small():
    """The same in little, to be changed at will."""
    return make(radii=5, activations=("tanh", "relu"), lengths=(10, 20), replicates=3, overflowed=False)


@pytest.fixture
def labels_only():
    """Two axes of labels, no replicate spread."""
    ds = make(radii=1, lengths=(20,), clips=("off", "value(0.5)"), replicates=1, overflowed=False)
    return ds.isel(radius=0, length=0, drop=True)


@pytest.fixture
def zoo():
    """25 spectra and two activations: more labels than there are colours. No clip, no length."""
    ds = make(
        radii=25,
        activations=("identity", "tanh"),
        lengths=(20,),
        clips=("off",),
        replicates=2,
        overflowed=False,
    )
    names = [f"family_{i}({scale}=0.95)" for scale in ("radius", "norm") for i in range(13)][:25]
    ds = ds.isel(length=0, clip=0, drop=True).rename(radius="spectrum")
    ds = ds.assign_coords(spectrum=np.array(names, dtype=TEXT))
    ds.attrs = {"cell": "elman"}
    return ds


@pytest.fixture
def weights():
    """One linear unit's weight, one value far from the others: 1, 1.01, 0.99 and 0.01."""
    value = np.array([1.0, 1.01, 0.99, 0.01])
    lag = np.arange(1000)
    norm = (np.log10(value)[:, None] * lag)[:, None]
    data = {
        "log10_state_gradient_norm": (("weight", "replicate", "lag"), norm),
        "growth_rate": (("weight", "replicate"), np.log10(value)[:, None]),
        "status": (("weight", "replicate"), np.ones((4, 1), dtype=np.int8)),
    }
    return label_all(xr.Dataset(data, coords={"weight": value, "replicate": [0], "lag": lag}))


@pytest.fixture
def lstm():
    """Forget biases of an LSTM, with a memory adjoint and matrices for every gate."""
    ds = make(radii=3, activations=("tanh",), lengths=(60,), clips=("off",), replicates=4, overflowed=False)
    ds = ds.isel(activation=0, length=0, clip=0, drop=True)
    bias = xr.DataArray([-1.0, 0.0, 1.0, 3.0], dims="forget_bias")
    ds = (
        ds[["log10_state_gradient_norm", "growth_rate", "status"]]
        .expand_dims(forget_bias=bias.values)
        .copy(deep=True)
    )
    shift = -np.log10(1 + np.exp(-bias))
    ds["log10_memory_gradient_norm"] = ds["log10_state_gradient_norm"] + shift * ds["lag"]
    ds["growth_rate"] = ds["growth_rate"] + shift
    gates = ["input_gate", "forget_gate", "candidate", "output_gate"]
    ds = ds.assign_coords(gate=np.array(gates, dtype=TEXT))
    drawn = xr.broadcast(ds["radius"], ds["status"], ds["gate"])[0]
    ds["radius_drawn"] = drawn.transpose(*ds["status"].dims, "gate")
    ds.attrs = {"cell": "lstm"}
    return label_all(ds)
