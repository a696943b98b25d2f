"""Learning-rate schedules: one file each; `registry` knows them by name."""

from gradlab.learning.schedules._base import AbstractSchedule, registry

__all__ = ["AbstractSchedule", "registry"]
