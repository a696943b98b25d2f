"""Places of a record whose last part is held out."""

from __future__ import annotations

import numpy as np
import pytest

from gradlab.tasks._examples import CHUNK
from gradlab.tasks._tail import starts


@pytest.mark.parametrize("samples", [100, 150, 200, 215, 250])
def test_pieces_of_an_evaluation_set_follow_each_other(samples):
    """No place twice before all have been judged once."""
    judged = [
        starts(7, 221, (0, 0), "evaluation", number, min(CHUNK, samples - first))
        for number, first in enumerate(range(0, samples, CHUNK))
    ]
    places = np.concatenate(judged)
    assert len(places) == samples
    assert len(np.unique(places)) == min(samples, 215)
    assert places.min() >= 7
    assert places.max() <= 221
