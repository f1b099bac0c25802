"""Weights on disk that a run can start from, whichever kind of file or folder holds them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from surgrec.convert import (
    ImportFormat,
    ImportOptions,
    Pretrained,
    checkpoint_sha256,
    read_external,
)
from surgrec.errors import CheckpointError
from surgrec.models import ENCODER_FILE
from surgrec.models.encoder_file import is_encoder_file
from surgrec.storage import file_sha256
from surgrec.training._run_weights import read_saved_weights

WeightsKind: TypeAlias = Literal["run", "encoder file", "external"]


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file or folder of weights, and its kind. From `open_weights`."""

    path: Path
    """The file or folder."""

    kind: WeightsKind
    """Folder of a run, an encoder file, or a file or folder in another project's format."""

    def sha256(self) -> str:
        """Return the digest of the weights, as `Origin.sha256` records it."""
        if self.kind == "run":
            return file_sha256(self.path / ENCODER_FILE)
        return checkpoint_sha256(self.path)

    def read(self, format: ImportFormat, options: ImportOptions) -> Pretrained:
        """Return all weights.

        Args:
            format: Format of an external file, or `auto` to detect it.
            options: Facts that an external file does not store, and the license.

        Raises:
            CheckpointError: The file is missing or damaged, or does not have the format.
        """
        if self.kind == "external":
            return read_external(self.path, format, options)

        if format != "auto":
            raise CheckpointError(
                f"{self.path} is {'a run' if self.kind == 'run' else 'an encoder file'} of "
                f"SurgRec, not a file of format {format}; remove init_format"
            )
        weights = read_saved_weights(self.path).weights
        if options.license is None:
            return weights
        origin = replace(weights.origin, license=options.license, license_from="given")
        return replace(weights, origin=origin)


def open_weights(path: Path) -> WeightsFile:
    """Determine the kind of a file or folder of weights. No other function does."""
    kind: WeightsKind = "external"
    if (path / ENCODER_FILE).is_file():
        kind = "run"
    elif path.is_file() and is_encoder_file(path):
        kind = "encoder file"
    return WeightsFile(path=path, kind=kind)
