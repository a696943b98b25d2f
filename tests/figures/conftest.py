"""The datasets that figures are drawn of."""

import numpy as np
import pytest
import xarray as xr
from datasets import TEXT, along, axes, credit_of, label_all, learners_of, make, sweep, trained

from gradlab.archive.schema import to_dataset


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
    ds.attrs = {"cell": "elman", "looks": "one"}
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
    ds.attrs = {"cell": "lstm", "looks": "one"}
    return label_all(ds)


@pytest.fixture
def cells():
    """Four cells and two activations, the first two without a memory; 100 lags."""
    slopes = along([-0.07, -0.045, -0.02, -0.03], 1, 1, 1) * np.array([1.0, 1.3])[:, None, None]
    lag = np.arange(100)
    gone = along([np.nan, np.nan, 0.0, 0.0], 1, 1, 1)
    bump = 0.3 * np.exp(-lag / 8)

    def state(noise):
        return -1.0 + 0.1 * noise + (slopes + 0.006 * noise) * lag + bump

    def memory(noise):
        return state(noise) + gone + 0.25 + 0.006 * lag

    records = {
        "log10_state_gradient_norm": (("lag",), state),
        "log10_memory_gradient_norm": (("lag",), memory),
    }
    names = ["elman", "gru", "lstm", "peephole"]
    ds = sweep(records, 8, cell=names, activation=["tanh", "relu"])
    return ds.assign_attrs(title="Cells")


@pytest.fixture
def layers():
    """Depths of one and three layers, as the runner pads them: 60 lags, layer 0 nearest the input."""
    lag, layer = np.arange(60), np.arange(3)[:, None]
    missing = np.where(layer > along([0, 2], 1, 1, 1), np.nan, 0.0)

    def state(noise):
        return -0.5 + 0.1 * noise - 0.03 * lag * (3 - layer) + missing

    records = {"log10_state_gradient_norm": (("layer", "lag"), state)}
    return sweep(records, 4, layers=[1, 3])


@pytest.fixture
def credit():
    """Five radii, 50 time steps, four replicates."""
    return credit_of(50, [0.7, 0.85, 1.0, 1.1, 1.2])


@pytest.fixture
def paths():
    """Four forget biases of a gated cell, 80 lags, eight replicates."""
    lag = np.arange(80)
    keep = np.log10(1 / (1 + np.exp(-np.array([-1.0, 0.0, 1.0, 3.0]))))

    def norms(noise):
        memory = -1.0 + 0.08 * noise + along(keep, 1, 1, 1) * lag
        rest = -2.2 + 0.08 * noise + 1.2 * (1 - np.exp(-lag / 6)) - 0.06 * lag + 0.02 * noise * np.sqrt(lag)
        rest = np.where(lag > 0, rest, -np.inf)  # the loss meets the memory first
        total = np.log10(np.sqrt(10 ** (2 * memory) + 10 ** (2 * rest)))
        return np.concatenate([memory, np.broadcast_to(rest, total.shape), total], axis=-2)

    return sweep({"log10_path_gradient_norm": (("path", "lag"), norms)}, 8, forget_bias=[-1.0, 0.0, 1.0, 3.0])


@pytest.fixture
def learners():
    """Full backpropagation, six windows of truncation and three online learners; 60 time steps."""
    return learners_of()


@pytest.fixture
def training():
    """Two clip rules, two learning rates, three replicates; 20 updates at equal ratios, 20 lags."""
    return trained()


@pytest.fixture
def norms(training):
    """A training."""
    return training


@pytest.fixture
def flow(training):
    """A training."""
    return training


@pytest.fixture
def metric(training):
    """A training."""
    return training


@pytest.fixture
def smoothness(training):
    """A training."""
    return training


@pytest.fixture
def success():
    """Trainings of three lengths."""
    return trained(clip=["off", "norm(0.5)"], length=[50, 100, 200], replicates=5)


@pytest.fixture
def landscape():
    """A valley over a plane whose corner overflows, and two descents into it."""
    first, second, updates = np.linspace(-1, 1, 9), np.linspace(0, 2, 7), np.arange(6)
    surface = (first**2 + (second[:, None] - 1) ** 2 + 1e-12)[None, None]
    surface = np.broadcast_to(surface, (2, 1, 7, 9)).copy()
    surface[..., -1, -1] = np.inf
    way = np.array([[[0.9]], [[0.5]]]) * 0.5**updates
    ends = np.full((2, 1), 1)
    arrays = {
        "surface_loss": surface,
        "log10_surface_gradient_norm": np.where(
            np.isfinite(surface), 0.5 * np.log10(np.minimum(surface, 9)), np.inf
        ),
        "descent_first": way,
        "descent_second": 1.0 - way,
        "descent_loss": 2 * way**2,
        "log10_descent_gradient_norm": np.log10(way),
        "status": ends.astype(np.int8),
        "first_overflow": -ends,
        **{key: np.full((2, 1), "k", TEXT) for key in ("settings_key", "code_key", "case_key")},
    }
    along = {"update": updates, "second": second, "first": first}
    attrs = {
        "title": "T",
        "measure": "landscape",
        "first": "weight (dimensionless)",
        "second": "bias (dimensionless)",
    }
    return to_dataset(axes(clip=["off", "norm(0.5)"]), 1, along, arrays, attrs)
