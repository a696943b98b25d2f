"""Conditions under which every test runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

# The same examples every time, and no judgement on how long one takes on a shared machine.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Answer Ctrl-C, here and in programs started from here, though what started this one may ignore it.

    A shell that runs something in the background, as a server of continuous integration may, does that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Run on one BLAS thread, as a worker does: their number is in the last bits of a product."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(autouse=True)
def floating_point_traps() -> Iterator[None]:
    """Raise on overflow, division by zero and invalid operations; underflow is our subject."""
    with np.errstate(all="raise", under="ignore"):
        yield
