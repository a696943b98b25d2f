"""Values and texts of the data in the words of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def text_of(value: object) -> str:
    """Return a coordinate's value as a figure writes it."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float | np.floating) else str(int(value))
    return literal(str(value))


def texts_of(values: NDArray[Any]) -> list[str]:
    """Return the values of a coordinate as a figure writes them, numbers with as many digits as differ."""
    texts = [text_of(value) for value in values]
    if len(set(texts)) < len(texts) and values.dtype.kind == "f":
        return [repr(float(value)) for value in values]
    return texts


def literal(text: str) -> str:
    """Return a text of the data as matplotlib must be told it: a dollar is no mathematics."""
    return text.replace("$", r"\$")


def typeset(words: str) -> str:
    """Return words with the base of their logarithms set low."""
    return words.replace("log10", r"log$_{10}$")
