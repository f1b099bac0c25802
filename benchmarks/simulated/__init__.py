"""Populations of simulated cases whose true scores are known, for `coverage.py`.

A case has a difficulty, so the windows of a case resemble each other. Encoders share a part of it.
The scores of a finite population are exact; test sets are drawn from it with replacement.
"""

from benchmarks.simulated.labels import Labels
from benchmarks.simulated.numbers import Skills
from benchmarks.simulated.phases import Phases
from benchmarks.simulated.population import Encoder, Population

__all__ = ["Encoder", "Labels", "Phases", "Population", "Skills"]
