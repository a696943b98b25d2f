"""The data that each figure draws."""

import numpy as np
import pytest
from matplotlib.patches import Circle

from gradlab.core.errors import UserMistake
from gradlab.figures import registry
from gradlab.figures.activations import from_label
from gradlab.figures.lengths import at_first_input
from gradlab.figures.selection import NOT_RUN, OVERFLOWED
from gradlab.theory.slopes import orthogonal_slope


def plot(name, ds, matrices=None, **options):
    return registry.build({"name": name, **options}).plot(ds, matrices)


def titled(figure, title):
    return next(ax for ax in figure.axes if ax.get_title() == title)


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2 and line.get_gid() != "exact"]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_profile_has_a_panel_an_activation_and_a_curve_a_radius(dataset):
    figure = plot("profile", dataset)
    assert [ax.get_title() for ax in figure.axes][:4] == ["tanh", "relu", "logistic", "identity"]
    tanh = curves(titled(figure, "tanh"))
    assert len(tanh) == 21
    expected = np.median(
        dataset["log10_state_gradient_norm"].sel(activation="tanh", length=200, clip="off").values[7], axis=0
    )
    np.testing.assert_array_equal(tanh[7].get_xdata(), np.arange(200))
    np.testing.assert_allclose(tanh[7].get_ydata(), expected, rtol=1e-14, atol=0)


def test_profile_leaves_overflowed_cases_out(dataset):
    relu = titled(plot("profile", dataset), "relu")
    assert len(curves(relu)) == 18  # three radii overflowed in every replicate
    assert all(np.isfinite(line.get_ydata()).all() for line in relu.lines)
    kept = dataset["log10_state_gradient_norm"].sel(activation="relu", length=200, clip="off").values[-4, 4:]
    np.testing.assert_allclose(curves(relu)[-1].get_ydata(), np.median(kept, axis=0), rtol=1e-14, atol=0)


def test_profile_draws_the_exact_slope_where_it_is_exact(dataset):
    figure = plot("profile", dataset)
    exact = {ax.get_title(): [x for x in ax.lines if x.get_gid() == "exact"] for ax in figure.axes}
    assert {title: len(lines) for title, lines in exact.items() if lines} == {"identity": 5}
    radii = dataset["radius"].values[[0, 5, 10, 15, 20]]
    drawn = [np.diff(line.get_ydata()) for line in exact["identity"]]
    np.testing.assert_allclose(drawn, np.outer(orthogonal_slope(radii), np.ones(199)), rtol=0, atol=1e-12)
    assert any("exact slope" in text for text in legend_texts(figure))


@pytest.mark.parametrize("change", [{"spectrum": "ginibre"}, {"cell": "lstm"}, {"spectrum": None}])
def test_profile_draws_no_exact_slope_where_there_is_none(small, change):
    ds = small.assign_coords(activation=np.array(["identity", "relu"], dtype=np.dtypes.StringDType()))
    assert any("exact" in text for text in legend_texts(plot("profile", ds)))
    ds.attrs = {key: value for key, value in {**ds.attrs, **change}.items() if value}
    assert not any("exact" in text for text in legend_texts(plot("profile", ds)))


def test_profile_of_a_rule_in_the_recursion_has_no_exact_slope(small):
    ds = small.assign_coords(activation=np.array(["identity", "relu"], dtype=np.dtypes.StringDType()))
    assert any("exact" in text for text in legend_texts(plot("profile", ds.sel(clip="norm(1.0)"))))
    assert not any(
        "exact" in text for text in legend_texts(plot("profile", ds.sel(clip="adjoint_norm(0.1)")))
    )


def test_profile_draws_bands_only_where_replicates_spread(small, labels_only):
    assert titled(plot("profile", small), "tanh").collections
    assert not titled(plot("profile", labels_only), "tanh").collections


def test_profile_names_few_curves_and_gives_many_a_colour_bar(dataset, small):
    assert {"0.5", "0.75", "1", "1.25", "1.5"} <= set(legend_texts(plot("profile", small)))
    assert any(ax.get_ylabel() == "spectral radius (dimensionless)" for ax in plot("profile", dataset).axes)


def test_profile_stops_where_a_case_stops(small):
    figure = plot("profile", small.sel(length=10))
    shown = curves(titled(figure, "tanh"))[0].get_ydata()
    assert np.isfinite(shown).sum() == 10


