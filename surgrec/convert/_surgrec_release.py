"""Convert files of the SurgRec release: SurgRec-MAE under `model`, SurgRec-JEPA under `encoder`.

The release's fine-tuning script builds VideoMAE's network for any file. It adds VideoMAE's flat
sinusoids unless the file has another table, drops the norm after the last block, and has no rotary
positions. A rotary encoder therefore cannot be exported to it.

Source: the loader of the SurgRec release (arXiv:2603.29966).
"""

from dataclasses import replace

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._converter import Converter, TorchFile
from surgrec.convert._key_map import is_named_tensors
from surgrec.convert._origin import origin_of
from surgrec.convert._pretrained import NON_COMMERCIAL, ImportOptions, Pretrained
from surgrec.convert._videomae import read_videomae, write_videomae
from surgrec.convert._vjepa import read_vjepa
from surgrec.convert._vjepa_names import other_formats
from surgrec.convert._vjepa_write import encoder_entry, write_vjepa
from surgrec.errors import ConfigError

_TABLE, _VJEPA_TABLE = "pos_embed_buffer", "pos_embed"
"""The position table that the fine-tuner reads from a file, and the one that it ignores."""


def _matches(_: CheckpointFile) -> bool:
    """Match nothing: the files look like VideoMAE's and V-JEPA's, so a user names the format."""
    return False


def _read(file: CheckpointFile, options: ImportOptions) -> Pretrained:
    """Read a file of the release.

    Of SurgRec-JEPA the context encoder is taken, as the fine-tuner does, not the target encoder.

    Raises:
        CheckpointError: A tensor is missing, unexpected or of another shape.
    """
    entry = file.content.get("encoder")
    if is_named_tensors(entry):
        tensors = {name.replace(_TABLE, _VJEPA_TABLE): tensor for name, tensor in entry.items()}
        if tensors.keys() != entry.keys():
            options = replace(options, positions="sincos3d")
        renamed = replace(file, content={**file.content, "encoder": tensors})
        weights = read_vjepa(renamed, options, keys=("encoder",))
    else:
        weights = read_videomae(file, options)

    origin = weights.origin
    return replace(
        weights,
        origin=origin_of(
            file,
            f"surgrec-{origin.format}",
            options,
            NON_COMMERCIAL,
            key=origin.key,
            left_out=origin.left_out,
        ),
    )


def _write(weights: Pretrained) -> TorchFile:
    """Return a file for the fine-tuner.

    Raises:
        ConfigError: The encoder's positions are rotary.
    """
    positions = weights.encoder.config.positions
    if positions == "rope":
        raise ConfigError(
            "SurgRec's fine-tuner has no rotary positions and would add VideoMAE's sinusoids "
            "instead, so this encoder's features would differ; "
            f"{other_formats(weights.encoder.config)}"
        )
    if positions == "sincos":
        return replace(write_videomae(weights), bare=False)

    tensors = write_vjepa(weights).entries[encoder_entry(weights)]
    renamed = {name.replace(_VJEPA_TABLE, _TABLE): tensor for name, tensor in tensors.items()}
    return TorchFile(entries={"encoder": renamed})


SURGREC_RELEASE = Converter(matches=_matches, read=_read, write=_write)
