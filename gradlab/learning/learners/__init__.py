"""Learners, by which parameter gradients are made: one file each; `registry` knows them by name."""

from gradlab.learning.learners._base import AbstractLearner, Made, Work, registry

__all__ = ["AbstractLearner", "Made", "Work", "registry"]
