"""The variables that only a training has; others it shares with a probe, at every recorded update."""

from __future__ import annotations

from gradlab.archive.variable import Variable

DIVERGED_BY = {"none": 0, "loss": 1, "parameters": 2}
_EACH = ("update",)

TRAINING = (
    Variable(
        "metric",
        "metric of the task",
        "1",
        "the task's own metric (attribute `metric`) on its fixed evaluation set, before this update; NaN "
        "where it was not taken, +inf where states left the range",
        _EACH,
    ),
    Variable(
        "clip_active",
        "whether clipping acted",
        "1",
        "1 where the clip rule changed the gradient of this update, else 0",
        _EACH,
    ),
    Variable(
        "clip_active_share",
        "share of updates at which clipping acted",
        "1",
        "share of the updates since the last recorded one, this one included, at which the clip rule changed "
        "the gradient; of rules on adjoints, at which they changed an adjoint at any time step",
        _EACH,
    ),
    Variable(
        "weight_radius",
        "spectral radius of the recurrent weights",
        "1",
        "largest absolute eigenvalue of what multiplies the top layer's state, the largest of its row "
        "blocks, before this update; NaN where nothing does, or no square matrix",
        _EACH,
    ),
    Variable(
        "weight_norm",
        "spectral norm of the recurrent weights",
        "1",
        "largest singular value of what multiplies the top layer's state, the largest of its row blocks, "
        "before this update",
        _EACH,
    ),
    Variable(
        "smoothness",
        "local smoothness",
        "1",
        "|g(x+) - g(x)| / |x+ - x| on the batch of this update: g gradient, x and x+ parameters before and "
        "after it (Zhang and others 2020)",
        _EACH,
    ),
    Variable(
        "final_metric",
        "metric at the end",
        "1",
        "the task's own metric after the last update that was made; infinite for runs that diverged",
    ),
    Variable(
        "chance",
        "loss of the best guess",
        "1",
        "loss in training of one who sees no input and knows how targets are distributed, so tells their "
        "mean or the shares of the classes; NaN where it is not known",
    ),
    Variable(
        "baseline",
        "metric of a simple predictor",
        "1",
        "what a simple predictor (`predictor`) reaches in the task's own metric, exactly or counted on the "
        "evaluation's data; NaN where the task states no such predictor, and in cases measured before this "
        "was kept",
        ("predictor",),
    ),
    Variable(
        "solved_at",
        "updates until solved",
        "updates",
        "updates done when the metric first met the task's criterion (attribute `criterion`); -1: never",
        dtype="int64",
        fill=-1,
    ),
    Variable(
        "diverged_at",
        "update that diverged",
        "updates",
        "number of the update at which something was not finite; -1: none",
        dtype="int64",
        fill=-1,
    ),
    Variable(
        "diverged_by",
        "what diverged",
        "1",
        "what was not finite: a state or the loss, or a parameter after the update",
        dtype="int8",
        fill=0,
        flags=DIVERGED_BY,
    ),
)
