"""Annotations: labels of videos, read from files of any layout through a mapping.

Example:
    >>> read_labels([LabelFiles(paths=(Path("phases/2024-017.csv"),))]).labels[0]
    Label(task='phase', start_s=0.0, end_s=95.5, value='dissection')
"""

from surgrec.annotations._labels import Label, VideoClock, VideoLabels
from surgrec.annotations._mapping import (
    PLAIN,
    Grammar,
    LabelFiles,
    LabelMapping,
    Track,
    parse_mapping,
    read_mapping,
)
from surgrec.annotations._read import read_labels, values_of_column

__all__ = [
    "PLAIN",
    "Grammar",
    "Label",
    "LabelFiles",
    "LabelMapping",
    "Track",
    "VideoClock",
    "VideoLabels",
    "parse_mapping",
    "read_labels",
    "read_mapping",
    "values_of_column",
]
