"""The contract of activations, over the whole catalogue, and exact references in decimal arithmetic."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from decimal import Decimal, localcontext
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.network.activations import AbstractActivation, registry
from gradlab.network.activations.logistic import Logistic

EPS = np.finfo(np.float64).eps
TINY = np.finfo(np.float64).tiny
VARIANTS = [
    *registry.names(),
    {"name": "leaky_relu", "slope": 0.0},
    {"name": "leaky_relu", "slope": 1.7},
    {"name": "elu", "alpha": 0.3},
    {"name": "elu", "alpha": 2.5},
    {"name": "mod_relu", "bias": 0.0},
    {"name": "mod_relu", "bias": -2.5},
]
every_activation = pytest.mark.parametrize("setting", VARIANTS, ids=str)

MAGNITUDES = np.concatenate([np.logspace(-12, 0, 25), np.linspace(0.05, 40, 160), np.linspace(41, 700, 60)])
GRID = np.concatenate([-MAGNITUDES[::-1], [0.0], MAGNITUDES])


def evaluated(entry: AbstractActivation, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run the hot path as the engine does: the derivative over z, the value strided between cases."""
    value = np.full((z.shape[0], z.shape[1] + 3, *z.shape[2:]), np.nan, z.dtype)[:, : z.shape[1]]
    derivative = z.copy()
    entry.evaluate(derivative, value, derivative)
    return value, derivative


# --- the checks; each takes an entry, so that the suite can be shown to fail -------------------------


def check_derivative(entry: AbstractActivation) -> None:
    """The derivative is that of the value: by complex step, or by central differences off the kinks."""
    if entry.analytic:
        z = GRID[np.abs(GRID) < 300]  # beyond, a step of 1e-30 times the derivative may underflow
        truth = entry.value(z + 1e-30j).imag / 1e-30
        crossing = 1e-14 * entry.derivative_bound if np.any(truth < 0) else 0.0
        room = 1e-12 * np.maximum(1.0, np.minimum(z * z, 800.0))  # erf's own argument error grows so
        assert np.all(np.abs(entry.derivative(z) - truth) <= room * np.abs(truth) + crossing)
        return
    z = np.linspace(-6, 6, 1001) + 0.0021
    step = 1e-5
    ahead = (entry.value(z + step) - entry.value(z)) / step
    behind = (entry.value(z) - entry.value(z - step)) / step
    smooth = np.abs(ahead - behind) < 1e-3
    assert smooth.mean() > 0.99
    np.testing.assert_allclose(
        entry.derivative(z)[smooth], (0.5 * (ahead + behind))[smooth], rtol=1e-8, atol=1e-9
    )  # atol: the rounding of a difference quotient


def check_hot_path(entry: AbstractActivation) -> None:
    """`evaluate` gives what `value` and `derivative` give."""
    z = GRID[:490].reshape(7, 10, 7)
    value, derivative = evaluated(entry, z)
    np.testing.assert_allclose(value, entry.value(z), rtol=8 * EPS, atol=TINY)
    apart = np.abs(derivative - entry.derivative(z))
    assert np.all(apart <= 80 * EPS * np.abs(derivative) + TINY + crossing_noise(entry, z))


def crossing_noise(entry: AbstractActivation, z: np.ndarray) -> np.ndarray:
    """Rounding left where the derivative changes sign: relative precision cannot be asked for there."""
    slope = entry.derivative(z)
    return 16 * EPS * (np.abs(slope) < 0.2) * (np.abs(z) < 4) if np.any(slope < 0) else np.zeros_like(z)


def check_bound(entry: AbstractActivation) -> None:
    """`derivative_bound` is respected and attained."""
    z = np.concatenate([np.linspace(-50, 50, 200_001), GRID])
    largest = np.abs(entry.derivative(z)).max()
    assert largest <= entry.derivative_bound * (1 + 4 * EPS)
    assert largest >= entry.derivative_bound * (1 - 1e-3)


def check_bounded(entry: AbstractActivation) -> None:
    """`bounded` is true exactly where the value stays small for every finite argument."""
    z = np.array([-1e300, -1e150, -1e3, 1e3, 1e150, 1e300])
    with np.errstate(all="raise", under="ignore"):
        largest = np.abs(entry.value(z)).max()
    assert (largest <= 1.0) if entry.bounded else (largest >= 1e299)


