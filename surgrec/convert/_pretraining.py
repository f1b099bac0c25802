"""Names of the data that published weights were trained on, for the audit of evaluations."""

from collections.abc import Mapping
from typing import Any

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._pretrained import ImportOptions
from surgrec.encoders import read_preset
from surgrec.errors import CheckpointError

_PRESETS = {
    "vjepa1": "vjepa1",
    "vjepa2": "vjepa2",
    "vjepa2.1": "vjepa21",
    "hf-vjepa2": "vjepa2",
    "videomae2": "videomaev2",
}
"""Presets of the projects that publish files of a format. VideoMAE v1 publishes files of several
data sets in one format."""
_RELEASE, _PRESET_OF_RELEASE = "surgrec-", "surgrec_jepa"
"""Beginning of the formats of the SurgRec release, whose encoders have the same data."""


def stated_pretraining(
    file: CheckpointFile, format_name: str, options: ImportOptions
) -> Mapping[str, Any] | None:
    """Return the names of the data as a provenance has them; None if they are not known.

    They are those that the user gives, else those of the note of `surgrec export`, else those of
    the project that publishes files of the format.

    Args:
        file: The file.
        format_name: The format that was read.
        options: Holds the names that the user gave.

    Raises:
        CheckpointError: The note is damaged.
    """
    if options.pretraining_data is not None:
        return {"data": list(options.pretraining_data)}
    if file.note:
        return _of_note(file)

    is_release = format_name.startswith(_RELEASE)
    name = _PRESET_OF_RELEASE if is_release else _PRESETS.get(format_name)
    known = read_preset(name).pretraining if name else None
    if known is None or not known.data:
        return None
    return {"data": list(known.data), "has_surgery": known.has_surgery}


def _of_note(file: CheckpointFile) -> Mapping[str, Any] | None:
    provenance: Any = file.note["provenance"] if file.note else {}
    stated: Any = provenance.get("pretraining")
    if stated is None:
        return None
    data = stated.get("data") if isinstance(stated, Mapping) else None
    if not isinstance(data, list) or not all(isinstance(each, str) for each in data):
        raise CheckpointError(
            f"{file.name}: its note states pretraining data that are not a list of names; copy the "
            "file again"
        )
    return dict(stated)
