import numpy as np
import pytest
import xarray as xr

from gradlab.archive.schema import ALWAYS, VARIABLES, layout, recorded, to_dataset
from gradlab.archive.variables import OPTIONAL, REGIME, STATUS
from gradlab.experiment.measures import measure_of, names, record_names
from gradlab.measure import records


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=lambda v: v.name)
def test_every_variable_says_what_it_is(variable):
    assert variable.long_name
    assert variable.units
    assert variable.description
    if variable.units == "log10 of a norm":
        assert "norm" in variable.description
        assert variable.name.startswith(("log10_", "mean_log10_", "std_log10_"))
    empty = variable.empty((2, 3))
    assert empty.shape == (2, 3)
    assert empty.dtype == variable.numpy_dtype
    if variable.dtype == "float64":
        assert np.isnan(empty).all()


def test_norms_are_named_in_their_descriptions():
    for variable in VARIABLES.values():
        if "norm" in variable.name.split("_") and variable.name not in ("norm_drawn", "weight_norm"):
            assert "Frobenius" in variable.description or "Euclidean" in variable.description, variable.name


def test_flags_are_those_of_the_contract():
    assert STATUS == {"not_run": 0, "ok": 1, "overflowed": 2, "underflowed": 3, "failed": 4, "diverged": 5}
    attributes = VARIABLES["status"].attributes
    assert attributes["flag_values"] == [0, 1, 2, 3, 4, 5]
    assert attributes["flag_meanings"] == "not_run ok overflowed underflowed failed diverged"
    assert {k: v for k, v in REGIME.items() if k != "undetermined"} == {
        "vanishing": -1,
        "stable": 0,
        "exploding": 1,
    }
    assert VARIABLES["regime"].fill not in (-1, 0, 1)


def test_the_schema_knows_every_record_of_every_measure():
    assert {name for name in VARIABLES if name not in ALWAYS} == set(record_names())
    for measure in map(measure_of, names()):
        for name, dims in measure.records.items():
            over = VARIABLES[name].over
            assert set(dims) <= set(over), name
            assert [dim for dim in over if dim in dims] == list(dims), name
            assert set(over) - set(dims) <= set(OPTIONAL), name
    assert list(STATUS.values()) == [
        records.NOT_RUN,
        records.OK,
        records.OVERFLOWED,
        records.UNDERFLOWED,
        records.FAILED,
        records.DIVERGED,
    ]
    assert REGIME == {
        "undetermined": records.UNDETERMINED,
        "vanishing": records.VANISHING,
        "stable": records.STABLE,
        "exploding": records.EXPLODING,
    }


def test_dataset_is_labelled_throughout(sweep):
    ds = to_dataset(sweep.axes, sweep.replicates, sweep.along, sweep.dense(), sweep.attrs)
    assert ds["log10_state_gradient_norm"].dims == ("radius", "activation", "replicate", "lag")
    assert ds["radius_drawn"].dims == ("radius", "activation", "replicate")
    assert set(ds.coords) == {"radius", "activation", "batch", "replicate", "lag"}
    assert ds["batch"].dims == ("activation",)
    assert ds["batch"].attrs["description"] == "the setting task.batch"
    assert ds["lag"].attrs["units"] == "time steps"
    for name in ds.variables:
        assert set(ds[name].attrs) >= {"long_name", "units", "description"}, name
    assert ds.attrs == {**sweep.attrs, "gradlab_schema": 3}
    assert ds.sel(activation="relu", radius=0.5)["loss"].shape == (2,)


def test_gate_dimension_only_with_several_row_blocks(sweep):
    gates = ("input_gate", "forget_gate", "candidate", "output_gate")
    assert "gate" not in layout(sweep.axes, 2, {"lag": range(7)}, ["radius_drawn"]).sizes
    plan = layout(sweep.axes, 2, {"lag": range(7), "gate": gates}, ["radius_drawn"])
    assert plan.shape("radius_drawn") == (5, 3, 2, 4)
    assert plan.coordinates["gate"].values.tolist() == list(gates)


