"""Datasets such as runs make, with numbers of our own."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from gradlab.archive.schema import to_dataset
from gradlab.archive.variables import VARIABLES
from gradlab.figures.selection import DIVERGED, NOT_RUN, OVERFLOWED

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
    **{
        name: (VARIABLES[name].long_name, VARIABLES[name].units)
        for name in (
            "log10_path_gradient_norm",
            "log10_credit_norm",
            "log10_online_gradient_norm",
            "cosine_to_bptt",
        )
    },
    "loss_time": ("time step of the loss", "time steps"),
    "time": ("time step", "time steps"),
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
            attrs={
                "title": "Where gradients vanish and explode",
                "cell": "elman",
                "spectrum": "orthogonal",
                "looks": "one",
            },
        )
    )


def sweep(records, replicates, **axes):
    """A dataset of these axes: each record is its own dims and a function of (axes..., replicate) noise."""
    noise = np.random.default_rng(1).standard_normal((*map(len, axes.values()), replicates))
    noise = noise if replicates > 1 else np.zeros_like(noise)
    dims = (*axes, "replicate")
    data, own = {"status": (dims, np.ones(noise.shape, dtype=np.int8))}, {}
    for name, (over, value) in records.items():
        value = value(noise.reshape(*noise.shape, *[1] * len(over)))
        data[name] = (
            (*dims, *over),
            np.broadcast_to(value, (*noise.shape, *value.shape[noise.ndim :])).copy(),
        )
        own |= {dim: np.arange(size) for dim, size in zip(over, value.shape[noise.ndim :], strict=True)}
    own |= {"path": np.array(["memory", "rest", "total"], dtype=TEXT)} if "path" in own else {}
    own |= {"direction": np.array(["forward", "reverse"], dtype=TEXT)} if "direction" in own else {}
    labels = {axis: np.array(v, dtype=TEXT if isinstance(v[0], str) else None) for axis, v in axes.items()}
    return label_all(xr.Dataset(data, {**labels, "replicate": np.arange(replicates), **own}))


def along(values, *shape):
    """Values along the first axis of a sweep, with room for everything behind it."""
    return np.reshape(values, (-1, *shape))


def credit_of(length, radii, times=None, replicates=4):
    """Losses at every time step; early time steps are hard, and later losses weigh more."""
    times = times or length
    loss, lag = np.arange(times)[:, None], np.arange(times)
    slope = along(np.log10(radii), 1, 1, 1)
    valid = (lag <= loss) & (loss < length)

    def norm(noise):
        value = (
            -0.5 + (slope + 0.003 * noise) * lag + 0.3 * np.sin(loss / 6.0) - 0.5 * np.cos((loss - lag) / 9.0)
        )
        return np.where(valid, value, np.nan)

    return sweep({"log10_credit_norm": (("loss_time", "lag"), norm)}, replicates, radius=radii)


LEARNERS = ("bptt", *(f"truncated({k})" for k in (1, 2, 5, 10, 20, 50)), "rtrl", "uoro", "snap1")


def learners_of(labels=LEARNERS, replicates=8, online=True):
    """Truncated gradients near full backpropagation's as windows grow; uoro is noisy, rtrl exact."""
    windows = [float(label[10:-1]) if label.startswith("trunc") else np.nan for label in labels]
    error = np.array(
        [
            {"bptt": 0.0, "rtrl": 0.0, "uoro": 1.6, "snap1": 0.5}.get(label, np.exp(-np.nan_to_num(k) / 12))
            for label, k in zip(labels, windows, strict=True)
        ]
    )
    error = along(error, 1)
    time = np.arange(60)
    makes = along([0.0 if label in ("rtrl", "uoro", "snap1") else np.nan for label in labels], 1, 1)

    def norm(noise):
        return 0.3 + 0.05 * noise[:1] + error * (0.08 * noise + np.where(error > 1, 0.25, -0.4))

    def cosine(noise):
        return 1.0 - 0.4 * error * (1 + 0.2 * np.tanh(noise))

    def made(noise):
        return (
            -1.5
            + makes
            + 0.8 * (1 - np.exp(-time / 15))
            + 0.1 * noise
            + 0.3 * error[..., None] * np.sin(time)
        )

    records = {"log10_gradient_norm": ((), norm), "cosine_to_bptt": ((), cosine)}
    records |= {"log10_online_gradient_norm": (("time",), made)} if online else {}
    return sweep(records, replicates, learner=list(labels))


