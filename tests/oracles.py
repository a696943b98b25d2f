"""Independent, naive implementations of the equations: slow, plain, and written without the package.

One function, `simulate`, runs a network step by step on any array module. With NumPy and complex numbers
it gives complex-step derivatives; with ``autograd.numpy`` it is differentiated in reverse mode. Every
quantity whose gradient is wanted gets a *nudge*: a zero added to it at one time step, so that the
derivative by the nudge is the total derivative by the quantity.

Shapes: states (..., hidden, batch), weights (..., rows, columns); leading axes are perturbations.
"""

from __future__ import annotations

import dataclasses

import autograd
import autograd.numpy as anp
import autograd.scipy.special as asp
import numpy as np
import scipy.special

STEP = 1e-40  # of the complex step: no subtraction takes part, so it may be this small


def _logistic(xp, z):
    return 1.0 / (1.0 + xp.exp(-z))


def _erf(xp, z):
    return asp.erf(z) if xp is anp else scipy.special.erf(z)


#: By name: the textbook formula, and whether it may be given complex numbers.
ACTIVATIONS = {
    "identity": (lambda xp, z: z, True),
    "tanh": (lambda xp, z: xp.tanh(z), True),
    "logistic": (_logistic, True),
    "softplus": (lambda xp, z: xp.log(1.0 + xp.exp(z)), True),
    "silu": (lambda xp, z: z * _logistic(xp, z), True),
    "gelu": (lambda xp, z: 0.5 * z * (1.0 + _erf(xp, z * 0.5**0.5)), True),
    "sine": (lambda xp, z: xp.sin(z), True),
    "relu": (lambda xp, z: xp.where(z > 0, z, 0.0 * z), False),
    "leaky_relu": (lambda xp, z: xp.where(z > 0, z, 0.01 * z), False),
    "elu": (lambda xp, z: xp.where(z > 0, z, xp.exp(xp.where(z > 0, 0.0 * z, z)) - 1.0), False),
    "hard_tanh": (lambda xp, z: xp.where(z > 1, 1.0 + 0.0 * z, xp.where(z < -1, -1.0 + 0.0 * z, z)), False),
    "mod_relu": (
        lambda xp, z: xp.where(z > 0.125, z - 0.125, xp.where(z < -0.125, z + 0.125, 0.0 * z)),
        False,
    ),
    "softsign": (lambda xp, z: z / (1.0 + xp.abs(z)), False),
}


#: By name: the readout's activation; outputs stand on the last axis but one.
OUTPUTS = {
    "identity": lambda xp, o: o,
    "logistic": _logistic,
    "relu": lambda xp, o: xp.where(o > 0, o, 0.0 * o),
    "softmax": lambda xp, o: xp.exp(o) / xp.exp(o).sum(axis=-2)[..., None, :],
}


# A step of a cell. `p`: parameters; `past`: what is fed back (the old state, or the old output); `old`: the
# old state; `memory`; `x`: inputs; `nudge`: the zero added to each pre-activation, all blocks below each
# other; `dc`: the one added to the memory; `t`; `given`: the cell's settings. Returns the new state, the new
# memory, and the argument of every activation with that activation's name ("own" is the network's).


def _blocks(array, count):
    n = array.shape[-2] // count
    return [array[..., k * n : (k + 1) * n, :] for k in range(count)]