def test_profile_of_vanished_gradients_has_gaps_and_says_so_if_all_are_gone(small):
    small["log10_state_gradient_norm"][:, 0, :, :, :, 5:] = -np.inf
    small["log10_state_gradient_norm"][:, 1] = -np.inf
    figure = plot("profile", small)
    assert np.isfinite(curves(titled(figure, "tanh"))[0].get_ydata()).sum() == 5
    assert [text.get_text() for text in titled(figure, "relu").texts] == ["all gradients are zero"]


def test_profile_says_why_a_panel_is_empty(small):
    small["status"][:, 0] = OVERFLOWED
    small["status"][:, 1] = NOT_RUN
    figure = plot("profile", small)
    assert [titled(figure, name).texts[0].get_text() for name in ("tanh", "relu")] == [
        "all cases overflowed",
        "all cases not run",
    ]


def test_profile_of_another_record_and_axis(lstm):
    figure = plot("profile", lstm, record="log10_memory_gradient_norm", curve="forget_bias")
    ax = figure.axes[0]
    assert ax.get_ylabel() == "log$_{10}$ adjoint norm of the memory"
    assert "radius: 1" in figure.get_suptitle()
    assert len(curves(ax)) == 4


def test_profile_needs_a_record_against_lag(small):
    with pytest.raises(UserMistake, match="option 'record': expected a record against lag, got growth_rate"):
        plot("profile", small, record="growth_rate")


def test_sequences_of_one_step(small):
    one = small.isel(lag=[0], length=[0])
    one["growth_rate"][:] = np.nan
    for figure in (plot(name, one) for name in ("profile", "phase", "lengths", "clipping")):
        figure.canvas.draw()
    assert all(line.get_marker() == "o" for line in plot("profile", one).axes[0].lines[:5])
    assert "no rate, or gradient zero" in legend_texts(plot("phase", one))


def test_profile_of_one_case_alone(small):
    one = small.isel(radius=0, activation=0, length=0, clip=0, replicate=0)
    figure = plot("profile", one)
    assert len(curves(figure.axes[0])) == 1
    assert "activation: tanh" in figure.get_suptitle()


def test_profile_of_many_labels_has_a_panel_a_label_and_curves_of_what_would_be_panels(zoo):
    figure = plot("profile", zoo)
    assert len(figure.axes) == 25
    assert figure.axes[13].get_title() == "family_0\n(norm=0.95)"
    assert [len(curves(ax)) for ax in figure.axes] == [2] * 25
    assert legend_texts(figure)[:2] == ["identity", "tanh"]
    alone = plot("profile", zoo.isel(activation=0, drop=True))
    assert [len(curves(ax)) for ax in alone.axes] == [1] * 25


def test_profile_of_more_labels_than_panels_says_how_many_it_shows(zoo):
    names = np.array([f"w{i}" for i in range(50)], dtype=np.dtypes.StringDType())
    figure = plot("profile", zoo.isel(spectrum=np.arange(50) % 25).assign_coords(spectrum=names))
    assert len(figure.axes) == 40
    assert "spectrum: the first 40 of 50" in figure.get_suptitle()


def test_profile_of_many_labels_chosen_as_curves_tells_them_apart_by_lines(zoo):
    figure = plot("profile", zoo, curve="spectrum")
    assert [ax.get_title() for ax in figure.axes] == ["identity", "tanh"]
    for lines in (figure.legends[0].get_lines()[:25], curves(figure.axes[0])):
        looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}
        assert len(looks) == 25


def test_few_numbers_have_colours_by_rank_and_a_legend_that_ascends(weights):
    figure = plot("profile", weights)
    assert legend_texts(figure)[:4] == ["0.01", "0.99", "1", "1.01"]
    lines = figure.legends[0].get_lines()[:4]
    shades = np.array([line.get_color()[:3] for line in lines])
    assert min(np.abs(a - b).max() for i, a in enumerate(shades) for b in shades[:i]) > 0.2
    by_weight = [line.get_color() for line in curves(figure.axes[0])]  # 1, 1.01, 0.99, 0.01
    assert by_weight == [lines[i].get_color() for i in (2, 3, 1, 0)]


def test_profile_shows_curves_again_that_others_flatten(weights, small):
    figure = plot("profile", weights)
    everything, near = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["all curves", "those near no change"]
    assert everything.get_ylim()[0] < -1998
    low, high = near.get_ylim()
    assert -5 < low < 999 * np.log10(0.99)
    assert 999 * np.log10(1.01) < high < 5
    assert len(plot("profile", weights.isel(weight=[0, 1, 2])).axes) == 1
    assert len(plot("profile", weights.isel(weight=[0, 3])).axes) == 1  # one alone is near itself


