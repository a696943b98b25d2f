"""Random streams keyed by role: repeatable for years, independent, and prefix-stable."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.core.memory import Memory
from gradlab.core.streams import CHUNK, canonical, digest, in_time, stream


def draw(random, steps):
    return random.standard_normal((steps, 2))


def test_numbers_do_not_change_between_releases():
    """RandomState's methods are frozen; a change here changes every result ever published with this seed."""
    text = b'[0,"inputs","noise",8,32,0]'
    assert digest([0, "inputs", "noise", 8, 32, 0]) == hashlib.sha256(text).hexdigest()[:32]
    numbers = stream(0, "inputs", "noise", 8, 32, 0).standard_normal(3)
    # Recorded once; what NumPy's policy (NEP 19) promises for RandomState.
    known = [-0.08936064596554939, -1.4720786959982421, 0.6885303178312059]
    np.testing.assert_allclose(numbers, known, rtol=1e-15, atol=0)


def test_canonical_text_does_not_depend_on_the_order_of_keys():
    assert (
        canonical({"b": 1, "a": [1.5, "x"]})
        == canonical({"a": [1.5, "x"], "b": 1})
        == b'{"a":[1.5,"x"],"b":1}'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


@pytest.mark.parametrize(
    "other", [(1, "inputs", 2), (0, "targets", 2), (0, "inputs", 3), (0, "inputs", "2"), (0, "inputs", 2, 0)]
)
def test_every_key_counts(other):
    one = stream(0, "inputs", 2).standard_normal(1000)
    two = stream(*other).standard_normal(1000)
    assert not np.isin(one, two).any()
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.12


@given(st.integers(0, 400), st.integers(0, 200))
def test_any_stretch_is_part_of_the_whole(start, steps):
    whole = in_time(draw, 0, 600, 0, "r", 5)
    np.testing.assert_array_equal(
        in_time(draw, start, start + steps, 0, "r", 5), whole[start : start + steps]
    )


def test_chunks_are_independent():
    whole = in_time(draw, 0, 4 * CHUNK, 0, "r", 6)
    assert np.unique(whole).size == whole.size


def test_what_is_handed_out_cannot_be_changed_for_others():
    got = in_time(draw, 0, 10, 0, "r", 7)
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1.0


def test_forgetting_chunks_changes_nothing(monkeypatch):
    from gradlab.core import streams

    first = in_time(draw, 0, 300, 0, "r", 8).copy()
    monkeypatch.setattr(streams, "_recent", Memory(1, lambda chunk: chunk))
    np.testing.assert_array_equal(in_time(draw, 0, 300, 0, "r", 8), first)


def test_threads_that_crowd_each_other_out_get_their_chunks(monkeypatch):
    from gradlab.core import streams

    monkeypatch.setattr(streams, "_recent", Memory(1, lambda chunk: chunk))

    def drawn(role):
        return [in_time(draw, start, start + 1, 0, role) for start in range(0, 100 * CHUNK, CHUNK)]

    roles = [f"thread {i}" for i in range(4)]
    alone = [drawn(role) for role in roles]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(roles)) as pool:
            np.testing.assert_array_equal(list(pool.map(drawn, roles)), alone)
    finally:
        sys.setswitchinterval(interval)
