import numpy as np
import pytest

from gradlab.archive.schema import VARIABLES, layout, to_dataset
from gradlab.archive.summary import counts, crossings, summary
from gradlab.archive.variables import STATUS

TEXT = np.dtypes.StringDType()
RADII = np.linspace(0.5, 1.5, 5)


class Axis:
    def __init__(self, name, values):
        self.name, self.keys, self.coordinates = name, (name,), {name: np.asarray(values)}


def probe(axes, rate, replicates=2, names=("growth_rate", "regime")):
    """A dataset whose growth rates are `rate(settings, replicate)`."""
    plan = layout(axes, replicates, {}, names)
    arrays = {name: VARIABLES[name].empty(plan.shape(name)) for name in plan.names}
    arrays["case_key"][...] = "k"
    arrays["status"][...] = STATUS["ok"]
    for place in np.ndindex(arrays["status"].shape):
        settings = {a.name: a.coordinates[a.name][i] for a, i in zip(axes, place[:-1], strict=True)}
        value = rate(settings, place[-1])
        if "growth_rate" in arrays:
            arrays["growth_rate"][place] = value
            if "regime" in arrays:
                arrays["regime"][place] = np.sign(value) if np.isfinite(value) else -128
    return to_dataset(axes, replicates, {}, arrays, {})


def labels(*words):
    return np.array(words, TEXT)


def test_a_crossing_is_where_the_line_is_zero():
    ds = probe([Axis("radius", RADII)], lambda s, r: 2 * (s["radius"] - 1.1) + (0.2 if r else -0.2))
    found = summary(ds)
    assert found["axis"] == "radius"
    (curve,) = found["curves"]
    assert curve["at"] == {}
    assert curve["points"] == 5
    (crossing,) = curve["crossings"]
    assert crossing["at"] == pytest.approx(1.1, rel=1e-12)
    assert crossing["between"] == (1.0, 1.25)
    assert crossing["rising"] is True


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([-1, 1, 3, 4, 5], [(0.625, True)]),
        ([1, -1, 1, 1, 1], [(0.625, False), (0.875, True)]),
        ([-1, 0, 1, 1, 1], [(0.75, True)]),
        ([-1, 0, 0, 1, 1], [(0.875, True)]),
        ([0, 0, 1, 1, 1], []),
        ([-1, 0, -1, -1, -1], []),
        ([-1, -2, -3, -4, -5], []),
        ([-1, np.nan, np.nan, 1, 1], [(0.875, True)]),
        ([-1, -1, np.inf, np.inf, np.inf], [(None, True)]),
        ([-np.inf, 1, 1, 1, 1], [(None, True)]),
        ([np.nan] * 5, []),
        ([-1, -1, 1.6e-20, -3e-17, 1e-12], []),  # zero to rounding: no sign
        ([-1, -1e-13, 1, 1, 1], [(0.75, True)]),
    ],
)
def test_crossings(rates, expected):
    found = crossings(RADII, np.array(rates, float))
    assert [(c.at, c.rising) for c in found] == expected
    backwards = crossings(RADII[::-1], np.array(rates, float)[::-1])  # the order of an axis is the user's
    assert backwards == found


def test_rounding_noise_is_no_change_of_sign():
    noise = dict(zip(RADII, [-0.05, -0.02, 1.6e-20, -2e-18, 3e-20], strict=True))
    axes = [Axis("radius", RADII), Axis("length", np.array([10, 20]))]
    ds = probe(axes, lambda s, r: noise[s["radius"]])
    found = summary(ds)
    assert [curve["crossings"] for curve in found["curves"]] == [[], []]
    assert [curve["growth_rates"] for curve in found["curves"]] == [(-0.05, 0.0)] * 2
    ds["growth_rate"][:] = np.where(np.arange(2) == 0, -1e-16, 1e-16)[None, :, None]
    assert summary(ds)["axis"] == "radius"  # nothing crosses along the length either


def test_the_axis_is_the_first_numeric_one_that_crosses():
    axes = [Axis("clip", labels("off", "b")), Axis("length", np.array([10, 20])), Axis("radius", RADII)]
    found = summary(probe(axes, lambda s, r: s["radius"] - 0.8))
    assert found["axis"] == "radius"
    assert [c["at"] for c in found["curves"]] == [
        {"clip": clip, "length": length} for clip in ("off", "b") for length in (10, 20)
    ]
    assert all(c["crossings"][0]["at"] == pytest.approx(0.8, rel=1e-12) for c in found["curves"])
    assert summary(probe(axes, lambda s, r: -1.0))["axis"] == "length"