def test_record_narrows_and_keeps_the_states(sweep):
    assert set(recorded(["loss"])) == {"loss", *ALWAYS}
    assert "lag" not in layout(sweep.axes, 2, {"lag": range(7)}, ["loss"]).sizes
    assert set(recorded()) == {*records.RECORDS, *ALWAYS}
    with pytest.raises(ValueError, match="not in the schema: speed"):
        recorded(["speed"])


def test_no_axes_at_all(sweep_class):
    plan = layout((), 3, {"lag": range(4)}, ["saturation"])
    assert plan.dims("saturation") == ("replicate", "lag")
    assert plan.shape("status") == (3,)


def test_wrong_arrays_are_refused(sweep):
    arrays = sweep.dense()
    arrays["loss"] = arrays["loss"][:-1]
    with pytest.raises(ValueError, match="loss: expected the shape"):
        to_dataset(sweep.axes, 2, sweep.along, arrays, sweep.attrs)
    with pytest.raises(ValueError, match="missing: case_key, code_key, first_overflow, settings_key"):
        to_dataset(sweep.axes, 2, sweep.along, {}, sweep.attrs)


def test_fixed_width_text_becomes_variable_width(sweep):
    arrays = sweep.dense()
    arrays["settings_key"] = sweep.case_keys  # fixed width
    ds = to_dataset(sweep.axes, 2, sweep.along, arrays, sweep.attrs)
    xr.testing.assert_identical(ds, to_dataset(sweep.axes, 2, sweep.along, sweep.dense(), sweep.attrs))
    assert ds["settings_key"].dtype == np.dtypes.StringDType()


DEEP = {
    "layer": range(3),
    "direction": ("forward", "reverse"),
    "path": ("memory", "rest", "total"),
    "loss_time": range(5),
    "lag": range(4),
    "time": range(5),
}


def test_every_dimension_stands_in_its_place(sweep):
    plan = layout(sweep.axes, 2, DEEP)
    case = ("radius", "activation", "replicate")
    assert plan.dims("log10_path_gradient_norm") == (*case, "layer", "direction", "path", "lag")
    assert plan.shape("log10_path_gradient_norm")[3:] == (3, 2, 3, 4)
    assert plan.dims("log10_credit_norm") == (*case, "loss_time", "lag")
    assert plan.dims("log10_online_gradient_norm") == (*case, "time")
    assert plan.dims("radius_drawn") == (*case, "layer", "direction")  # one row block
    assert plan.dims("growth_rate") == case
    assert list(plan.sizes)[3:] == ["layer", "direction", "path", "loss_time", "lag", "time"]
    assert plan.coordinates["layer"].values.dtype == np.int64
    assert plan.coordinates["direction"].values.tolist() == ["forward", "reverse"]
    assert plan.coordinates["path"].values.dtype == np.dtypes.StringDType()
    for coordinate in plan.coordinates.values():
        assert set(coordinate.attributes) == {"long_name", "units", "description"}


def test_what_nothing_recorded_runs_along_is_left_out(sweep):
    assert set(layout(sweep.axes, 2, DEEP, ["loss"]).sizes) == {"radius", "activation", "replicate"}
    assert "path" not in layout(sweep.axes, 2, DEEP, ["saturation", "log10_credit_norm"]).sizes


def test_only_dimensions_of_a_network_may_be_missing(sweep):
    flat = {dim: labels for dim, labels in DEEP.items() if dim not in ("layer", "direction")}
    assert layout(sweep.axes, 2, flat).dims("saturation")[3:] == ("lag",)
    with pytest.raises(ValueError, match="no labels along lag, path"):
        layout(sweep.axes, 2, {"layer": range(2)}, ["log10_path_gradient_norm"])