def test_profile_says_why_a_curve_ends(small):
    assert "a curve ends" not in plot("profile", small).get_suptitle()
    small["log10_state_gradient_norm"][0, 0, :, :, :, 5:] = -np.inf
    assert "a curve ends where its gradient is zero" in plot("profile", small).get_suptitle().replace(
        "\n", " "
    )


def test_lags_have_whole_ticks(small):
    for lags in (2, 3, 9):
        figure = plot("profile", small.isel(lag=slice(lags), length=[0]))
        figure.canvas.draw()
        ticks = figure.axes[0].get_xticks()
        low, high = figure.axes[0].get_xlim()
        shown = ticks[(ticks >= low) & (ticks <= high)]
        assert len(shown) >= min(lags, 3)
        np.testing.assert_array_equal(shown, np.round(shown))


def test_memory_shows_the_memory_as_profile_shows_the_state(lstm):
    figure = plot("memory", lstm, curve="forget_bias")
    ax = figure.axes[0]
    assert ax.get_ylabel() == "log$_{10}$ adjoint norm of the memory"
    expected = lstm["log10_memory_gradient_norm"].isel(forget_bias=2, radius=1).median("replicate")
    np.testing.assert_allclose(curves(ax)[2].get_ydata(), expected, rtol=1e-14, atol=0)


def test_memory_needs_cells_that_have_one(lstm):
    lstm["log10_memory_gradient_norm"][:] = np.nan
    for ds in (lstm, lstm.drop_vars("log10_memory_gradient_norm")):
        with pytest.raises(UserMistake, match=r"figure 'memory': expected the record .* of cells that have"):
            plot("memory", ds)


def test_clipping_has_a_row_a_rule_with_the_same_curves_beside_each_other(dataset):
    figure = plot("clipping", dataset)
    rows = np.array(figure.axes[:6]).reshape(2, 3)
    assert [ax.get_title() for ax in rows[:, 1]] == ["with norm(1.0)", "with adjoint_norm(0.1)"]
    assert [ax.get_title() for ax in rows[:, 2]] == ["scope: parameters", "scope: adjoint"]
    for left, right, _ in rows:
        assert left.get_ylim() == right.get_ylim()
        assert len(curves(left)) == len(curves(right)) == 21


def test_clipping_of_parameters_leaves_the_profile_and_shortens_the_gradient(dataset):
    figure = plot("clipping", dataset.sel(activation=["identity"]))
    left, right, norms = figure.axes[:3]
    for a, b in zip(curves(left), curves(right), strict=True):
        np.testing.assert_array_equal(a.get_ydata(), b.get_ydata())
    before, after = (line.get_ydata() for line in norms.lines)
    np.testing.assert_array_equal(after, np.minimum(before, 0.0))
    left, right = figure.axes[3:5]
    assert max(line.get_ydata().max() for line in curves(left)) > 10
    assert max(line.get_ydata().max() for line in curves(right)) <= -1.0


def test_clipping_joins_no_labels_by_a_line(labels_only):
    norms = plot("clipping", labels_only).axes[2]
    assert [tick.get_text() for tick in norms.get_xticklabels()] == ["tanh", "relu", "logistic", "identity"]
    assert [(line.get_linestyle(), line.get_marker()) for line in norms.lines] == [
        ("None", "o"),
        ("None", "x"),
    ]


def test_clipping_of_many_labels_shows_the_first(zoo):
    clips = np.array(["off", "norm(1.0)"], dtype=np.dtypes.StringDType())
    figure = plot("clipping", zoo.expand_dims(clip=clips, axis=2))
    assert len(curves(figure.axes[0])) == len(figure.axes[2].get_xticklabels()) == 8
    assert "spectrum: the first 8 of 25" in figure.get_suptitle()


def test_clipping_explains_the_exact_slope(dataset):
    assert any("exact slope" in text for text in legend_texts(plot("clipping", dataset)))
    dataset = dataset.assign_attrs(spectrum="ginibre")
    assert not any("exact slope" in text for text in legend_texts(plot("clipping", dataset)))


def test_clipping_needs_cases_without(small):
    with pytest.raises(UserMistake, match=r"cases without clipping \('off'\) and with it.*got norm\(1.0\)"):
        plot("clipping", small.sel(clip=["norm(1.0)"]))


