"""Evaluation splits: a file with rules over the cases of a corpus, to read and to cite.

Example:
    >>> split = read_split(Path("recipes/splits/phantom_phases.yaml"))
    >>> divide(split, corpus_videos(open_corpus(["/data/corpus"]))).train[0].case
    '4f0c...'
"""

from surgrec.splits._patterns import some_of
from surgrec.splits._read import is_split_file, read_split
from surgrec.splits._rules import CaseVideo, Parts, Rule, Split, SplitKind
from surgrec.splits._select import choose, corpus_videos, divide, values_in_index

__all__ = [
    "CaseVideo",
    "Parts",
    "Rule",
    "Split",
    "SplitKind",
    "choose",
    "corpus_videos",
    "divide",
    "is_split_file",
    "read_split",
    "some_of",
    "values_in_index",
]
