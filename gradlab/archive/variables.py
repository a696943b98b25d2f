"""Every variable of the dataset: name, dimensions, unit, type, fill value, meaning. The only place.

`gradlab.archive.schema` describes how they are laid out together.
"""

from __future__ import annotations

from gradlab.archive.landscape_variables import LANDSCAPE
from gradlab.archive.training_variables import TRAINING
from gradlab.archive.variable import TEXT, Variable
from gradlab.measure.records import Dims

__all__ = [
    "ALWAYS",
    "KEYS",
    "OPTIONAL",
    "REGIME",
    "SCHEMA_VERSION",
    "SINCE",
    "STATUS",
    "TEXT",
    "VARIABLES",
    "Variable",
]

SCHEMA_VERSION = 3
#: Attributes of the data that are those of the last settings run, whatever else stands beside.
OF_LAST_RUN = ("title", "question", "measure", "seed")
#: Schema version from which on an archive has the variable; others are there since version 1.
SINCE = {"settings_key": 2, "code_key": 2, "baseline": 3}
#: What tells which case stands at a point, and which code measured it.
KEYS = ("settings_key", "code_key", "case_key")
ALWAYS = ("status", "first_overflow", *KEYS)
STATUS = {"not_run": 0, "ok": 1, "overflowed": 2, "underflowed": 3, "failed": 4, "diverged": 5}
#: Dimensions that a dataset has only where some network has several layers, directions or row blocks,
#: and where cases are trained.
OPTIONAL: Dims = ("update", "layer", "direction", "gate")
REGIME = {"undetermined": -128, "vanishing": -1, "stable": 0, "exploding": 1}


_FROBENIUS = (
    "log10 of the Frobenius norm over {} and batch of {} of the batch's mean loss, `lag` steps before the "
    "last look, as the coordinate lag counts them"
)
_SAMPLE = "of log10 of the Euclidean norm over hidden units of one sample's adjoint of the hidden state h"
_DRAWN = (
    "; of A - A^T - gamma I for the cell antisymmetric, of the square matrix that W is cut out of for the "
    "cell jordan, of the matrix whose eigenvalues are taken for the cell linear_diagonal"
)
_LOG = "log10 of a norm"
_PROFILE: Dims = ("layer", "direction", "lag")
_MATRIX: Dims = ("layer", "direction", "gate")
_EACH: Dims = ("update",)  # where cases are trained
_TRAINED_PROFILE: Dims = ("update", *_PROFILE)