def test_lengths_draws_the_last_lag_of_each_case(dataset):
    ax = titled(plot("lengths", dataset), "tanh")
    values = dataset["log10_state_gradient_norm"].sel(activation="tanh", clip="off").values[3]
    expected = [np.median(values[i, :, length - 1]) for i, length in enumerate((25, 50, 100, 200))]
    np.testing.assert_allclose(ax.lines[3].get_ydata(), expected, rtol=1e-14, atol=0)
    np.testing.assert_array_equal(ax.lines[3].get_xdata(), [25, 50, 100, 200])


def test_lengths_says_that_zero_gradients_are_not_drawn(small):
    assert "zero gradient" not in plot("lengths", small).get_suptitle()
    small["log10_state_gradient_norm"][-1, 0, 0, 0, :, 9] = -np.inf
    assert "a zero gradient is not drawn" in " ".join(plot("lengths", small).get_suptitle().split())


def test_at_first_input_counts_zero_gradients_as_values(small):
    data = small["log10_state_gradient_norm"][0, 0, :, 0, 0].copy(deep=True)
    data[0, 9] = -np.inf
    data[1] = np.nan
    np.testing.assert_array_equal(at_first_input(data), [-np.inf, np.nan])


def test_spectrum_draws_eigenvalues_with_the_unit_circle_and_singular_values(small):
    w = np.array([[0.0, 2.0], [-0.5, 0.0]])
    figure = plot("spectrum", small, {"chain": w})
    left, right = figure.axes
    assert any(isinstance(patch, Circle) and patch.radius == 1 for patch in left.patches)
    np.testing.assert_allclose(sorted(left.lines[0].get_ydata()), [-1, 1], rtol=1e-12, atol=0)
    np.testing.assert_allclose(right.lines[1].get_ydata(), [2.0, 0.5], rtol=1e-12, atol=0)
    assert right.get_title() == "radius 1, norm 2"


@pytest.mark.parametrize("count", [2, 4, 7, 13, 25])
def test_spectrum_of_many_matrices(small, count):
    figure = plot("spectrum", small, {f"matrix {i}": np.eye(3) * i for i in range(count)})
    assert len(figure.axes) == 2 * min(count, 18)
    assert figure.get_suptitle() == ("7 more matrices are not shown" if count == 25 else "")


def test_spectrum_needs_square_finite_matrices(small):
    with pytest.raises(UserMistake, match="expected the recurrent matrices, by label, got none"):
        plot("spectrum", small)
    with pytest.raises(UserMistake) as caught:
        plot("spectrum", small, {"a": np.ones((2, 3)), "b": [[np.nan]], "c": np.eye(2), "d": np.ones((0, 0))})
    assert [problem.where for problem in caught.value.problems] == [
        "matrices['a']",
        "matrices['b']",
        "matrices['d']",
    ]


def test_activations_are_those_of_the_dataset_or_all(small):
    assert [ax.get_title() for ax in plot("activations", small).axes] == ["tanh", "relu"]
    everything = plot("activations", small.isel(activation=0, drop=True))
    assert len(everything.axes) >= 12


def test_activations_draws_value_and_derivative(small):
    tanh = plot("activations", small).axes[0]
    value, derivative = (line for line in tanh.lines if len(line.get_xdata()) > 100)
    z = value.get_xdata()
    np.testing.assert_allclose(value.get_ydata(), np.tanh(z), rtol=1e-12, atol=0)
    np.testing.assert_allclose(derivative.get_ydata(), 1 / np.cosh(z) ** 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("label", ["leaky_relu(0.2)", "leaky_relu(slope=0.2)", "leaky_relu(slope = 0.2)"])
def test_activation_from_a_label_with_settings(label):
    assert from_label(label).slope == 0.2


def test_activation_from_an_unknown_label():
    with pytest.raises(UserMistake, match="activation: expected the name of a known activation, got 'tahn'"):
        from_label("tahn")


@pytest.mark.parametrize("looks", ["several", None])
def test_no_exact_slope_is_drawn_where_the_loss_adds_to_the_adjoint_on_its_way(small, looks):
    ds = small.assign_coords(activation=np.array(["identity", "relu"], dtype=np.dtypes.StringDType()))
    assert any("exact" in text for text in legend_texts(plot("profile", ds)))
    ds.attrs = {key: value for key, value in {**ds.attrs, "looks": looks}.items() if value}
    assert not any("exact" in text for text in legend_texts(plot("profile", ds)))
