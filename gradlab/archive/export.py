"""An archive for programs that do not read Zarr: one netCDF file, or tables of comma-separated values.

Both hold every variable. What they look like is told in `to_netcdf` and `to_csv`.
"""

from __future__ import annotations

import csv
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradlab.archive import directory
from gradlab.archive.content import content_digest
from gradlab.archive.files import Files, files_of
from gradlab.archive.reading import dataset_of, forms_of
from gradlab.archive.variables import VARIABLES
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

if TYPE_CHECKING:
    import xarray as xr

FORMATS = ("netcdf", "csv")
MOST_NETCDF = 1 << 31  # bytes of one variable that every reader of netCDF-3 takes
_ROWS_BYTES = 64 << 20  # of one variable that are held while a table is written
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes text that begins so for a formula


def export(path: str | Path, to: str, out: str | Path | None = None) -> Path:
    """Write an archive in another format.

    Parameters
    ----------
    path : path
        A directory or a packed file.
    to : {"netcdf", "csv"}
    out : path, optional
        The file or folder, which must not exist; by default beside the archive, ``NAME.nc`` or ``NAME-csv``.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    UserMistake
        If there is no archive, it cannot be told in the format, or `out` exists.
    """
    if to not in FORMATS:
        raise UserMistake(Problem("--to", " or ".join(FORMATS), shown(to)))
    path = Path(path)
    files = files_of(path)
    out = directory.beside(path, ".nc" if to == "netcdf" else "-csv") if out is None else Path(out)
    directory.check_outside(path, out)
    if out.exists() or out.is_symlink():
        got = "something that exists"
        raise UserMistake(Problem(str(out), "a place where nothing is yet", got, "Give another --out."))
    ds = dataset_of(files, forms_of(files))
    with directory.disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            temporary = Path(folder) / out.name
            (to_netcdf if to == "netcdf" else to_csv)(ds, files, temporary)
            os.replace(temporary, out)
    return out


def to_netcdf(ds: xr.Dataset, files: Files, out: Path) -> None:
    """Write one netCDF-3 file (64-bit offset), read by anything that reads netCDF.

    Names, dimensions, units and values are those of the archive. Texts are arrays of characters in UTF-8,
    which xarray gives back as text. Integers have 32 bits, as the format has no longer ones; an
    attribute that does not fit (a seed, say) is text. There are two more: ``gradlab_settings`` (the resolved
    spec) and ``gradlab_content_digest``.
    """
    where = str(files.path)
    stored = {}
    for name, array in ds.variables.items():
        values: NDArray[Any] = (
            array.values if array.dtype.kind != "T" else _texts(f"{where}: {shown(name)}", array.values)
        )
        if values.nbytes > MOST_NETCDF:
            hint = "Use --to csv, or read the archive by xarray.open_zarr."
            expected = f"at most {MOST_NETCDF} bytes of {shown(name)}, for netCDF-3"
            raise UserMistake(Problem(where, expected, f"{values.nbytes}", hint))
        encoding = {"_FillValue": None} | ({"dtype": "S1"} if values.dtype.kind == "U" else {})
        stored[name] = (array.dims, values, _attributes(array.attrs), encoding)
    about = {
        "gradlab_settings": files.text(directory.RESOLVED),
        "gradlab_content_digest": content_digest(files),
    }
    coordinates = {name: stored.pop(name) for name in ds.coords}
    plain = type(ds)(stored, coordinates, _attributes(ds.attrs) | about)
    try:
        plain.to_netcdf(out, engine="scipy", format="NETCDF3_64BIT")
    except (ValueError, TypeError, OverflowError) as error:
        got = f"an archive that it cannot tell ({shown(str(error), 120)})"
        raise UserMistake(Problem(where, "what netCDF-3 can tell", got, "Use --to csv.")) from None


def _texts(where: str, values: NDArray[Any]) -> NDArray[np.str_]:
    """Return texts of variable length as ones of the longest length."""
    longest = max(1, int(np.strings.str_len(values).max(initial=0)))
    if 4 * longest * values.size > MOST_NETCDF:
        expected = f"at most {MOST_NETCDF} bytes of text"
        got = f"{values.size} texts of up to {longest} characters"
        raise UserMistake(Problem(where, expected, got, "Use --to csv."))
    return values.astype(f"<U{longest}")


