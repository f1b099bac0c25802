"""Record the origin of weights: file, format, license, and the entries that are not used."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from surgrec.convert._checkpoint_file import NAME_THE_FORMAT, NOTE, CheckpointFile
from surgrec.convert._pretrained import (
    NO_LICENSE_STATED,
    ImportOptions,
    LicenseSource,
    Origin,
    SkippedTensors,
)
from surgrec.convert._pretraining import stated_pretraining
from surgrec.errors import CheckpointError


def origin_of(
    file: CheckpointFile,
    format_name: str,
    options: ImportOptions,
    published_license: str | None,
    *,
    key: str | None = None,
    left_out: Sequence[SkippedTensors] = (),
) -> Origin:
    """Return the origin of a file's weights.

    The license is the first known of: the user's, the note's, the model card's, the publisher's.

    Args:
        file: The file.
        format_name: The format that was read.
        options: Holds the license that the user gave.
        published_license: License of the project that publishes files of this format.
        key: The entry that the encoder was read from.
        left_out: Entries that are not used.
    """
    license, source = _license(file, options, published_license)
    provenance = file.note["provenance"] if file.note else {}

    return Origin(
        name=file.name,
        sha256=file.sha256,
        format=format_name,
        key=key,
        license=license,
        license_from=source,
        left_out=tuple(left_out),
        init_from=provenance.get("init_from"),
        drawn=provenance.get("drawn"),
        pretraining=stated_pretraining(file, format_name, options),
    )


def _license(
    file: CheckpointFile, options: ImportOptions, published: str | None
) -> tuple[str | None, LicenseSource | None]:
    if options.license:
        return options.license, "given"
    if file.note:
        return file.note["license"], "note"  # None for weights that were trained from scratch
    if file.license:
        return NO_LICENSE_STATED if file.license == "unknown" else file.license, "model card"
    return published, "format" if published else None


def skipped_entries(
    content: Mapping[str, Any], used: Collection[str], reasons: Mapping[str, str], context: str
) -> list[SkippedTensors]:
    """Return the top-level entries of a file that are not used.

    Args:
        content: The file's entries.
        used: Entries whose tensors are used or kept.
        reasons: Why an entry with tensors is skipped, by its name.
        context: The file, for the error.

    Raises:
        CheckpointError: An entry with tensors is in neither `used` nor `reasons`.
    """
    skipped = []
    for name, value in content.items():
        if name in used:
            continue

        tensors = _count_tensors(value)
        if tensors and name not in reasons:
            raise CheckpointError(
                f"{context}: the entry '{name}' holds tensors ({tensors}), and this format has no "
                f"such entry; {NAME_THE_FORMAT}"
            )
        why = "the note of surgrec export" if name == NOTE else "training metadata"
        skipped.append(SkippedTensors(name=name, why=reasons.get(name, why), tensors=tensors))
    return skipped


def _count_tensors(value: object, counted: set[int] | None = None) -> int:
    """Return the number of tensors in a value, at any depth; a shared part counts once."""
    counted = set() if counted is None else counted
    if id(value) in counted or not isinstance(value, (Tensor, Mapping, list, tuple)):
        return 0
    counted.add(id(value))
    if isinstance(value, Tensor):
        return 1
    items = value.values() if isinstance(value, Mapping) else value
    return sum(_count_tensors(item, counted) for item in items)