def check_purity(entry: AbstractActivation) -> None:
    """An element's results depend on that element alone, bit for bit."""
    rng = np.random.RandomState(0)
    z = rng.standard_normal((6, 17, 9)) * np.array([0.1, 1, 3, 20, 200, 2000])[:, None, None]
    z = rng.permutation(z.ravel()).reshape(z.shape)
    whole = np.stack(evaluated(entry, z))
    for first, last in [(0, 1), (5, 6), (1, 4)]:
        assert np.array_equal(np.stack(evaluated(entry, z[first:last])), whole[:, first:last])
    for rows in (1, 2, 5):
        assert np.array_equal(np.stack(evaluated(entry, z[:, :rows].copy())), whole[:, :, :rows])
    single = z.reshape(-1, 1, 1)
    assert np.array_equal(np.stack(evaluated(entry, single)).reshape(whole.shape), whole)
    apart = np.empty_like(z), np.empty((9, 17, 6)).T  # not aliased, and not contiguous
    entry.evaluate(z, *apart)
    assert np.array_equal(np.stack(apart), whole)


def check_extremes(entry: AbstractActivation) -> None:
    """No floating point warning but underflow at 1e3; NaN is not swallowed by the value."""
    z = np.array([-1e3, -800.0, -60.0, -0.0, 0.0, 60.0, 800.0, 1e3]).reshape(2, 2, 2)
    for dtype in (np.float64, np.float32):
        with np.errstate(all="raise", under="ignore"):
            results = [entry.value(z.astype(dtype)), entry.derivative(z.astype(dtype))]
            results += evaluated(entry, z.astype(dtype))
        assert all(np.isfinite(result).all() for result in results)
        assert {result.dtype for result in results} == {np.dtype(dtype)}
    z[0, 0, 0] = np.nan
    value, _ = evaluated(entry, z)
    assert np.array_equal(np.isnan(value), np.isnan(z))
    assert np.array_equal(np.isnan(entry.value(z)), np.isnan(z))


def check_single_precision(entry: AbstractActivation) -> None:
    """In float32 the results are those of float64 to float32's rounding."""
    z = np.clip(GRID, -80, 80)[:490].reshape(7, 10, 7).astype(np.float32)
    eps = np.finfo(np.float32).eps
    value, derivative = evaluated(entry, z)
    wide = z.astype(np.float64)
    room = 32 * eps * (1 + (np.abs(derivative) < 0.3) * np.minimum(np.abs(wide), 4.0))
    tiny = float(np.finfo(np.float32).tiny)
    assert np.all(np.abs(value - entry.value(wide)) <= 8 * eps * np.abs(value) + tiny)
    slope = entry.derivative(wide)
    noise = 4 * eps * (np.abs(wide) < 4) * bool(np.any(slope < 0))
    assert np.all(np.abs(derivative - slope) <= room * np.abs(slope) + tiny + noise)


CHECKS = [
    check_derivative,
    check_hot_path,
    check_bound,
    check_bounded,
    check_purity,
    check_extremes,
    check_single_precision,
]


@every_activation
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[AbstractActivation], None], setting: str | dict) -> None:
    check(registry.build(setting))


# --- negative controls -------------------------------------------------------------------------------


@dataclass(frozen=True)
class NaiveTanh(AbstractActivation):
    """Wrong on purpose, in the ways this catalogue exists to prevent."""

    name: ClassVar[str] = "naive_tanh"
    bounded: ClassVar[bool] = False
    analytic: ClassVar[bool] = True
    derivative_bound: ClassVar[float] = 1.01  # type: ignore[assignment]

    def value(self, z: np.ndarray) -> np.ndarray:
        e = np.exp(2 * z)
        return np.asarray((e - 1) / (e + 1), dtype=np.result_type(z, np.float64))

    def derivative(self, z: np.ndarray) -> np.ndarray:
        return np.asarray(1 - np.tanh(z) ** 2, dtype=np.float64)

    def evaluate(self, z: np.ndarray, value: np.ndarray, derivative: np.ndarray) -> None:
        value[...] = np.tanh(z) * (1 + 1e-13 * z.size)  # looks at its neighbours
        derivative[...] = 1 - value**2


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_wrong_activation_fails_every_check(check: Callable[[AbstractActivation], None]) -> None:
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises((AssertionError, FloatingPointError)):
        check(NaiveTanh())


# --- exact references --------------------------------------------------------------------------------


def _erf(x: Decimal) -> Decimal:
    """2/sqrt(pi) exp(-x^2) sum of 2^k x^(2k+1)/(2k+1)!!: all terms of one sign."""
    term = total = abs(x)
    k = 0
    while term > total * Decimal(10) ** -390:
        k += 1
        term = term * 2 * x * x / (2 * k + 1)
        total += term
    return (2 / _PI.sqrt() * (-x * x).exp() * total).copy_sign(x)


_PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798"
    "214808651328230664709384460955058223172535940812848111745028410270193852110555964462294895493038196"
    "442881097566593344612847564823378678316527120190914564856692346034861045432664821339360726024914127"
    "372458700660631558817488152092096282925409171536436789259036001133053054882046652138414695194151160"
    "943305727036575959195309218611738193261179310511854807446237996274956735188575272489122793818301194"
)


