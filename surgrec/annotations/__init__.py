"""Annotations: labels of videos, read from files of any layout through a mapping.

Example:
    >>> read_labels([LabelFiles(paths=(Path("2024-017.csv"),), mapping=PLAIN)]).labels[0]
    Label(task='phase', start_s=0.0, end_s=95.5, value='dissection')
"""

from surgrec.annotations._labels import NONE_PRESENT, Label, VideoClock, VideoLabels
from surgrec.annotations._mapping import (
    PLAIN,
    Grammar,
    LabelFiles,
    LabelMapping,
    Track,
    fill,
    numbers_as_text,
    parse_mapping,
    read_mapping,
)
from surgrec.annotations._read import read_column, read_labels

__all__ = [
    "NONE_PRESENT",
    "PLAIN",
    "Grammar",
    "Label",
    "LabelFiles",
    "LabelMapping",
    "Track",
    "VideoClock",
    "VideoLabels",
    "fill",
    "numbers_as_text",
    "parse_mapping",
    "read_column",
    "read_labels",
    "read_mapping",
]
