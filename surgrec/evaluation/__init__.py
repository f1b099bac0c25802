"""From an encoder to scores on held-out cases, and from runs to a page."""

from surgrec.evaluation.bootstrap import LEVEL
from surgrec.evaluation.results import CLASSIFIER_NAMES, read_evaluations, verdict_sentence
from surgrec.evaluation.scores import METRICS, PRIMARY
from surgrec.evaluation.split import read_split
from surgrec.evaluation.terminal_table import print_evaluation

__all__ = [
    "CLASSIFIER_NAMES",
    "LEVEL",
    "METRICS",
    "PRIMARY",
    "print_evaluation",
    "read_evaluations",
    "read_split",
    "verdict_sentence",
]
