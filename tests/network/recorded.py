"""Networks of every cell for tests, and the comparison of all that is recorded of a case with an oracle."""

from __future__ import annotations

import numpy as np
import oracles
from engine import assert_norms, network, probe_case, raw_gradients

from gradlab.network.activations import registry as activations
from gradlab.network.cells import registry as cells

LOSSES = ("mse", "cross_entropy", "unit")
PLACES = ("final", "every", (0, 2, -2))
CELLS = cells.names()
ACTIVATIONS = activations.names()
#: Cells without a readout's output to feed back have a loss that looks at the state itself.
CELLS_AND_LOSSES = [
    (cell, loss) for cell in CELLS for loss in LOSSES if (cell, loss) not in {("jordan", "unit")}
]


def net(cell, activation, hidden=3, **table):
    """Return a network of about `hidden` units: as many as the cell can have."""
    if cell == "clockwork":
        cell = {"name": cell, "periods": [1, 2, 5] if hidden % 3 == 0 else [2]}
    if cell == "linear_diagonal":
        # Any radius will do without the normalisation.
        cell, hidden = {"name": cell, "normalised": False}, hidden + hidden % 2
    defaults = {"spectrum": {"name": "ginibre", "gain": 1.2}, "bias": {"name": "normal", "gain": 0.4}}
    return network(cell=cell, activation=activation, hidden=hidden, **{**defaults, **table})


def check_records(case, rtol=None):
    """Compare all that a probe records for a case, and all its parameter gradients, with the oracle."""
    expected, tight, by_parameter = oracles.expected_records(case)
    rtol = rtol or tight
    got = probe_case(case.network, case.task, seed=case.seed, replicate=case.replicate)
    for name in ("loss", "saturation"):
        np.testing.assert_allclose(got[name], expected.pop(name), rtol=rtol, atol=0, err_msg=name)
    np.testing.assert_allclose(
        got["mean_log10_sample_gradient_norm"],
        expected.pop("mean_log10_sample_gradient_norm"),
        rtol=0,
        atol=rtol,  # of a logarithm: the relative tolerance of the norm
    )
    logs = expected.pop("std_log10_sample_gradient_norm")
    # A spread of logarithms that each bear an error of `rtol` cannot be known better than `rtol`.
    np.testing.assert_allclose(got["std_log10_sample_gradient_norm"], spread(logs), rtol=rtol, atol=rtol)
    for name, norms in expected.items():
        assert_norms(got[name], norms, rtol, name)
    check_gradients(case, by_parameter, rtol)


def spread(logs):
    """Return the standard deviation over samples: 0 where all are dead (-inf), inf where only some are."""
    dead = np.isneginf(logs)
    some, every = dead.any(axis=1), dead.all(axis=1)
    return np.where(every, 0.0, np.where(some, np.inf, np.where(dead, 0.0, logs).std(axis=1)))


def check_gradients(case, by_parameter, rtol):
    """Compare gradients entry by entry: the tolerance is relative to the largest entry of a parameter."""
    got = raw_gradients(case)
    expected = {oracles.NAMES[mine]: gradient for mine, gradient in by_parameter.items()}
    assert got.keys() == expected.keys()
    for name, gradient in got.items():
        wanted = expected[name].reshape(gradient.shape)
        # Entries that cancel cannot be better than the terms they are made of, hence the largest entry.
        scale = np.abs(wanted).max(initial=0.0)
        np.testing.assert_allclose(gradient, wanted, rtol=rtol, atol=rtol * scale, err_msg=name)
