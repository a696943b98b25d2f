"""Generation of a waveform out of nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from gradlab.core import streams
from gradlab.core.checks import number, shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.core.gaps import together
from gradlab.tasks._base import registry
from gradlab.tasks._examples import Examples
from gradlab.tasks._generator import AbstractGenerator

LONGEST = 1e9  # time steps: rounding leaves nothing of the variance of much longer ones
HINT = "A wave of two time steps or less cannot be told from a longer one, nor an endless one from none."


@registry.register
@dataclass(frozen=True, kw_only=True)
class Waveform(AbstractGenerator):
    """Bring forth one wave, always the same, with no input or a constant one: a sum of sinusoids.

    Amplitudes fall with the root of the frequency; phases are drawn, one wave for each replicate. It has
    mean 0 and variance 1, so the loss, the mean over all steps, is the share of its variance that is missed.
    Every sample of a batch is the same, so a batch of one does.

    Parameters
    ----------
    periods : tuple of float
        Periods of the sinusoids in time steps.
    drive : float
        The input at every time step; 0: no input.
    length : int
        Time steps; the published waves have 320.

    References
    ----------
    Koutnik, Greff, Gomez & Schmidhuber (2014), A clockwork RNN; the waves there are music.
    """

    name: ClassVar[str] = "waveform"
    learnt: ClassVar[str] = "mse"
    metric: ClassVar[str] = "mean_squared_error"

    at: str | tuple[int, ...] = field(init=False, default="every")
    batch: int = 1
    length: int = 320
    loss: str = "mse"
    periods: tuple[float, ...] = (160.0, 61.0, 23.0, 9.0)
    drive: float = 0.0

    def check(self) -> None:
        """Check the periods and that a wave has a variance."""
        together(lambda: number("drive", self.drive), self._check_periods, self._check_length)

    def _check_periods(self) -> None:
        if not self.periods:
            raise UserMistake(Problem("periods", "at least one period", shown(list(self.periods))))
        periods = tuple(
            number("periods", period, above=2, at_most=LONGEST, hint=HINT) for period in self.periods
        )
        object.__setattr__(self, "periods", periods)

    def _check_length(self) -> None:
        if self.length < 3:
            raise UserMistake(Problem("length", "an integer of at least 3", str(self.length)))

    def sizes(self) -> tuple[int, int]:
        """Return one input and one output."""
        return 1, 1

    def examples(
        self, role: str, number: int, seed: int, replicate: int, samples: int | None = None
    ) -> Examples:
        """Return the wave; role and number do not matter, there is but one."""
        content = {key: value for key, value in self.content().items() if key != "drive"}
        stream = streams.stream(seed, "waveform", content, replicate)
        return self.generate(stream, self.batch if samples is None else samples).frozen()

    def generate(self, stream: np.random.RandomState, samples: int) -> Examples:
        """Return a wave, as many times as asked for."""
        times, wave = np.arange(self.length), np.zeros(self.length)
        for period in self.periods:
            phase = stream.uniform(0, 2 * math.pi)
            wave += math.sqrt(period) * np.sin(2 * math.pi * times / period + phase)
        wave = (wave - wave.mean()) / wave.std()
        targets = np.repeat(wave[:, None, None], samples, axis=2)
        inputs = np.full((self.length, 1, samples), self.drive)
        return Examples(inputs, targets, np.full((self.length, samples), 1 / self.length))

    def chance(self) -> float:
        """Return the wave's variance."""
        return 1.0

    def baselines(self, seed: int, replicate: int) -> dict[str, float]:
        """Return the metric of the wave's mean, told at every step."""
        return {"constant": 1.0}