def _sine(x: Decimal) -> Decimal:
    term = total = x
    k = 1
    while abs(term) > Decimal(10) ** -60:
        term = -term * x * x / ((k + 1) * (k + 2))
        k += 2
        total += term
    return total


def _logistic(z: Decimal) -> Decimal:
    return 1 / (1 + (-z).exp())


def _gauss(z: Decimal) -> tuple[Decimal, Decimal]:
    return (1 + _erf(z / Decimal(2).sqrt())) / 2, (-z * z / 2).exp() / (2 * _PI).sqrt()


def _gelu(z: Decimal) -> tuple[Decimal, Decimal]:
    cumulative, density = _gauss(z)
    return z * cumulative, cumulative + z * density


def _silu(z: Decimal) -> tuple[Decimal, Decimal]:
    s = _logistic(z)
    return z * s, s * (1 + z * _logistic(-z))


def _step(above: Decimal, below: Decimal) -> Callable[[Decimal], Decimal]:
    return lambda z: above if z > 0 else below


_SHRINK = Decimal("0.125")  # of mod_relu
REFERENCES: dict[str, Callable[[Decimal], tuple[Decimal, Decimal]]] = {
    "identity": lambda z: (z, Decimal(1)),
    "tanh": lambda z: (2 * _logistic(2 * z) - 1, 4 * _logistic(2 * z) * _logistic(-2 * z)),
    "logistic": lambda z: (_logistic(z), _logistic(z) * _logistic(-z)),
    "relu": lambda z: (max(z, Decimal(0)), _step(Decimal(1), Decimal(0))(z)),
    "leaky_relu": lambda z: ((s := _step(Decimal(1), Decimal("0.01"))(z)) * z, s),
    "elu": lambda z: (z, Decimal(1)) if z > 0 else (z.exp() - 1, z.exp()),
    "softplus": lambda z: ((1 + z.exp()).ln(), _logistic(z)),
    "hard_tanh": lambda z: (max(min(z, Decimal(1)), Decimal(-1)), Decimal(abs(z) < 1)),
    "mod_relu": lambda z: (z - max(min(z, _SHRINK), -_SHRINK), Decimal(abs(z) > _SHRINK)),
    "softsign": lambda z: (z / (1 + abs(z)), (1 + abs(z)) ** -2),
    "gelu": _gelu,
    "silu": _silu,
    "sine": lambda z: (_sine(z), _sine(z + _PI / 2)),
}


def test_every_activation_has_an_exact_reference() -> None:
    assert sorted(REFERENCES) == registry.names()


@pytest.mark.parametrize("name", REFERENCES)
def test_value_and_derivative_are_exact_to_rounding(name: str) -> None:
    entry = registry.build(name)
    z = {"gelu": GRID[np.abs(GRID) < 39][::5], "sine": GRID[::3]}.get(name, GRID)
    with localcontext() as context:
        context.prec = {"gelu": 400, "sine": 400, "softplus": 340}.get(name, 60)
        pairs = [REFERENCES[name](Decimal(float(x))) for x in z]
    for ours, hot, truth in zip(
        (entry.value(z), entry.derivative(z)),
        evaluated(entry, z.reshape(1, -1, 1)),
        np.array([[float(x) for x in pair] for pair in pairs]).T,
        strict=True,
    ):
        crossing = 4 * EPS * (np.abs(truth) < 0.2) * (np.abs(z) < 4) if name in ("gelu", "silu") else 0.0
        if name == "sine":  # the argument itself is only known to half a unit in the last place
            crossing = 2 * EPS
        for result, rtol in ((ours, 1e-14), (hot.ravel(), 2e-14)):
            assert np.all(np.abs(result - truth) <= rtol * np.abs(truth) + crossing + TINY)


def test_tanh_keeps_its_derivative_where_one_minus_the_square_is_zero() -> None:
    z = np.full((1, 1, 1), 20.0)
    value, derivative = evaluated(registry.build("tanh"), z)
    assert 1.0 - value.item() ** 2 == 0.0
    np.testing.assert_allclose(derivative.item(), 4 * math.exp(-40.0), rtol=1e-15, atol=0)


def test_tanh_is_accurate_where_its_two_formulas_meet() -> None:
    z = np.linspace(1.0, 4.0, 100_001).reshape(1, -1, 1)
    _, derivative = evaluated(registry.build("tanh"), z)
    np.testing.assert_allclose(derivative, 1.0 / np.cosh(z.astype(np.longdouble)) ** 2, rtol=2e-14, atol=0)


