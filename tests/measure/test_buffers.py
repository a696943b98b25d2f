"""The model of buffers, from which stretches and tiles are chosen, against what is really taken."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from engine import OFF, block, clip, network, task

from gradlab.core import scratch
from gradlab.measure.probe import buffer_bytes, probe
from gradlab.measure.records import ORDINARY

CREDIT, PATH = ("log10_credit_norm",), ("log10_path_gradient_norm",)
BOUND = 256 << 20


@pytest.mark.parametrize(
    ("table", "cases", "at", "record"),
    [
        ({}, 1, "final", ORDINARY),
        ({"cell": "elman"}, 3, "every", ORDINARY),
        ({"cell": "lstm"}, 1, "final", ORDINARY),
        ({"cell": "gru"}, 2, "final", ORDINARY),
        ({"cell": "peephole_lstm"}, 1, "final", ORDINARY),
        ({"cell": "linear_diagonal"}, 1, "final", ORDINARY),
        ({"cell": "jordan"}, 1, "every", ORDINARY),
        ({"cell": "lstm", "layers": 3}, 2, "final", ORDINARY),
        ({"cell": "lstm", "layers": 3}, 1, "every", ORDINARY),
        ({"cell": "gru", "layers": 2, "bidirectional": True}, 2, "every", ORDINARY),
        ({"cell": "elman"}, 1, "every", CREDIT),
        ({"cell": "lstm", "layers": 2}, 2, "every", CREDIT),
        ({"cell": "lstm"}, 2, "final", PATH),
        ({"embedding": 8}, 1, "final", ORDINARY),
    ],
    ids=str,
)
def test_the_model_covers_what_is_taken(table, cases, at, record):
    spectra = [{"name": "ginibre", "radius": r} for r in np.linspace(0.5, 0.9, cases)]
    nets = [network(**{"hidden": 32, **table, "spectrum": s}) for s in spectra]
    work = task(length=200, batch=16, at=at)
    whole = block(nets, [(work, OFF), (work, clip("adjoint_value", threshold=0.1))])
    probe(block([network(hidden=2)], [(task(length=2), OFF)]))  # what is loaded once
    scratch._buffers.by_name.clear()
    tracemalloc.start()
    try:
        probe(whole, record, BOUND)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    model = buffer_bytes(whole, record, BOUND)
    assert taken <= 1.1 * model + (1 << 20)
    assert model <= 2.5 * taken  # nor so careful that work which fits is refused
