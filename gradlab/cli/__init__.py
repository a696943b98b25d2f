"""The command line: one command per file, each a thin function over the library.

Nothing here imports NumPy, xarray, Zarr, SciPy, matplotlib or pydantic before a command runs, so that
help and completion are quick.
"""
