"""The JSON schema of a spec, for editors and for the curious."""

from __future__ import annotations

from typing import Any

from gradlab.core.registry import Registry
from gradlab.experiment import sections
from gradlab.experiment.tables import Table
from gradlab.network.settings import DEFAULTS


def complete(schema: Table) -> None:
    """Fill in, in place, what the model cannot say of itself: names of the catalogues and forms of axes."""
    schema["properties"].update(_sections())
    axis = {
        "description": "values of the setting with this dotted key",
        "anyOf": [
            {"type": "array", "minItems": 1},
            {
                "type": "object",
                "properties": {
                    "start": {"type": "number"},
                    "stop": {"type": "number"},
                    "num": {"type": "integer", "minimum": 1},
                    "step": {"type": "number"},
                    "logspace": {"type": "boolean", "default": False},
                },
                "required": ["start", "stop"],
                "additionalProperties": False,
            },
        ],
    }
    table = {
        "type": "object",
        "properties": {
            "zip": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
            "where": {
                "type": "string",
                "description": "filter on axis values, as in: radius < 1.2 and length in [25, 50]",
            },
            "rename": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "additionalProperties": axis,
    }
    schema["properties"]["sweep"] = {
        "anyOf": [table, {"type": "array", "items": table}],
        "description": "product of axes; several tables are united",
    }


def _sections() -> dict[str, Table]:
    """Return the JSON schema of each section: names of the catalogues, and the settings of a network."""

    def entry(catalogue: Registry[Any]) -> Table:
        names = {"enum": catalogue.names(), "description": f"name of a {catalogue.kind}"}
        table = {"type": "object", "properties": {"name": names}, "required": ["name"]}
        return {
            "anyOf": [names, table],
            "description": f"{catalogue.kind}: its name, or a table with name and settings",
        }

    network: Table = {key: {"default": default} for key, default in DEFAULTS.items()}
    network["hidden"] |= {"type": "integer", "minimum": 1, "description": "number of hidden units"}
    network["dtype"] |= {"enum": ["float64", "float32"], "description": "precision of states and adjoints"}
    for key in sections.names_in("network"):
        network[key] |= entry(sections.CATALOGUES[f"network.{key}"])
    blocks = "object of one spectrum for each row block of the cell"
    network["spectrum"]["anyOf"].append({"type": "object", "description": blocks})
    return {
        "network": {"type": "object", "properties": network, "additionalProperties": False},
        "task": entry(sections.CATALOGUES["task"]),
        "clip": entry(sections.CATALOGUES["clip"]),
        "learner": entry(sections.CATALOGUES["learner"]),
        "training": {"type": "object", "description": 'how cases are trained, for measure = "train"'},
        "landscape": {"type": "object", "description": 'the plane of measure = "landscape"'},
    }
