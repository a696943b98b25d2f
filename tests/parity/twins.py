"""Every cell written again in PyTorch, one step at a time, and whole networks of them.

Nothing of the engine is used but the arrays and settings of a `Case`. Every step takes a copy of its
recurrent parameters, so that the gradient by the copy is that step's share; what leaves a layer is a copy
of its states, so that the gradient by the copy is what arrives from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # the arrays are small
F = torch.nn.functional

PHI = {
    "identity": lambda z: z,
    "tanh": torch.tanh,
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "elu": F.elu,
    "softplus": lambda z: F.softplus(z, threshold=1e9),
    "hard_tanh": F.hardtanh,
    "mod_relu": lambda z: F.softshrink(z, 0.125),
    "softsign": F.softsign,
    "gelu": F.gelu,
    "silu": F.silu,
    "sine": torch.sin,
}
PSI = {
    "identity": lambda o: o,
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "softmax": lambda o: torch.softmax(o, dim=1),
}


@dataclass
class Steps:
    """What one layer in one direction did, in its own time; a list over time steps each.

    `state`, `memory`: new state parts; `z`: blocks of pre-activations; `own`: copies of the recurrent
    parameters; `out`: copies of the states that others see; `carry`: what the memory is multiplied with;
    `into`: what the memory gets of the state's adjoint.
    """

    state: list = field(default_factory=list)
    memory: list = field(default_factory=list)
    z: list = field(default_factory=list)
    own: list = field(default_factory=list)
    out: list = field(default_factory=list)
    carry: list = field(default_factory=list)
    into: list = field(default_factory=list)


@dataclass
class Now:
    """A time step: settings, parameters, inputs, old state parts, and where to note what happens."""

    cell: object
    phi: object
    psi: object
    p: dict
    w: dict
    x: object
    h: object
    c: object
    t: int
    steps: Steps

    def drive(self):
        return self.x @ self.p["weight_ih"].T + self.p["bias_ih"]

    def recur(self, weight, h):
        return h @ weight.T + self.p["bias_hh"]

    def note(self, *z):
        for block in z:
            block.requires_grad_()  # some blocks see constants only
        self.steps.z.append(z)


def elman(now):
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    now.note(z)
    return now.phi(z), None


def lstm(now):
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    now.note(z)
    i, f, g, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f) * now.c + torch.sigmoid(i) * now.phi(g)
    now.steps.carry.append(torch.sigmoid(f).detach())
    seen = c.detach().requires_grad_()
    through = torch.sigmoid(o).detach() * now.phi(seen)
    now.steps.into.append(torch.autograd.grad(through.sum(), seen)[0])
    return torch.sigmoid(o) * now.phi(c), c


def peephole_lstm(now):
    z = now.drive() + now.recur(now.w["weight_hh"], now.h)
    i, f, g, o = z.chunk(4, dim=1)
    i, f = i + now.p["peephole_input"] * now.c, f + now.p["peephole_forget"] * now.c
    c = torch.sigmoid(f) * now.c + torch.sigmoid(i) * now.phi(g)
    o = o + now.p["peephole_output"] * c
    now.note(i, f, g, o)
    return torch.sigmoid(o) * now.phi(c), c


def gru(now):
    x_r, x_u, x_g = now.drive().chunk(3, dim=1)
    h_r, h_u, a = now.recur(now.w["weight_hh"], now.h).chunk(3, dim=1)
    z_r, z_u = x_r + h_r, x_u + h_u
    now.note(z_r, z_u, a, x_g)
    r, u = torch.sigmoid(z_r), torch.sigmoid(z_u)
    now.steps.carry.append(u.detach())
    return (1 - u) * now.phi(x_g + r * a) + u * now.h, None


def jordan(now):
    weight = now.w["weight_hh"]
    y = torch.zeros(len(now.x), weight.shape[1], dtype=torch.float64)
    if now.t > 0:
        y = now.psi(now.h @ now.p["weight_ho"].T + now.p["bias_o"])
    z = now.drive() + now.recur(weight, y)
    now.note(z)
    return now.phi(z), None


def clockwork(now):
    n, periods = now.h.shape[1], torch.tensor(now.cell.periods)
    period = periods.repeat_interleave(n // len(periods))
    mask = (period[:, None] <= period[None, :]).double()
    z = now.drive() + now.recur(now.w["weight_hh"] * mask, now.h)
    now.note(z)
    return torch.where(now.t % period == 0, now.phi(z), now.h), None


def antisymmetric(now):
    matrix = now.w["weight_hh"]
    weight = matrix - matrix.T - now.cell.diffusion * torch.eye(len(matrix), dtype=torch.float64)
    z = now.drive() + now.recur(weight, now.h)
    now.note(z)
    return now.h + now.cell.step * now.phi(z), None


def linear_diagonal(now):
    z = now.drive()
    now.note(z)
    swapped = now.h.roll(now.h.shape[1] // 2, dims=1)
    return now.w["diagonal"] * now.h + now.w["rotation"] * swapped + z, None


STEPS = {
    step.__name__: step
    for step in (elman, lstm, peephole_lstm, gru, jordan, clockwork, antisymmetric, linear_diagonal)
}
MODULES = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


class Twin:
    """A case run forward in PyTorch.

    Attributes
    ----------
    parameters : dict of tensors
        By the names of the case.
    layers : list of list of Steps
        By layer and direction.
    outputs : tensor of shape (length, batch, directions * hidden)
        The top layer's states.
    """

    def __init__(self, case, step=None, reverses=True):
        self.case, network = case, case.network
        self.step, self.reverses = step or STEPS[network.cell.name], reverses
        self.parameters = {
            name: torch.tensor(v, dtype=torch.float64, requires_grad=True)
            for name, v in case.parameters.items()
        }
        xs = list(torch.tensor(case.inputs))
        if network.embedding is not None:
            xs = [x @ self.parameters["weight_embedding"].T for x in xs]
        self.layers = []
        for layer in range(network.layers):
            self.layers.append([self._run(layer, d, xs) for d in range(network.directions)])
            outs = [self._forwards(steps.out, d) for d, steps in enumerate(self.layers[-1])]
            xs = [torch.cat(parts, dim=1) for parts in zip(*outs, strict=True)]
        self.outputs = torch.stack(xs)

    def _forwards(self, values, direction):
        return values[::-1] if direction and self.reverses else values

    def _run(self, layer, direction, xs):
        """Run one layer in one direction, `xs` in the time of the sequence."""
        network, suffix = self.case.network, f"_l{layer}" + ("_reverse" if direction else "")
        p = {k: v for k, v in self.parameters.items() if not k.endswith(("_reverse",)) and "_l" not in k}
        p |= {k.removesuffix(suffix): v for k, v in self.parameters.items() if k.endswith(suffix)}
        recurrent = ("weight_hh",) if "weight_hh" in p else ("diagonal", "rotation")
        batch, n = self.case.task.batch, network.hidden
        h = c = torch.zeros(batch, n, dtype=torch.float64)
        steps = Steps()
        for t, x in enumerate(self._forwards(xs, direction)):
            w = {name: p[name].clone() for name in recurrent}
            phi, psi = PHI[network.activation.name], PSI[network.output]
            h, new = self.step(Now(network.cell, phi, psi, p, w, x, h, c, t, steps))
            steps.own.append(tuple(w.values()))
            steps.state.append(h)
            steps.out.append(h.clone())
            if new is not None:
                c = new
                steps.memory.append(c)
        return steps

    def loss_at(self, case, i, states=None):
        """Return the loss of the `i`-th time step where a case's loss looks."""
        state = (self.outputs if states is None else states)[int(case.looks[i])]
        target = torch.tensor(case.targets[i])
        if case.task.loss == "unit":
            return (state * target).sum(dim=1).mean()
        before = state @ self.parameters["weight_ho"].T + self.parameters["bias_o"]
        if case.task.loss == "cross_entropy":  # takes the readout before its activation
            return F.cross_entropy(before, target)
        return F.mse_loss(PSI[case.network.output](before), target)

    def loss(self, case, states=None):
        """Return a case's loss; it may be another than this twin's if it has the same network and inputs."""
        return sum(self.loss_at(case, i, states) for i in range(len(case.looks)))


def gradients(loss, tensors):
    """Return the gradients of a loss as arrays, zero where it does not depend."""
    found = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
    return [
        (torch.zeros_like(v) if g is None else g).detach().numpy()
        for v, g in zip(tensors, found, strict=True)
    ]


def module_of(case):
    """Return PyTorch's own module with the arrays of a case, loaded by name, and the others' names."""
    network = case.network
    options = {"nonlinearity": network.activation.name} if network.cell.name == "elman" else {}
    features = network.embedding or case.task.features
    module = MODULES[network.cell.name](
        features, network.hidden, network.layers, bidirectional=network.bidirectional, **options
    ).double()
    own = {name: torch.tensor(case.parameters[name]) for name in module.state_dict()}
    module.load_state_dict(own)
    return module
