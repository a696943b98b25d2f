"""Real-time recurrent learning against its own matrix products: `python -m tests.benchmarks.rtrl`.

The floor is `length` products ``J S`` of every sample alone, with matrices of the same sizes in place. Both
run on one BLAS thread and take turns, so that a disturbance of the machine meets both alike; times are the
processor's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from gradlab import tasks
from gradlab.learning import learners
from gradlab.learning.clipping.off import Off
from gradlab.learning.layers import Layers
from gradlab.learning.learners import Work
from gradlab.learning.online import parameter_count
from gradlab.learning.workspace import Workspace
from gradlab.measure.material import lane
from gradlab.measure.probe import Run, _drawn
from gradlab.network.settings import NetworkSettings

LENGTH, BATCH, FEATURES = 100, 4, 8


def prepared(network: NetworkSettings, at: str) -> Work:
    task = tasks.registry.build(
        {"name": "noise", "length": LENGTH, "batch": BATCH, "features": FEATURES, "at": at}, "task"
    )
    material = _drawn([Run(network, 0, 0)], task, Workspace())
    layers = Layers(
        material.networks(task),
        segment=LENGTH,
        keep_states=True,
        looks=set(),
        saturation=False,
        workspace=Workspace(),
    )
    layers.run()
    return Work(layers, lane(material, task, Off(), (Off(),)), task.length, material.keys)


def floor(network: NetworkSettings) -> Callable[[], None]:
    task = tasks.registry.build({"name": "noise", "features": FEATURES}, "task")
    states = network.hidden * len(network.cell.state_parts)
    random, size = np.random.RandomState(0), parameter_count(network, task)
    jacobian = random.standard_normal((BATCH, states, states))
    sensitivities = random.standard_normal((BATCH, states, size))
    out = np.empty_like(sensitivities)

    def products() -> None:
        for _ in range(LENGTH):
            np.matmul(jacobian, sensitivities, out=out)

    return products


def seconds(run: Callable[[], object]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description="Times of rtrl over those of its matrix products.")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    learner = learners.registry.build("rtrl")
    print(f"length {LENGTH}, batch {BATCH}, features {FEATURES}, float64, one thread")
    print("| cell | hidden | losses | rtrl ms | products ms | ratio |\n|---|--:|---|--:|--:|--:|")
    with threadpool_limits(1, user_api="blas"):
        for cell, hidden in (("elman", 16), ("elman", 32), ("elman", 64), ("lstm", 16), ("gru", 32)):
            network = NetworkSettings.build({"cell": cell, "hidden": hidden})
            for at in ("final", "every"):
                work, products = prepared(network, at), floor(network)
                learner.make(work)
                pairs = [(seconds(lambda w=work: learner.make(w)), seconds(products)) for _ in range(rounds)]
                own, least = (statistics.median(column) for column in zip(*pairs, strict=True))
                row = (
                    f"| {cell} | {hidden} | {at} | {1e3 * own:.1f} | {1e3 * least:.1f} | {own / least:.2f} |"
                )
                print(row, flush=True)


if __name__ == "__main__":
    main()