@pytest.mark.parametrize(
    ("name", "zero_or_kink", "derivative"),
    [
        ("relu", 0.0, 0.0),
        ("leaky_relu", 0.0, 0.01),
        ("hard_tanh", 1.0, 0.0),
        ("hard_tanh", -1.0, 0.0),
        ("mod_relu", 0.1, 0.0),
        ("mod_relu", -0.1, 0.0),
    ],
)
def test_derivative_at_the_kink(name: str, zero_or_kink: float, derivative: float) -> None:
    z = np.full((1, 2, 1), zero_or_kink)
    assert np.all(registry.build(name).derivative(z) == derivative)
    assert np.all(evaluated(registry.build(name), z)[1] == derivative)


@pytest.mark.parametrize("name", ["tanh", "logistic", "hard_tanh", "softsign"])
def test_saturating_activations_have_their_limit_at_infinity(name: str) -> None:
    z = np.array([-np.inf, np.inf]).reshape(1, 2, 1)
    low = 0.0 if name == "logistic" else -1.0
    value, derivative = evaluated(registry.build(name), z)
    assert value.ravel().tolist() == [low, 1.0]
    assert registry.build(name).value(z).ravel().tolist() == [low, 1.0]
    assert derivative.ravel().tolist() == [0.0, 0.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.sampled_from(VARIANTS))
def test_any_neighbours_leave_an_element_alone(numbers: list[float], setting: str | dict) -> None:
    entry = registry.build(setting)
    z = np.array(numbers).reshape(-1, 1, 1)
    together = np.stack(evaluated(entry, z))
    alone = np.concatenate([np.stack(evaluated(entry, z[k : k + 1])) for k in range(len(z))], axis=1)
    assert np.array_equal(together, alone)


def test_a_gate_and_what_it_leaves_are_right_at_both_ends() -> None:
    """Value, complement and derivative against decimals; far arguments leave their neighbours alone."""
    z = np.array([-800.0, -700.0, -40.0, -3.0, -1e-9, 0.0, 0.7, 4.2, 36.9, 300.0, 699.0, 701.0, 740.0])
    expected = [[(_logistic(Decimal(x))), _logistic(-Decimal(x))] for x in z.tolist()]
    for numbers in (z, z[:8]):
        value, complement, slope = (np.empty((len(numbers), 1, 1)) for _ in range(3))
        Logistic().gate(numbers.reshape(-1, 1, 1), value, complement, slope)
        for i in range(len(numbers)):
            q, rest = expected[i]
            got = value[i, 0, 0], complement[i, 0, 0], slope[i, 0, 0]
            np.testing.assert_allclose(got, [float(q), float(rest), float(q * rest)], rtol=1e-15, atol=1e-320)


@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [("logistic", 1.0, 0.0), ("softplus", np.inf, 1.0), ("silu", np.inf, 1.0)],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_infinite_argument_is_where_the_activation_tends(
    name: str, value: float, slope: float, dtype: type
) -> None:
    """Alone, where no exponential overflows, and beside one that does; nothing is warned of."""
    entry = registry.build(name)
    near = np.stack(evaluated(entry, np.full((1, 1, 1), 0.5, dtype)))
    for numbers, kind in itertools.product(([np.inf, 0.5], [np.inf, 0.5, 1000.0]), ("raise", "ignore")):
        with np.errstate(all=kind, under="ignore"):  # ignored, as where the engine calls it
            got = np.stack(evaluated(entry, np.array(numbers, dtype).reshape(-1, 1, 1)))
        assert got[:, 0].ravel().tolist() == [value, slope]
        assert np.array_equal(got[:, 1], near[:, 0])


# --- settings ----------------------------------------------------------------------------------------


@every_activation
def test_settings_round_trip(setting: str | dict) -> None:
    entry = registry.build(setting)
    assert registry.build(settings_of(entry)) == entry
    assert pickle.loads(pickle.dumps(entry)) == entry
    with pytest.raises(FrozenInstanceError):
        entry.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "leaky_relu", "slope": -0.1}, r"activation\.slope: expected a finite number of at least 0"),
        ({"name": "mod_relu", "bias": 0.1}, r"activation\.bias: expected a finite number of at most 0"),
        ({"name": "leaky_relu", "slope": math.nan}, r"activation\.slope: expected a finite number.*got nan"),
        ({"name": "elu", "alpha": -1}, r"activation\.alpha: expected a finite number of at least 0, got -1"),
        ({"name": "elu", "alpha": "big"}, r"activation\.alpha: expected a number, got 'big'"),
        ({"name": "tanh", "slope": 1.0}, r"activation\.slope: expected a setting of 'tanh'"),
        ({"name": "tahn"}, r"Did you mean 'tanh'\?"),
    ],
)
def test_unfit_settings_are_the_users_mistake(table: dict, message: str) -> None:
    with pytest.raises(UserMistake, match=message):
        registry.build(table)


def test_an_integer_setting_is_the_same_setting() -> None:
    entry = registry.get("elu")(alpha=1)
    assert repr(settings_of(entry)["alpha"]) == "1.0"