def _elman(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    z = xp.matmul(p["W"], past) + xp.matmul(p["U"], x) + p["b"] + nudge
    return phi(z), None, [("own", z)]


def _lstm(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    i, f, g, o = _blocks(xp.matmul(p["W"], past) + xp.matmul(p["U"], x) + p["b"] + nudge, 4)
    memory = _logistic(xp, f) * memory + _logistic(xp, i) * phi(g) + dc
    met = [("logistic", i), ("logistic", f), ("own", g), ("logistic", o)]
    return _logistic(xp, o) * phi(memory), memory, met


def _peephole_lstm(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    i, f, g, o = _blocks(xp.matmul(p["W"], past) + xp.matmul(p["U"], x) + p["b"] + nudge, 4)
    i, f = i + p["peephole_input"] * memory, f + p["peephole_forget"] * memory
    memory = _logistic(xp, f) * memory + _logistic(xp, i) * phi(g) + dc
    o = o + p["peephole_output"] * memory
    met = [("logistic", i), ("logistic", f), ("own", g), ("logistic", o)]
    return _logistic(xp, o) * phi(memory), memory, met


def _gru(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    """PyTorch's formula: ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``, ``h = (1 - u) n + u h``."""
    W_r, W_u, W_n = _blocks(p["W"], 3)
    U_r, U_u, U_n = _blocks(p["U"], 3)
    b_r, b_u, b_n = _blocks(p["b"], 3)
    nudge_r, nudge_u, nudge_hn, nudge_in = _blocks(nudge, 4)
    z_r = xp.matmul(W_r, past) + xp.matmul(U_r, x) + b_r + nudge_r
    z_u = xp.matmul(W_u, past) + xp.matmul(U_u, x) + b_u + nudge_u
    r, u = _logistic(xp, z_r), _logistic(xp, z_u)
    z_n = xp.matmul(U_n, x) + b_n + nudge_in + r * (xp.matmul(W_n, past) + p["bh"] + nudge_hn)
    return (1 - u) * phi(z_n) + u * old, None, [("logistic", z_r), ("logistic", z_u), ("own", z_n)]


def _clockwork(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    periods, n = given["periods"], old.shape[-2]
    period = np.repeat(periods, n // len(periods))
    sees = period[:, None] <= period[None, :]  # a unit sees units that are as slow or slower
    z = xp.matmul(p["W"] * sees, past) + xp.matmul(p["U"], x) + p["b"] + nudge
    active = (t % period == 0)[:, None]
    return xp.where(active, phi(z), old), None, [("own", z[..., active[:, 0], :])]


def _antisymmetric(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    A = p["W"]
    W = A - xp.swapaxes(A, -1, -2) - given["diffusion"] * np.eye(A.shape[-1])
    z = xp.matmul(W, past) + xp.matmul(p["U"], x) + p["b"] + nudge
    return old + given["step"] * phi(z), None, [("own", z)]


def _linear_diagonal(xp, phi, p, past, old, memory, x, nudge, dc, t, given):
    """As a matrix: the diagonal, and the rotation between the two halves."""
    n = old.shape[-2]
    exchange = np.roll(np.eye(n), n // 2, axis=0)
    z = xp.matmul(p["U"], x) + p["b"] + nudge
    return xp.matmul(p["diagonal"] * np.eye(n) + p["rotation"] * exchange, past) + z, None, [("identity", z)]


#: By name: the step; how many blocks of units its pre-activations have; whether it has a memory.
STEPS = {
    "elman": (_elman, 1, False),
    "jordan": (_elman, 1, False),
    "lstm": (_lstm, 4, True),
    "peephole_lstm": (_peephole_lstm, 4, True),
    "gru": (_gru, 4, False),
    "clockwork": (_clockwork, 1, False),
    "antisymmetric": (_antisymmetric, 1, False),
    "linear_diagonal": (_linear_diagonal, 1, False),
}
DIAGONALS = ("peephole_input", "peephole_forget", "peephole_output", "diagonal", "rotation")
#: What a case calls the parameters that have other names here.
NAMES = {
    "W": "weight_hh_l0",
    "U": "weight_ih_l0",
    "b": "bias_ih_l0",
    "bh": "bias_hh_l0",
    "V": "weight_ho",
    "bo": "bias_o",
    **{name: f"{name}_l0" for name in DIAGONALS},
}
FED_BACK = {"jordan"}  # sees the last output instead of the last state
RECURRENT = {"gru": 3, "linear_diagonal": 0}  # blocks with recurrent weights, where not all have them


def _mse(xp, output, target):
    return ((output - target) ** 2).mean(axis=(-2, -1))


def _cross_entropy(xp, output, target):
    """`target` is one-hot here."""
    return (xp.log(xp.exp(output).sum(axis=-2)) - (output * target).sum(axis=-2)).mean(axis=-1)


def _unit(xp, output, target):
    return (output * target).sum(axis=-2).mean(axis=-1)


LOSSES = {"mse": _mse, "cross_entropy": _cross_entropy, "unit": _unit}


def simulate(xp, problem, parameters, nudges):
    """Return the loss, what was fed back before each time step, and the arguments of the activations.

    `parameters`: W (rows, fed back), U (rows, features), b (rows, 1), elementwise ones (hidden, 1) and, where
    there is a readout, V and bo. `nudges`: z, h and (with memory) c, each (time, ..., units, batch).
    """
    step = STEPS[problem["cell"]][0]
    phi = lambda z: ACTIVATIONS[problem["activation"]][0](xp, z)  # noqa: E731
    p, length, batch = parameters, len(problem["inputs"]), problem["inputs"].shape[-1]
    state = memory = np.zeros((problem["hidden"], batch))
    back = problem["cell"] in FED_BACK
    past = np.zeros((p["V"].shape[-2], batch)) if back else state
    total, fed_back, met = 0.0, [], []
    for t in range(length):
        fed_back.append(past)
        dc = nudges["c"][t] if "c" in nudges else 0.0
        x, dz, given = problem["inputs"][t], nudges["z"][t], problem["settings"]
        state, memory, arguments = step(xp, phi, p, past, state, memory, x, dz, dc, t, given)
        state = state + nudges["h"][t]
        met.append(arguments)
        before = xp.matmul(p["V"], state) + p["bo"] if "V" in p else None
        past = OUTPUTS[problem["output"]](xp, before) if back else state
        if t in problem["targets"]:
            total = total + _loss(xp, problem, state, before, problem["targets"][t])
    return total, fed_back, met


def _loss(xp, problem, state, before, target):
    """The loss of one time step; a cross entropy looks at the readout's sums, which it normalises itself."""
    if problem["loss"] == "unit":
        return _unit(xp, state, target)
    if problem["loss"] == "cross_entropy":
        return _cross_entropy(xp, before, target)
    return _mse(xp, OUTPUTS[problem["output"]](xp, before), target)


def problem_of(case):
    """Return a drawn case as this module's problem, and its parameters."""
    inputs = case.inputs.transpose(0, 2, 1).astype(np.float64)
    if case.task.loss == "cross_entropy":
        rows = np.eye(case.task.n_outputs)
        targets = {int(t): rows[y].T for t, y in zip(case.looks, case.targets, strict=True)}
    else:
        targets = {int(t): y.T.astype(np.float64) for t, y in zip(case.looks, case.targets, strict=True)}
    problem = {
        "cell": case.network.cell.name,
        "settings": dataclasses.asdict(case.network.cell),
        "hidden": case.network.hidden,
        "activation": case.network.activation.name,
        "output": getattr(case.network, "output", "identity"),
        "loss": case.task.loss,
        "inputs": inputs[: max(targets) + 1],
        "targets": targets,
    }
    parameters = {
        mine: case.parameters[theirs].astype(np.float64)
        for mine, theirs in NAMES.items()
        if mine != "bh" and theirs in case.parameters
    }
    if problem["cell"] == "gru":
        reset, update, own = np.split(case.parameters["bias_hh_l0"].astype(np.float64), 3)
        assert not reset.any(), "one bias a gate"
        assert not update.any(), "one bias a gate"
        parameters["bh"] = own
    for column in {"b", "bh", "bo", *DIAGONALS} & set(parameters):
        parameters[column] = parameters[column][:, None]
    return problem, parameters


def _zero_nudges(problem, parameters):
    length, _, batch = problem["inputs"].shape
    _, blocks, memory = STEPS[problem["cell"]]
    hidden = problem["hidden"]
    nudges = {"z": np.zeros((length, blocks * hidden, batch)), "h": np.zeros((length, hidden, batch))}
    if memory:
        nudges["c"] = np.zeros((length, hidden, batch))
    return nudges


def complex_step(problem, parameters):
    """Return (loss, gradients by parameter, gradients by nudge) from one complex forward pass a scalar."""
    nudges = _zero_nudges(problem, parameters)
    arrays = {("p", k): v for k, v in parameters.items()} | {("n", k): v for k, v in nudges.items()}
    count = sum(v.size for v in arrays.values())
    first, bumped = 0, {}
    for key, value in arrays.items():
        bump = np.zeros((count, value.size), dtype=complex)
        bump[first + np.arange(value.size), np.arange(value.size)] = 1j * STEP
        bumped[key] = value + bump.reshape(count, *value.shape)
        first += value.size
    given = {k: v for (kind, k), v in bumped.items() if kind == "p"}
    moved = {k: np.moveaxis(v, 1, 0) for (kind, k), v in bumped.items() if kind == "n"}
    loss, _, _ = simulate(np, problem, given, moved)
    slopes, first, out = loss.imag / STEP, 0, {"p": {}, "n": {}}
    for (kind, name), value in arrays.items():
        out[kind][name] = slopes[first : first + value.size].reshape(value.shape)
        first += value.size
    return float(loss.real[0]), out["p"], out["n"]


def reverse_mode(problem, parameters):
    """Return the same as `complex_step` from the reverse mode of HIPS autograd."""
    nudges = _zero_nudges(problem, parameters)
    loss = autograd.value_and_grad(lambda both: simulate(anp, problem, *both)[0])
    value, (by_parameter, by_nudge) = loss((parameters, nudges))
    return float(value), by_parameter, by_nudge


def derivatives(problem, parameters):
    """Return (loss, by parameter, by nudge, relative tolerance) from the best oracle for the activation."""
    if ACTIVATIONS[problem["activation"]][1] and problem["output"] != "relu":
        return *complex_step(problem, parameters), 1e-12
    return *reverse_mode(problem, parameters), 1e-11


def mean_slope(problem, arguments):
    """Return the mean over all pre-activations of the derivative of the activation that each meets.

    1 where none meets any.
    """
    slopes = []
    for name, z in arguments:
        phi = ACTIVATIONS[problem["activation"] if name == "own" else name][0]
        slopes.append(autograd.elementwise_grad(lambda x, phi=phi: phi(anp, x))(z).reshape(-1))
    together = np.concatenate(slopes)
    return together.mean() if together.size else 1.0


def _weight_share(problem, dz, past):
    """Return the gradient of one time step by the recurrent weights, as the parameters they are.

    Those of the linear diagonal are two numbers a unit: its row of ``dz h^T`` has them where the unit itself
    and its partner stand.
    """
    cell, blocks = problem["cell"], STEPS[problem["cell"]][1]
    if cell == "linear_diagonal":
        share = dz @ past.T
        return np.stack([np.diagonal(share), np.diagonal(np.roll(share, len(dz) // 2, axis=1))])
    share = dz[: len(dz) // blocks * RECURRENT.get(cell, blocks)] @ past.T
    if cell == "antisymmetric":
        return share - share.T
    if cell == "clockwork":
        period = np.repeat(problem["settings"]["periods"], len(dz) // len(problem["settings"]["periods"]))
        return share * (period[:, None] <= period[None, :])
    return share


def expected_records(case):
    """Return what a probe must record for a case that is not clipped, as plain numbers (not log10).

    The second value is the relative tolerance, the third the gradients by parameter.
    """
    problem, parameters = problem_of(case)
    loss, by_parameter, by_nudge, rtol = derivatives(problem, parameters)
    _, fed_back, met = simulate(np, problem, parameters, _zero_nudges(problem, parameters))
    batch = problem["inputs"].shape[-1]
    back = slice(None, None, -1)  # lag 0 is the last time step where the loss looks

    def norms(name):
        return np.sqrt((by_nudge[name] ** 2).sum(axis=(1, 2)))[back]

    sample = batch * np.sqrt((by_nudge["h"] ** 2).sum(axis=1))[back]
    with np.errstate(divide="ignore"):
        logs = np.log10(sample)
    pairs = zip(by_nudge["z"], fed_back, strict=True)
    share = [np.sqrt((_weight_share(problem, dz, past) ** 2).sum()) for dz, past in pairs]
    records = {
        "loss": loss,
        "log10_state_gradient_norm": norms("h"),
        "log10_preactivation_gradient_norm": norms("z"),
        "log10_weight_gradient_norm": np.array(share)[back],
        "saturation": np.array([mean_slope(problem, arguments) for arguments in met])[back],
        "log10_gradient_norm": np.sqrt(sum((g**2).sum() for g in by_parameter.values())),
        "mean_log10_sample_gradient_norm": logs.mean(axis=1),
        "std_log10_sample_gradient_norm": logs,
    }
    if "c" in by_nudge:
        records["log10_memory_gradient_norm"] = norms("c")
    return records, rtol, by_parameter
