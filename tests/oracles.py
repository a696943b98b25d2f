"""Independent, naive implementations of the equations: slow, plain, and written without the package.

One function, `simulate`, runs a network step by step on any array module. With NumPy and complex numbers
it gives complex-step derivatives; with ``autograd.numpy`` it is differentiated in reverse mode. Every
quantity whose gradient is wanted gets a *nudge*: a zero added to it at one time step, so that the
derivative by the nudge is the total derivative by the quantity.

Shapes: states (..., hidden, batch), weights (..., rows, columns); leading axes are perturbations.
"""

from __future__ import annotations

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
    "softsign": (lambda xp, z: z / (1.0 + xp.abs(z)), False),
}


def _elman(xp, phi, z, state, nudge):
    return phi(z), None


def _lstm(xp, phi, z, memory, nudge):
    n = z.shape[-2] // 4
    i, f, g, o = (z[..., k * n : (k + 1) * n, :] for k in range(4))
    memory = _logistic(xp, f) * memory + _logistic(xp, i) * phi(g) + nudge
    return _logistic(xp, o) * phi(memory), memory


#: By name: the step from pre-activations (and memory) to the new state, and the number of row blocks.
STEPS = {"elman": (_elman, 1), "lstm": (_lstm, 4)}


def _mse(xp, output, target):
    return ((output - target) ** 2).mean(axis=(-2, -1))


def _cross_entropy(xp, output, target):
    """`target` is one-hot here."""
    return (xp.log(xp.exp(output).sum(axis=-2)) - (output * target).sum(axis=-2)).mean(axis=-1)


def _unit(xp, output, target):
    return (output * target).sum(axis=-2).mean(axis=-1)


LOSSES = {"mse": _mse, "cross_entropy": _cross_entropy, "unit": _unit}


def simulate(xp, problem, parameters, nudges):
    """Return the loss, the states before each time step, and the pre-activations.

    `parameters`: W (rows, hidden), U (rows, features), b (rows, 1) and, unless the loss is "unit", V and
    bo. `nudges`: z, h and (with memory) c, each (time, ..., units, batch).
    """
    step, _ = STEPS[problem["cell"]]
    phi = lambda z: ACTIVATIONS[problem["activation"]][0](xp, z)  # noqa: E731
    p, length = parameters, len(problem["inputs"])
    state = np.zeros((p["W"].shape[-1], problem["inputs"].shape[-1]))
    memory, total, states, all_z = state, 0.0, [], []
    for t in range(length):
        z = xp.matmul(p["W"], state) + xp.matmul(p["U"], problem["inputs"][t]) + p["b"] + nudges["z"][t]
        states.append(state)
        all_z.append(z)
        state, memory = step(xp, phi, z, memory, nudges["c"][t] if "c" in nudges else 0.0)
        state = state + nudges["h"][t]
        if t in problem["targets"]:
            output = state if problem["loss"] == "unit" else xp.matmul(p["V"], state) + p["bo"]
            total = total + LOSSES[problem["loss"]](xp, output, problem["targets"][t])
    return total, states, all_z


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
        "activation": case.network.activation.name,
        "loss": case.task.loss,
        "inputs": inputs[: max(targets) + 1],
        "targets": targets,
    }
    names = {"W": "weight_hh_l0", "U": "weight_ih_l0", "b": "bias_ih_l0", "V": "weight_ho", "bo": "bias_o"}
    parameters = {
        mine: case.parameters[theirs].astype(np.float64)
        for mine, theirs in names.items()
        if theirs in case.parameters
    }
    for column in {"b", "bo"} & set(parameters):
        parameters[column] = parameters[column][:, None]
    return problem, parameters


def _zero_nudges(problem, parameters):
    length, _, batch = problem["inputs"].shape
    rows, hidden = parameters["W"].shape
    nudges = {"z": np.zeros((length, rows, batch)), "h": np.zeros((length, hidden, batch))}
    if problem["cell"] == "lstm":
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
    if ACTIVATIONS[problem["activation"]][1]:
        return *complex_step(problem, parameters), 1e-12
    return *reverse_mode(problem, parameters), 1e-11


def mean_slope(problem, z):
    """Return the mean over all pre-activations of the derivative of the activation that each meets."""
    own, gates = problem["activation"], ["logistic", "logistic", problem["activation"], "logistic"]
    blocks = zip(
        [own] if problem["cell"] == "elman" else gates, np.split(z, STEPS[problem["cell"]][1]), strict=True
    )
    slopes = [
        autograd.elementwise_grad(lambda x, phi=ACTIVATIONS[name][0]: phi(anp, x))(block)
        for name, block in blocks
    ]
    return np.mean(slopes)


def expected_records(case):
    """Return what a probe must record for a case that is not clipped, as plain numbers (not log10).

    The second value is the relative tolerance, the third the gradients by parameter.
    """
    problem, parameters = problem_of(case)
    loss, by_parameter, by_nudge, rtol = derivatives(problem, parameters)
    _, states, all_z = simulate(np, problem, parameters, _zero_nudges(problem, parameters))
    batch = problem["inputs"].shape[-1]
    back = slice(None, None, -1)  # lag 0 is the last time step where the loss looks

    def norms(name):
        return np.sqrt((by_nudge[name] ** 2).sum(axis=(1, 2)))[back]

    sample = batch * np.sqrt((by_nudge["h"] ** 2).sum(axis=1))[back]
    with np.errstate(divide="ignore"):
        logs = np.log10(sample)
    share = [np.sqrt(((dz @ h.T) ** 2).sum()) for dz, h in zip(by_nudge["z"], states, strict=True)]
    records = {
        "loss": loss,
        "log10_state_gradient_norm": norms("h"),
        "log10_preactivation_gradient_norm": norms("z"),
        "log10_weight_gradient_norm": np.array(share)[back],
        "saturation": np.array([mean_slope(problem, z) for z in all_z])[back],
        "log10_gradient_norm": np.sqrt(sum((g**2).sum() for g in by_parameter.values())),
        "mean_log10_sample_gradient_norm": logs.mean(axis=1),
        "std_log10_sample_gradient_norm": logs,
    }
    if "c" in by_nudge:
        records["log10_memory_gradient_norm"] = norms("c")
    return records, rtol, by_parameter
