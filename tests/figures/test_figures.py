"""What every figure must be: labelled, deterministic, clear about what a dataset lacks."""

import contextlib
import dataclasses
import itertools
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.figures import draw_all, panels, registry, style
from gradlab.figures.selection import axes_of

MATRICES = {"one": np.diag([0.5, -1.5]), "two": np.array([[0.0, 1.0], [-1.0, 0.0]])}
WITH_UNIT = re.compile(
    r"\((time steps|dimensionless|decades per time step)\)|^log\$_\{10\}\$ |^update$|^share |^clipping$",
    re.MULTILINE,
)


def axis_labels(figure):
    found = {ax.xaxis.label.get_text() for ax in figure.axes} | {
        ax.yaxis.label.get_text() for ax in figure.axes
    }
    for part in (figure, *figure.subfigs):
        found |= {part.get_supxlabel(), part.get_supylabel()}
    return {label for label in found if label}


@pytest.fixture(params=[entry.name for entry in registry])
def name(request):
    return request.param


OF_ANOTHER_DATASET = (
    "cells", "credit", "flow", "landscape", "learners", "metric", "norms", "paths", "smoothness", "success",
    "training",
)  # fmt: skip


@pytest.fixture
def fitting(request, name, small):
    """A small dataset that has what a figure needs."""
    return request.getfixturevalue(name) if name in OF_ANOTHER_DATASET else small


@pytest.fixture(scope="module")
def main_job(dataset):
    return draw_all(dataset, MATRICES)


@pytest.fixture
def drawn(request, main_job):
    """Every figure of the catalogue, each of a dataset that allows it."""
    others = {
        name: registry.build(name).plot(request.getfixturevalue(name))
        for name in OF_ANOTHER_DATASET
        if request.node.callspec.params.get("name", name) == name
    }
    return {**main_job, **others}


def test_catalogue():
    assert registry.names() == [
        "activations", "cells", "clipping", "credit", "flow", "landscape", "learners", "lengths", "memory",
        "metric", "norms", "paths", "phase", "profile", "smoothness", "spectrum", "success", "training",
    ]  # fmt: skip


def test_entry_says_what_it_shows(name):
    entry = registry.get(name)
    assert entry.summary
    assert dataclasses.is_dataclass(entry)
    assert entry.__dataclass_params__.frozen


def test_a_dataset_with_the_needs_has_the_figure(drawn, name):
    assert isinstance(drawn[name], Figure)


@pytest.mark.parametrize("name", OF_ANOTHER_DATASET)
def test_main_dataset_lacks_what_these_need(main_job, name):
    assert f"figure '{name}': expected a dataset with" in str(main_job[name])


def test_every_axis_label_has_a_unit(drawn, name):
    labels = axis_labels(drawn[name])
    assert len(labels) >= 2
    for label in labels:
        assert WITH_UNIT.search(label), label


def words_beside_ticks(figure):
    """Titles, axis labels, legends and small print; ticks beyond the limits exist but are not drawn."""
    found = [t for legend in figure.legends for t in legend.get_texts()]
    for part in (figure, *figure.subfigs):
        found += [part._suptitle, part._supxlabel, part._supylabel]
    for ax in figure.axes:
        found += [ax.title, ax.xaxis.label, ax.yaxis.label]
    return [text for text in found if text is not None and text.get_text()]


def assert_on_the_page(figure):
    figure.canvas.draw()
    for text in words_beside_ticks(figure):
        box = text.get_window_extent(figure.canvas.get_renderer())
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text


def assert_apart(figure):
    figure.canvas.draw()
    boxes = [
        (t.get_text(), t.get_window_extent(figure.canvas.get_renderer())) for t in words_beside_ticks(figure)
    ]
    for i, (words, box) in enumerate(boxes):
        for others, other in boxes[:i]:
            assert not box.overlaps(other), (words, others)


def test_nothing_is_drawn_beyond_the_page(drawn, name):
    assert_on_the_page(drawn[name])


def test_no_words_lie_over_others(drawn, name):
    assert_apart(drawn[name])


@pytest.mark.parametrize(
    "kind", ["cells", "credit", "paths", "learners", "layers", "training", "success", "landscape"]
)
@pytest.mark.parametrize("replicates", [1, 4])
def test_layout_of_all_that_a_dataset_allows(request, kind, replicates):
    ds = request.getfixturevalue(kind).isel(replicate=slice(replicates))
    for figure in draw_all(ds).values():
        if isinstance(figure, Figure):
            assert_on_the_page(figure)
            assert_apart(figure)