def test_many_curves_are_thinned_and_it_is_said_how():
    axes = [
        Axis("radius", RADII),
        Axis("activation", labels("tanh", "relu", "logistic")),
        Axis("length", np.array([200, 25, 50])),
        Axis("clip", labels("norm(1.0)", "off")),
    ]
    ds = probe(axes, lambda s, r: s["radius"] - 1.1 + s["length"] / 1000)
    assert summary(ds, max_curves=18)["held"] == {}
    assert len(summary(ds, max_curves=18)["curves"]) == 18
    found = summary(ds, max_curves=17)
    assert found["held"] == {"length": 200}
    assert len(found["curves"]) == 6
    assert found["curves"][0]["crossings"][0]["at"] == pytest.approx(0.9, rel=1e-12)
    assert summary(ds, max_curves=3)["held"] == {"length": 200, "clip": "off"}
    assert summary(ds, max_curves=1)["held"] == {"activation": "tanh", "length": 200, "clip": "off"}


def test_without_a_numeric_axis_or_rates_there_are_counts_only():
    for ds in (
        probe([Axis("activation", labels("tanh", "relu"))], lambda s, r: -1.0),
        probe([Axis("radius", np.array([1.0]))], lambda s, r: -1.0),
        probe([], lambda s, r: -1.0),
        probe([Axis("radius", RADII)], lambda s, r: -1.0, names=("regime",)),
    ):
        found = summary(ds)
        assert found["axis"] is None
        assert found["curves"] == []
        assert found["counts"]["all"] == ds["status"].size


def test_holes_and_missing_cases():
    ds = probe([Axis("radius", RADII), Axis("hidden", np.array([8, 16]))], lambda s, r: s["radius"] - 1.1)
    ds["growth_rate"][1:3, 0] = np.nan
    ds["growth_rate"][:, 1] = np.nan
    ds["case_key"][:, 1] = ""
    ds["status"][:, 1] = STATUS["not_run"]
    found = summary(ds)
    assert [c["at"] for c in found["curves"]] == [{"hidden": 8}]
    assert found["curves"][0]["points"] == 3
    assert found["curves"][0]["crossings"][0]["between"] == (0.5, 1.25)
    assert found["counts"]["all"] == 10
    assert found["counts"]["not run"] == 0


def test_counts():
    ds = probe([Axis("radius", RADII)], lambda s, r: s["radius"] - 1.0)
    ds["status"][4, 0] = STATUS["overflowed"]
    ds["status"][4, 1] = STATUS["failed"]
    ds["status"][0, 1] = STATUS["not_run"]
    assert counts(ds) == {
        "vanishing": 3, "stable": 2, "exploding": 2, "overflowed": 1, "failed": 1, "not run": 1, "all": 10,
    }  # fmt: skip
    assert counts(ds.drop_vars("regime")) == {"ok": 7, "overflowed": 1, "failed": 1, "not run": 1, "all": 10}


def test_overflow_and_zero_together_have_no_mean():
    ds = probe([Axis("radius", RADII)], lambda s, r: s["radius"] - 1.1)
    ds["growth_rate"][3] = [np.inf, -np.inf]
    with np.errstate(all="raise", under="ignore"):
        assert summary(ds)["curves"][0]["points"] == 4


def test_one_infinite_replicate_does_not_speak_for_the_others():
    """The median of five: a replicate whose gradient stays zero is the lowest of them and no more."""
    ds = probe([Axis("radius", RADII)], lambda s, r: -np.inf if r == 3 else s["radius"] - 1.1, replicates=5)
    (curve,) = summary(ds)["curves"]
    assert [crossing["at"] for crossing in curve["crossings"]] == [pytest.approx(1.1, rel=1e-12)]
    ds["growth_rate"][4, :3] = np.inf  # and most of them do
    assert summary(ds)["curves"][0]["growth_rates"][1] == np.inf


def test_one_point_is_no_curve():
    """Of a sweep along the radius at one length and one of lengths at one radius."""
    ds = probe([Axis("radius", RADII), Axis("length", [10, 20])], lambda s, r: s["radius"] - 1.1)
    ds["growth_rate"][1:, 1] = np.nan
    assert [curve["at"] for curve in summary(ds)["curves"]] == [{"length": 10}]


def test_signs_do_not_change_along_seeds():
    axes = [Axis("seed", [1, 2, 3]), Axis("hidden", [8, 16])]
    assert summary(probe(axes, lambda s, r: s["seed"] - 2.5))["axis"] == "hidden"
    assert summary(probe(axes[:1], lambda s, r: s["seed"] - 2.5))["axis"] is None


def test_diverged_cases_are_counted_whatever_is_recorded():
    ds = probe([Axis("radius", RADII)], lambda s, r: -1.0, names=("regime",)).drop_vars("regime")
    ds["status"][2, 0] = STATUS["diverged"]
    found = counts(ds)
    assert found["diverged"] == 1
    assert found["ok"] + found["diverged"] == found["all"]
