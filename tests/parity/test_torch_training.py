"""Parameters after a hundred updates are those of a PyTorch loop that is fed the same examples."""

from __future__ import annotations

import numpy as np
import pytest
from training import last_state, trainee

from gradlab.measure.training import Training, TrainingBlock
from gradlab.network.parameters import Parameters, draw_readout, named

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

UPDATES, RTOL = 100, 1e-9
OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
ADDING = {"name": "adding", "length": 30, "batch": 4}
NOISE = {"name": "noise", "length": 12, "features": 3, "outputs": 2, "batch": 4, "at": "every"}
ORDER = {"name": "temporal_order", "length": 24, "batch": 5}
RULES = {
    "norm": ({"name": "norm", "threshold": 0.05}, {"name": "sgd", "rate": 0.1}),
    "value": ({"name": "value", "threshold": 0.002}, {"name": "sgd", "rate": 0.3}),
    "adam": ("off", {"name": "adam", "rate": 0.002}),
}


class Loop:
    """The module as a user of PyTorch has it; its second bias is no parameter here."""

    def __init__(self, case):
        self.case, network, task = case, case.network, case.task
        drawn = Parameters.draw(
            network,
            features=task.features,
            length=task.length,
            seed=case.seed,
            replicate=case.replicate,
            outputs=task.n_outputs,
        )
        kind = torch.nn.RNN if network.cell.name == "elman" else torch.nn.LSTM
        self.body = kind(task.features, network.hidden, dtype=torch.float64)
        with torch.no_grad():
            for name, values in named(network, drawn).items():
                getattr(self.body, name).copy_(torch.from_numpy(values))
        self.body.bias_hh_l0.requires_grad_(False)
        readout = draw_readout(network, outputs=task.n_outputs, seed=case.seed, replicate=case.replicate)
        self.head = torch.nn.Linear(network.hidden, task.n_outputs, dtype=torch.float64)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(readout[:, :-1]))
            self.head.bias.copy_(torch.from_numpy(readout[:, -1]))
        own = [p for p in [*self.body.parameters(), *self.head.parameters()] if p.requires_grad]
        self.parameters = own
        self.optimiser = OPTIMISERS[case.optimiser.name](own, lr=case.optimiser.rate)
        self.acted = 0

    def loss(self, examples):
        inputs = torch.from_numpy(examples.inputs.transpose(0, 2, 1).copy())
        outputs = self.head(self.body(inputs)[0])
        total = 0.0
        for t in self.case.task.looks():
            target = torch.from_numpy(examples.targets[t].copy())
            if self.case.task.loss == "cross_entropy":
                each = torch.nn.functional.cross_entropy(outputs[t], target.long(), reduction="none")
            else:
                each = (outputs[t] - target.T).square().mean(dim=1)
            weight = 1.0 if examples.weight is None else torch.from_numpy(examples.weight[t].copy())
            total = total + (each * weight).mean()
        return total

    def clip(self):
        rule = self.case.clip
        gradients = [p.grad for p in self.parameters]
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))
        if rule.name == "norm" and norm > rule.threshold:  # without the 1e-6 of `clip_grad_norm_`
            self.acted += 1
            for gradient in gradients:
                gradient.mul_(rule.threshold / norm)
        elif rule.name == "value":
            self.acted += int(max(g.abs().max() for g in gradients) > rule.threshold)
            torch.nn.utils.clip_grad_value_(self.parameters, rule.threshold)

    def run(self):
        for update in range(UPDATES):
            self.optimiser.zero_grad()
            self.loss(
                self.case.task.examples("training", update, self.case.seed, self.case.replicate)
            ).backward()
            self.clip()
            self.optimiser.step()

    def blocks(self):
        own = {name: p.detach().numpy() for name, p in self.body.named_parameters()}
        affine = [own["weight_hh_l0"], own["weight_ih_l0"], own["bias_ih_l0"][:, None]]
        readout = [self.head.weight.detach().numpy(), self.head.bias.detach().numpy()[:, None]]
        return np.concatenate(affine, axis=1), np.concatenate(readout, axis=1)