@pytest.mark.parametrize("kind", ["zoo", "small", "weights", "one row", "chosen curves", "clipped labels"])
def test_layout_of_unusual_datasets(request, zoo, small, kind):
    """Many labels, few numbers in a legend, one row of panels: all words on the page, none over others."""
    ds, options = small, {}
    if kind in ("zoo", "small", "weights"):
        ds = request.getfixturevalue(kind)
    elif kind == "one row":  # the longest axis labels, beside the lowest panels, above the largest legend
        ds = small.sel(activation=["tanh", "relu"], clip=["off"], length=[20])
        ds["log10_state_gradient_norm"].attrs["long_name"] = "adjoint norm of the pre-activation of the units"
        ds["radius"].attrs["long_name"] = "spectral radius of the recurrent matrix as asked for"
    elif kind == "chosen curves":
        ds, options = zoo, {"profile": {"curve": "spectrum"}}
    else:
        ds = zoo.expand_dims(clip=np.array(["off", "norm(1.0)"], dtype=np.dtypes.StringDType()), axis=2)
    for entry in registry:
        try:
            figure = registry.build({"name": entry.name, **options.get(entry.name, {})}).plot(ds, MATRICES)
        except UserMistake:
            continue
        assert_on_the_page(figure)
        assert_apart(figure)
        assert all(ax.get_position().height * figure.get_figheight() > 0.5 for ax in figure.axes)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12])
@pytest.mark.parametrize(
    "label", ["{}", "ginibre(gain=1.{}), input gate", "ginibre(gain=1.{}), hidden 1, input gate"]
)
def test_layout_of_matrices_with_titles_of_several_lines(small, caplog, count, label):
    matrices = {label.format(i): np.diag([2.0, 1.5, 1e-9]) for i in range(count)}
    figure = registry.build("spectrum").plot(small, matrices)
    assert_on_the_page(figure)
    assert_apart(figure)
    assert [record.message for record in caplog.records] == []


@pytest.mark.parametrize("count", [1, 5])
def test_small_print_of_wide_letters_stays_on_the_page(count):
    words = "median and quartiles of 8 replicates; truncated at each time step: truncated(50)"
    with style.applied():
        page = panels.grid([""] * count, 1.5)
        panels.small_print(page.figure, [words] * 3)
    assert_on_the_page(page.figure)


def test_widths_are_those_of_columns(drawn, name):
    assert drawn[name].get_figwidth() in (style.SINGLE, style.DOUBLE)


def test_plotting_leaves_no_global_setting(fitting, name):
    before = dict(matplotlib.rcParams)
    registry.build(name).plot(fitting, MATRICES)
    assert dict(matplotlib.rcParams) == before


def test_plotting_changes_no_dataset(fitting, name):
    before = fitting.copy(deep=True)
    registry.build(name).plot(fitting, MATRICES)
    assert fitting.identical(before)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_files_are_the_same_bytes_every_time(small, tmp_path, ending):
    for stem in ("a", "b"):
        with matplotlib.rc_context({"font.size": 20 if stem == "a" else 5, "pdf.fonttype": 3}):
            style.save(registry.build("phase").plot(small), tmp_path / stem, (ending,))
    first, second = ((tmp_path / f"{stem}.{ending}").read_bytes() for stem in ("a", "b"))
    assert first == second
    for clock in (b"CreationDate", b"<dc:date>", b"Software"):
        assert clock not in first


def test_pdf_embeds_outlines_and_svg_keeps_text(small, tmp_path):
    pdf, svg = style.save(registry.build("phase").plot(small), tmp_path / "figure", ("pdf", "svg"))
    assert b"/Type3" not in pdf.read_bytes()
    assert "spectral radius (dimensionless)" in svg.read_text()


def test_unknown_format_writes_nothing(small, tmp_path):
    with pytest.raises(
        UserMistake, match=r"format: expected one of png, pdf, svg, got 'pgn'\. Did you mean 'png'"
    ):
        style.save(registry.build("phase").plot(small), tmp_path / "figure", ("pdf", "pgn"))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_the_users_mistake(small, tmp_path):
    with pytest.raises(
        UserMistake, match="expected a file that can be written, got No such file or directory"
    ):
        style.save(registry.build("phase").plot(small), tmp_path / "no" / "figure")


def test_lacking_axis_and_variables_are_all_named(small):
    lacking = small.isel(clip=0, drop=True).drop_vars(["log10_gradient_norm", "log10_clipped_gradient_norm"])
    with pytest.raises(UserMistake) as caught:
        registry.build("clipping").plot(lacking)
    (problem,) = caught.value.problems
    variables = "'log10_gradient_norm', 'log10_clipped_gradient_norm'"
    assert problem.expected == f"a dataset with the axis 'clip' and the variables {variables}"
    start = "one with the axes radius, activation, length; the variables log10_state_gradient_norm"
    assert problem.got.startswith(start)
    assert problem.hint == "Add them to `record` in the spec."


