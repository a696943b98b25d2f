"""What is done with each case: a catalogue of measures."""

from gradlab.experiment.measures._base import AbstractMeasure, measure_of, names, record_names, section_names

__all__ = ["AbstractMeasure", "measure_of", "names", "record_names", "section_names"]