_ALL = (
    Variable(
        "log10_state_gradient_norm",
        "adjoint norm of the state",
        _LOG,
        _FROBENIUS.format("hidden units", "dL/dh, the adjoint of the hidden state"),
        _TRAINED_PROFILE,
    ),
    Variable(
        "log10_memory_gradient_norm",
        "adjoint norm of the memory",
        _LOG,
        _FROBENIUS.format("hidden units", "dL/dc, the adjoint of the memory cell; NaN for cells without one"),
        _PROFILE,
    ),
    Variable(
        "log10_preactivation_gradient_norm",
        "adjoint norm of the pre-activations",
        _LOG,
        _FROBENIUS.format("row blocks, hidden units", "dL/dz, the adjoint of the pre-activations"),
        _PROFILE,
    ),
    Variable(
        "log10_weight_gradient_norm",
        "norm of one time step's weight gradient",
        _LOG,
        "log10 of the Frobenius norm of the share of dL/dW (W: recurrent weights of all row blocks, or the "
        "elementwise parameters of a cell without any; summed over the batch) that comes from the time step "
        "`lag` steps before the last look; zero where the state before it is, or has underflowed",
        _PROFILE,
    ),
    Variable(
        "mean_log10_sample_gradient_norm",
        "mean log adjoint norm of a sample",
        _LOG,
        f"mean over the batch {_SAMPLE} (the loss of that sample alone, not divided by the batch)",
        _PROFILE,
    ),
    Variable(
        "std_log10_sample_gradient_norm",
        "spread of the log adjoint norm over samples",
        _LOG,
        f"standard deviation over the batch (divisor: the number of samples) {_SAMPLE}; +inf where some are "
        "zero and others are not",
        _PROFILE,
    ),
    Variable(
        "saturation",
        "mean derivative of the activation",
        "1",
        "mean over hidden units and batch of phi'(z), the activation's derivative at the pre-activations (at "
        "those of gates the logistic function's): near 0 the units are saturated",
        _TRAINED_PROFILE,
    ),
    Variable(
        "log10_path_gradient_norm",
        "adjoint norm by path",
        _LOG,
        "log10 of the Frobenius norm over hidden units and batch of the adjoint of the memory (dL/dc; dL/dh "
        "for cells whose state itself is gated), split into what came through the memory alone (elementwise "
        "factors only, from the loss on), the rest, and the total, at the time step `lag` steps before the "
        "last look; without any clipping; NaN for cells that are not gated",
        ("layer", "direction", "path", "lag"),
    ),
    Variable(
        "log10_credit_norm",
        "norm of the credit of a state for a later loss",
        _LOG,
        "log10 of the Frobenius norm over hidden units and batch of dL_t/dh_(t-lag), the adjoint of the "
        "forward state of the layer nearest the loss, with respect to the loss of the time step "
        "t = `loss_time` alone (mean over the batch), without any clipping",
        ("loss_time", "lag"),
    ),
    Variable(
        "log10_online_gradient_norm",
        "norm of the gradient formed at a time step",
        _LOG,
        "log10 of the Euclidean norm over all parameters of the contribution to the gradient that an online "
        "learner forms at this time step",
        ("time",),
    ),
    Variable(
        "log10_gradient_norm",
        "norm of the parameter gradient",
        _LOG,
        "log10 of the Euclidean norm over all parameters of dL/dtheta, with the regulariser's share, as the "
        "learner makes it ('kalman' makes none: as full back-propagation does) before any clipping, of the "
        "gradient or of adjoints",
        _EACH,
    ),
    Variable(
        "log10_clipped_gradient_norm",
        "norm of the parameter gradient after clipping",
        _LOG,
        "log10 of the Euclidean norm over all parameters of the gradient after clipping: as a rule of scope "
        "parameters leaves it, or made of the adjoints that a rule of scope adjoint leaves",
        _EACH,
    ),
    Variable(
        "clip_factor",
        "norm after clipping over norm before",
        "1",
        "Euclidean norm over all parameters of the gradient after clipping divided by that before; "
        "1 where nothing was clipped, infinite where the gradient was not finite",
        _EACH,
    ),
    Variable(
        "clip_angle",
        "turn of the gradient by clipping",
        "rad",
        "angle between the parameter gradients before and after clipping; 0 where only the length changed, "
        "+inf where a run diverged",
        _EACH,
    ),
    Variable(
        "cosine_to_bptt",
        "cosine to the full gradient",
        "1",
        "cosine of the angle between the learner's parameter gradient and that of full back-propagation "
        "through time",
    ),
    Variable(
        "learner_bias",
        "bias of the learner",
        "1",
        "Euclidean norm over all parameters of the mean over the learner's draws of its gradient minus that "
        "of full back-propagation through time, over the norm of the latter",
    ),
    Variable(
        "learner_spread",
        "spread of the learner",
        "1",
        "square root of the mean over the learner's draws of the squared Euclidean distance, over all "
        "parameters, of its gradient from their mean, over the norm of the gradient of full back-propagation "
        "through time; 0 for learners that draw nothing",
    ),
    Variable(
        "loss",
        "loss",
        "1",
        "the task's loss: mean over the batch, sum over the time steps looked at, each with the task's own "
        "weight if it has any; infinite beyond the range",
        _EACH,
    ),
    Variable(
        "growth_rate",
        "growth rate of the adjoint",
        "decades per time step",
        "least-squares slope against lag of mean_log10_sample_gradient_norm (of the layer nearest the loss, "
        "forward in time), lags where a sample has no gradient left out: negative vanishes towards the past, "
        "positive explodes; 0 for a single time step, -inf where one lag alone has a gradient",
    ),
    Variable(
        "growth_rate_standard_error",
        "standard error of the growth rate",
        "decades per time step",
        "standard error of the least-squares slope growth_rate, as if the residuals at different lags were "
        "independent",
    ),
    Variable(
        "regime",
        "regime of the gradient",
        "1",
        "the sign of growth_rate where it is further from 0 than twice its standard error (and 1e-12), else "
        "stable; undetermined where there is no rate, as in cases that did not run",
        dtype="int8",
        fill=REGIME["undetermined"],
        flags=REGIME,
    ),
    Variable(
        "radius_drawn",
        "spectral radius of the matrix drawn",
        "1",
        "largest absolute eigenvalue of the recurrent matrix (of each row block) as drawn for this case"
        + _DRAWN,
        _MATRIX,
    ),
    Variable(
        "norm_drawn",
        "spectral norm of the matrix drawn",
        "1",
        "largest singular value of the recurrent matrix (of each row block) as drawn for this case" + _DRAWN,
        _MATRIX,
    ),
    Variable(
        "henrici_departure",
        "departure from normality",
        "1",
        "Henrici's departure from normality of the recurrent matrix (of each row block) as drawn, over its "
        "Frobenius norm: sqrt(|W|_F^2 - sum |eigenvalue|^2) / |W|_F; 0: normal, 1: nilpotent" + _DRAWN,
        _MATRIX,
    ),
    Variable(
        "status",
        "status of the case",
        "1",
        "what became of the case; a value that is NaN or infinite means what this says",
        dtype="int8",
        fill=STATUS["not_run"],
        flags=STATUS,
    ),
    Variable(
        "first_overflow",
        "first time step that overflowed",
        "time step",
        "index, from 0, of the first time step at which a state, or the slope of the loss, was not finite: "
        "the least of those of all layers and directions, each first in its own order; -1: none. From there "
        "on that layer's states are held at zero",
        dtype="int64",
        fill=-1,
    ),
    Variable(
        "settings_key",
        "key of the settings",
        "1",
        "digest of all settings that determine the case; empty where the point is not of the sweep",
        dtype="text",
        fill="",
    ),
    Variable(
        "code_key",
        "fingerprint of the code",
        "1",
        "fingerprint of the numerical code that measured the case or is to measure it; empty where it is not "
        "known, or the point is not of the sweep",
        dtype="text",
        fill="",
    ),
    Variable(
        "case_key",
        "content key of the case",
        "1",
        "digest of everything that determines the case, settings and code; empty where the point is not of "
        "the sweep",
        dtype="text",
        fill="",
    ),
)
VARIABLES: dict[str, Variable] = {variable.name: variable for variable in (*LANDSCAPE, *TRAINING, *_ALL)}