@pytest.mark.parametrize(("figure", "axis"), [("clipping", "clip"), ("lengths", "length")])
def test_lacking_axis_is_named(small, figure, axis):
    with pytest.raises(UserMistake, match=f"figure '{figure}': expected a dataset with the axis '{axis}'"):
        registry.build(figure).plot(small.isel({axis: 0}, drop=True))


@pytest.mark.parametrize("figure", ["lengths", "profile", "cells"])
def test_lacking_variable_is_named(small, figure):
    with pytest.raises(UserMistake, match=r"variable 'log10_state_gradient_norm'.*Add it to `record`"):
        registry.build(figure).plot(small.drop_vars("log10_state_gradient_norm"))


@pytest.mark.parametrize(
    ("figure", "variables"),
    [
        ("credit", ["log10_credit_norm"]),
        ("paths", ["log10_path_gradient_norm"]),
        ("learners", ["log10_gradient_norm", "cosine_to_bptt"]),
    ],
)
def test_lacking_variables_of_other_datasets_are_named(request, figure, variables):
    ds = request.getfixturevalue(figure).drop_vars(variables)
    with pytest.raises(UserMistake) as caught:
        registry.build(figure).plot(ds)
    (problem,) = caught.value.problems
    named = f"variable{'s' * (len(variables) > 1)} {', '.join(map(repr, variables))}"
    assert problem.expected == f"a dataset with the {named}"


def test_draw_all_tells_why_a_figure_is_not_there(labels_only):
    figures = draw_all(labels_only)
    assert isinstance(figures["profile"], Figure)
    assert isinstance(figures["phase"], Figure)
    assert "the axis 'length'" in str(figures["lengths"])
    assert "draw them again from the spec" in str(figures["spectrum"])


@pytest.mark.parametrize(("figure", "option"), [("profile", "curve"), ("phase", "x"), ("lengths", "panel")])
def test_option_that_names_no_axis(small, figure, option):
    entry = registry.build({"name": figure, option: "radios"})
    with pytest.raises(UserMistake, match=f"option '{option}': expected an axis of the dataset.*'radius'"):
        entry.plot(small)


def test_slices_are_named_in_the_small_print(main_job):
    small_print = main_job["profile"].get_suptitle().replace("\n", " ")
    assert "length: 200" in small_print
    assert "clip: off" in small_print
    assert "8 replicates" in small_print
    assert "28" in small_print.split("left out")[1]


def test_colours_survive_colour_blindness_in_lightness():
    low, high = style.sequential()([0.0, 1.0])[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert high - low > 0.4
    assert len(set(style.QUALITATIVE)) == len(style.QUALITATIVE)


OPTIONS = ("x", "y", "curve", "panel")


def test_any_two_axes_are_drawn_or_refused(name, fitting):
    """Whatever axes a user chooses, one of them twice among them."""
    options = [option for option in OPTIONS if option in settings_of(registry.build(name))]
    axes = [*axes_of(fitting), "replicate", "lag"]
    for pair in itertools.combinations(options, 2):
        for chosen in itertools.product(axes, repeat=2):
            with contextlib.suppress(UserMistake):
                registry.build({"name": name, **dict(zip(pair, chosen, strict=True))}).plot(fitting, MATRICES)
    for option in options:
        for axis in axes:
            with contextlib.suppress(UserMistake):
                registry.build({"name": name, option: axis}).plot(fitting, MATRICES)


@pytest.mark.parametrize("label", ["cost_$ (US$)", "a $ and $", r"\$_{", "2 US$ a_b in A$"])
def test_a_label_with_dollars_is_no_mathematics(small, tmp_path, label):
    labels = np.array([label, "other"], dtype=np.dtypes.StringDType())
    ds = small.assign_coords(activation=labels).rename(activation="column")
    for attribute in ("long_name", "units"):
        ds["radius"].attrs[attribute] = label
    for entry in ("profile", "phase", "lengths"):
        figure = registry.build(entry).plot(ds)
        style.save(figure, tmp_path / entry, ("svg",))
        assert label.split()[-1] in (tmp_path / f"{entry}.svg").read_text(encoding="utf-8")


def test_values_that_differ_in_the_last_digit_have_panels_and_names_of_their_own(small):
    radii = [1.0, 1.0 + 1e-9][: small.sizes["radius"]]
    ds = small.isel(radius=slice(2)).assign_coords(radius=radii)
    figure = registry.build({"name": "profile", "panel": "radius", "curve": "activation"}).plot(ds)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["radius 1.0", "radius 1.000000001"]
