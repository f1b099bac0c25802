"""The table of formats: a new format is one file with a `Converter` and one entry here."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from surgrec.convert._checkpoint_file import NAME_THE_FORMAT, CheckpointFile
from surgrec.convert._converter import Converter
from surgrec.convert._hf import HF
from surgrec.convert._surgrec_release import SURGREC_RELEASE
from surgrec.convert._timm import TIMM
from surgrec.convert._videomae import VIDEOMAE
from surgrec.convert._vjepa import VJEPA
from surgrec.errors import CheckpointError

Format: TypeAlias = Literal["hf", "timm", "vjepa", "videomae", "surgrec"]

ImportFormat: TypeAlias = Format | Literal["auto"]
"""A format that a user names; `auto` detects it from the file."""

FORMATS: Mapping[Format, Converter] = {
    "hf": HF,
    "timm": TIMM,
    "vjepa": VJEPA,
    "videomae": VIDEOMAE,
    "surgrec": SURGREC_RELEASE,
}
"""Converters by the name of their format, in the order in which they are tried by detection."""


def detect_format(file: CheckpointFile) -> Format:
    """Return the format of a file: the first in `FORMATS` that matches.

    Raises:
        CheckpointError: No format matches.
    """
    for name, converter in FORMATS.items():
        if converter.matches(file):
            return name

    entries = ", ".join(f"'{name}'" for name in list(file.content)[:3]) or "none"
    raise CheckpointError(
        f"{file.name} has an unknown format (first entries: {entries}); {NAME_THE_FORMAT}, "
        "or give the folder with its config.json"
    )
