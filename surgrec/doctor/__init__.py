"""Find out whether this machine can build, train and evaluate, and name the remedies.

Example:
    >>> [finding.what for finding in examine_machine() if finding.state == "fault"]
    ['ffmpeg']
"""

from surgrec.doctor._corpus import examine_corpus
from surgrec.doctor._finding import Finding
from surgrec.doctor._folder import examine_folder
from surgrec.doctor._machine import examine_machine
from surgrec.doctor._programs import examine_programs

__all__ = [
    "Finding",
    "examine_corpus",
    "examine_folder",
    "examine_machine",
    "examine_programs",
]