def _attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes of types that netCDF-3 has."""
    return {str(key): value if _has_type(value) else str(value) for key, value in attributes.items()}


def _has_type(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(one) in (int, float) and _has_type(one) for one in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -(1 << 31) <= value < 1 << 31
    return isinstance(value, str | float)


def to_csv(ds: xr.Dataset, files: Files, out: Path) -> None:
    """Write a folder of tables in UTF-8.

    ``cases.csv``
        One row a case: its labels, then every variable that has one value a case.
    ``by_lag.csv``, ``by_layer_lag.csv``, …
        One row a case and place along these dimensions: the case's labels, the place, then every variable
        that runs along them. Rows without any number (past the end of a shorter case) are left out.
    ``columns.csv``
        What every column of them is: file, column, long name, unit, description.
    ``spec.resolved.toml``
        The settings.

    Numbers have all digits that give the same bits back, and are written ``NaN``, ``Inf`` and ``-Inf``
    where they are none; states and regimes are words. Text that a spreadsheet would take for a
    formula has an apostrophe before it.
    """
    out.mkdir()
    cases = tuple(str(dim) for dim in ds["status"].dims)
    groups: dict[tuple[str, ...], list[str]] = {(): []}
    for name in VARIABLES:
        if name in ds.data_vars:
            groups.setdefault(tuple(map(str, ds[name].dims[len(cases) :])), []).append(name)
    labels = [str(name) for dim in cases for name, c in ds.coords.items() if c.dims == (dim,)]
    columns = [("file", "column", "long_name", "units", "description")]
    for inner, names in groups.items():
        file = f"by_{'_'.join(inner)}.csv" if inner else "cases.csv"
        heads = [*labels, *inner, *names]
        columns += [(file, one, *_told(ds[one])) for one in heads]
        with (out / file).open("w", encoding="utf-8", newline="") as target:
            writer = csv.writer(target, lineterminator="\n")
            writer.writerow(map(_guarded, heads))
            for part in _parts(ds[[*names, "settings_key" if "settings_key" in ds else "case_key"]], cases):
                writer.writerows(_rows(part.load(), labels, inner, names))
    with (out / "columns.csv").open("w", encoding="utf-8", newline="") as target:
        csv.writer(target, lineterminator="\n").writerows([*map(_guarded, row)] for row in columns)
    (out / directory.RESOLVED).write_bytes(files.read(directory.RESOLVED))


def _told(array: xr.DataArray) -> tuple[str, str, str]:
    long_name, units, description = (
        str(array.attrs.get(k, "")) for k in ("long_name", "units", "description")
    )
    return long_name, units, description


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _parts(ds: xr.Dataset, cases: Sequence[str]) -> Iterator[xr.Dataset]:
    """Yield the data in stretches of the first case dimension that fit into memory, in order."""
    largest = max(8 * math.prod(array.shape) for array in ds.data_vars.values())
    size = ds.sizes[cases[0]]
    step = max(1, size * _ROWS_BYTES // max(largest, 1))
    for start in range(0, size, step):
        yield ds.isel({cases[0]: slice(start, start + step)})


def _rows(
    ds: xr.Dataset, labels: Sequence[str], inner: Sequence[str], names: Sequence[str]
) -> Iterator[list[Any]]:
    """Yield the rows of one table."""
    dims = [str(dim) for dim in ds[names[0]].dims[: ds[names[0]].ndim - len(inner)]]
    shape = tuple(ds.sizes[dim] for dim in (*dims, *inner))
    places = np.argwhere(_there(ds, names, len(dims), shape))
    columns = []
    for name in (*labels, *inner):
        along = (*dims, *inner).index(str(ds[name].dims[0]))
        texts = _written(ds[name].values, None)
        columns.append([texts[place] for place in places[:, along].tolist()])
    for name in names:
        variable = VARIABLES[name]
        columns.append(_written(ds[name].values[tuple(places.T)], variable.flags))
    for row in zip(*columns, strict=True):
        yield list(row)


def _there(ds: xr.Dataset, names: Sequence[str], cases: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which rows of a table there are: of a case, and with a number if it runs along something."""
    keys = ds["settings_key" if "settings_key" in ds else "case_key"].values
    there: NDArray[np.bool_] = (keys != "").reshape(*keys.shape, *(1,) * (len(shape) - cases))
    if len(shape) == cases:
        return there
    some = np.zeros(shape, dtype=bool)
    for name in names:
        values = ds[name].values
        some |= ~np.isnan(values) if values.dtype.kind == "f" else True
    return some & there


def _written(values: NDArray[Any], flags: Mapping[str, int] | None) -> list[str]:
    """Return values as they are written."""
    if flags is not None:
        words = {code: word for word, code in flags.items()}
        return [words.get(value, str(value)) for value in values.tolist()]
    if values.dtype.kind == "f":
        return [_number(value) for value in values.tolist()]
    if values.dtype.kind in "TUO":
        return [_guarded(str(value)) for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else ("Inf" if value > 0 else "-Inf")
