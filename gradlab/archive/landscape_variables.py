"""The variables of a landscape: an error surface, and the descents over it."""

from __future__ import annotations

from gradlab.archive.variable import Variable

_PLACE = ("second", "first")
_DESCENT = ("update",)
_OF_DESCENT = "of the descent before this update, under the case's clip rule"
_BY_PLACE = (
    "log10 of the Euclidean norm of the gradient by the two coordinates of the plane, before any clipping"
)

LANDSCAPE = (
    Variable(
        "surface_loss",
        "loss",
        "1",
        "loss (mean over the batch) at a place of the plane; +inf where the forward state, or the loss "
        "itself, left the range",
        _PLACE,
    ),
    Variable("log10_surface_gradient_norm", "gradient norm", "log10 of a norm", _BY_PLACE, _PLACE),
    Variable(
        "descent_first", "place on the first line", "1", f"place on the first line {_OF_DESCENT}", _DESCENT
    ),
    Variable(
        "descent_second", "place on the second line", "1", f"place on the second line {_OF_DESCENT}", _DESCENT
    ),
    Variable("descent_loss", "loss of the descent", "1", f"loss {_OF_DESCENT}", _DESCENT),
    Variable(
        "log10_descent_gradient_norm",
        "gradient norm of the descent",
        "log10 of a norm",
        f"{_BY_PLACE} of the gradient, but after any of the adjoints, {_OF_DESCENT}",
        _DESCENT,
    ),
)
