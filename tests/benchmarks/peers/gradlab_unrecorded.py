"""gradlab on one core, training with nothing recorded: what recording costs."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.peers import gradlab_training

variants = partial(gradlab_training.variants, record=False)
