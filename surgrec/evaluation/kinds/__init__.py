"""Kinds of tasks: one class, phases over time, several classes, triplets, numbers.

A new kind is a file with a subclass of `TaskKind`, and an entry in `KINDS`. Probes, scores,
verdicts, files, the protocol and the report follow.
"""

from surgrec.evaluation.kinds.classes import Classes, Phases
from surgrec.evaluation.kinds.kind import KindProbe, Outcome, TaskKind
from surgrec.evaluation.kinds.numbers import NumberKind
from surgrec.evaluation.kinds.relaxed import RelaxedName, RelaxedPhases
from surgrec.evaluation.kinds.sets import LabelKind, TripletKind
from surgrec.scores.kinds import KindName, ScopeName

__all__ = [
    "KINDS",
    "KindName",
    "KindProbe",
    "Outcome",
    "RelaxedName",
    "RelaxedPhases",
    "ScopeName",
    "TaskKind",
]

KINDS: dict[KindName, TaskKind] = {
    kind.name: kind for kind in (Classes(), Phases(), LabelKind(), TripletKind(), NumberKind())
}
"""All kinds of tasks, by name."""
