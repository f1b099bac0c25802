"""Score a frozen encoder on held-out cases, beside random weights and chance.

Example:
    >>> task = TaskChoice(corpora=["/data/corpus"], task="phase", split=read_split(path))
    >>> audited = audit(EvaluationConfig(task=task, encoder=EncoderChoice(path=run), out=folder))
    >>> for name, video in extract_features(audited): ...
    >>> print_evaluation(evaluate(audited))
"""

from surgrec.evaluation._online import OnlineProbe, ProbeConfig
from surgrec.evaluation._results import read_evaluations, verdict_sentence
from surgrec.evaluation._run import (
    FEW_SHOT,
    EvaluationConfig,
    audit,
    default_folder,
    evaluate,
    extract_features,
)
from surgrec.evaluation._task import TaskChoice
from surgrec.evaluation._terminal_table import print_evaluation
from surgrec.evaluation.probes import CLASSIFIER_LABELS, PROBES
from surgrec.splits import read_split

__all__ = [
    "CLASSIFIER_LABELS",
    "FEW_SHOT",
    "PROBES",
    "EvaluationConfig",
    "OnlineProbe",
    "ProbeConfig",
    "TaskChoice",
    "audit",
    "default_folder",
    "evaluate",
    "extract_features",
    "print_evaluation",
    "read_evaluations",
    "read_split",
    "verdict_sentence",
]
