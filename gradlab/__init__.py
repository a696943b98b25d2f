"""gradlab: how gradients flow back through time in recurrent networks.

>>> import gradlab
>>> ds = gradlab.run({"network": {"hidden": 8}, "task": {"name": "noise", "length": 20}})
>>> ds["growth_rate"].dims
('replicate',)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.api import draw, load_spec, open_archive, run
    from gradlab.core.errors import UserMistake
    from gradlab.experiment.spec import Spec
    from gradlab.trained import probe

__version__ = "0.1.0"
__all__ = ["Spec", "UserMistake", "__version__", "draw", "load_spec", "open_archive", "probe", "run"]

_HOMES = {
    "Spec": "gradlab.experiment.spec",
    "UserMistake": "gradlab.core.errors",
    "draw": "gradlab.api",
    "load_spec": "gradlab.api",
    "open_archive": "gradlab.api",
    "probe": "gradlab.trained",
    "run": "gradlab.api",
}
#: Packages that are used without a spec, as attributes of this one, and what is loaded for each.
_ROOMS = {
    "checking": "gradlab.checking",
    "figures": "gradlab.figures",
    "learning": "gradlab.learning.backward",
    "measure": "gradlab.measure.arrays",
    "network": "gradlab.network.parameters",
    "tasks": "gradlab.tasks",
    "theory": "gradlab.theory",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: the command line must start fast."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        importlib.import_module(_ROOMS[name])
        return importlib.import_module(f"gradlab.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
