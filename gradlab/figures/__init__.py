"""Figures: one file each; `registry` knows them by name.

An entry takes a labelled dataset and gives a matplotlib Figure. Nothing here touches pyplot or
leaves a global setting behind.
"""

from gradlab.figures._base import AbstractFigure, draw_all, registry

__all__ = ["AbstractFigure", "draw_all", "registry"]