@pytest.mark.parametrize("task", [ADDING, NOISE, ORDER], ids=lambda task: task["name"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_parameters_after_a_hundred_updates(cell, rule, task):
    clip, optimiser = RULES[rule]
    case = trainee(task, clip, optimiser, {"cell": cell, "hidden": 6}, seed=3)
    state = last_state(TrainingBlock((case,), Training(UPDATES, records=3, evaluate=10)), ("loss",))
    loop = Loop(case)
    before = loop.blocks()
    with np.errstate(all="ignore"):
        loop.run()
    if rule != "adam":
        assert loop.acted > UPDATES // 4, "the rule must have something to do"
    for i, (ours, theirs, first) in enumerate(
        zip((state["parameter 0"][0], state["parameter 1"][0]), loop.blocks(), before, strict=True)
    ):
        assert np.abs(theirs - first).max() > 1e-3, "something must have been learnt"
        norm = np.linalg.norm(theirs)
        assert np.linalg.norm(ours - theirs) <= RTOL * norm, i


class GoingOn(Loop):
    """A loop over consecutive pieces that goes on from the last state, detached, or from zero."""

    carries = True

    def loss(self, examples):
        part = self.case.task.parts()[0]
        length, samples = self.case.task.length, self.case.task.batch
        if not hasattr(self, "places"):
            room = len(part) - length
            self.places, self.state = [room * b // samples for b in range(samples)], None
            anew = [True] * samples
        else:
            self.places = [place + length for place in self.places]
            anew = [place + length + 1 > len(part) for place in self.places]
            self.places = [0 if again else place for place, again in zip(self.places, anew, strict=True)]
        keep = torch.tensor([0.0 if again else 1.0 for again in anew], dtype=torch.float64)[None, :, None]
        self.begun = getattr(self, "begun", 0) + sum(anew)
        rows = np.stack([part[place : place + length + 1] for place in self.places], axis=1)
        inputs = torch.from_numpy(np.eye(self.case.task.features)[rows[:-1]])
        if self.state is None or not self.carries:
            outputs, state = self.body(inputs)
        elif isinstance(self.state, tuple):
            outputs, state = self.body(inputs, tuple(part.detach() * keep for part in self.state))
        else:
            outputs, state = self.body(inputs, self.state.detach() * keep)
        self.state = state
        scores = self.head(outputs)
        targets = torch.from_numpy(rows[1:].copy())
        return torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


class FromZero(GoingOn):
    """The same pieces, each from a state of zeros."""

    carries = False


@pytest.mark.parametrize("rule", ["norm", "adam"])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_states_carried_over_are_those_of_a_loop_that_detaches_them(cell, rule, tmp_path):
    words = "a man ran a mile and a half along the long lane "
    (tmp_path / "text.txt").write_text(words * 6)
    task = {"name": "characters", "file": str(tmp_path / "text.txt"), "length": 8, "batch": 3}
    clip, optimiser = RULES[rule]
    case = trainee(task, clip, optimiser, {"cell": cell, "hidden": 6}, seed=3)
    how = Training(UPDATES // 2, records=3, evaluate=10, carry_state=True)
    state = last_state(TrainingBlock((case,), how), ("loss",))
    ours = state["parameter 0"][0], state["parameter 1"][0]
    loops = [GoingOn(case), FromZero(case)]
    for loop in loops:
        for _ in range(how.updates):
            loop.optimiser.zero_grad()
            loop.loss(None).backward()
            loop.clip()
            loop.optimiser.step()
    assert loops[0].begun > task["batch"], "some sample must have come to the end"
    for mine, theirs, other in zip(ours, *(loop.blocks() for loop in loops), strict=True):
        assert np.linalg.norm(mine - theirs) <= RTOL * np.linalg.norm(theirs)
        assert np.linalg.norm(mine - other) > 1e-4 * np.linalg.norm(theirs), "it must make a difference"