@dataclass(frozen=True)
class Axis:
    """An axis of a sweep, as the schema wants it."""

    name: str
    keys: tuple[str, ...]
    coordinates: dict


def axes(**values):
    """Axes by name; labels are text."""
    keys = {"clip": "clip", "threshold": "clip.threshold", "length": "task.length"}
    return [
        Axis(
            name,
            (keys.get(name, f"training.optimiser.{name}"),),
            {name: np.array(v, TEXT if isinstance(v[0], str) else None)},
        )
        for name, v in values.items()
    ]


def recorded(updates, records):
    """Recorded updates at about equal ratios, as the engine has them."""
    return np.unique(np.round(np.geomspace(1, updates, records)).astype(np.int64) - 1)


def trained(updates=None, lags=20, replicates=3, diverge=True, smooth=True, **over):
    """A training that learns where the gradient is clipped; the first run without clipping diverges."""
    updates = recorded(1000, 20) if updates is None else np.asarray(updates)
    over = over or {"clip": ["off", "norm(0.5)"], "rate": [0.01, 0.1]}
    shape = (*map(len, over.values()), replicates)
    noise = np.random.default_rng(3).standard_normal((*shape, len(updates)))
    clipped = np.zeros(shape)
    if "clip" in over:
        clipped += np.reshape([label != "off" for label in over["clip"]], (-1, *[1] * (len(shape) - 1)))
    done = updates / updates[-1]
    before = 0.5 * done + 0.1 * noise + 0.3 * clipped[..., None]
    after = np.where(clipped[..., None] > 0, np.minimum(before, np.log10(0.5)), before)
    lag = np.arange(lags)
    arrays = {
        "loss": 1.4 - clipped[..., None] * done + 0.05 * noise,
        "metric": 0.75 - 0.7 * clipped[..., None] * done + 0.01 * np.abs(noise),
        "log10_gradient_norm": before,
        "log10_clipped_gradient_norm": after,
        "clip_active": (after < before).astype(float),
        "clip_active_share": np.broadcast_to(clipped[..., None] * (1 - done / 2), noise.shape),
        "log10_state_gradient_norm": -1.0
        - (0.3 - 0.2 * clipped[..., None] * done)[..., None] * lag
        + 0.01 * noise[..., None],
    }
    if smooth:
        arrays["smoothness"] = 10 ** (0.5 + 0.9 * before)
    ends = {
        "chance": np.full(shape, np.log(4.0)),
        "solved_at": np.where(clipped > 0, 500, -1),
        "diverged_at": np.full(shape, -1),
        "first_overflow": np.full(shape, -1),
        "status": np.ones(shape, np.int8),
        **{key: np.full(shape, "k", TEXT) for key in ("settings_key", "code_key", "case_key")},
    }
    if diverge:
        run, at = (0,) * len(shape), len(updates) // 2
        ends["status"][run], ends["diverged_at"][run] = DIVERGED, updates[at]
        arrays = {name: values.copy() for name, values in arrays.items()}
        for values in arrays.values():
            values[run][at], values[run][at + 1 :] = np.inf, np.nan
    ends["final_metric"] = np.where(ends["status"] == DIVERGED, np.inf, arrays["metric"][..., -1])
    attrs = {
        "title": "T",
        "measure": "train",
        "task": "temporal_order",
        "metric": "error_rate",
        "criterion": "few wrong",
    }
    return to_dataset(axes(**over), replicates, {"update": updates, "lag": lag}, arrays | ends, attrs)
