"""Read weights in any external format."""

from pathlib import Path

from surgrec.convert._check_networks import check_networks
from surgrec.convert._checkpoint_file import read_checkpoint_file
from surgrec.convert._formats import FORMATS, ImportFormat, detect_format
from surgrec.convert._pretrained import ImportOptions, Pretrained
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import ENCODER_SIZES


def read_external(path: Path, format_name: ImportFormat, options: ImportOptions) -> Pretrained:
    """Read the weights of an external file or folder.

    No code in it is executed. Every tensor is either used or listed in `Origin.left_out`.

    Args:
        path: A `.pth`, `.pt`, `.pth.tar` or `.safetensors` file, or a folder with a config.json.
        format_name: The format, or `auto` to detect it.
        options: Facts that the file may lack.

    Raises:
        CheckpointError: The file cannot be read; its format is unknown or ambiguous; a tensor is
            missing, unexpected, of a wrong shape, or not finite; or no encoder has its sizes.

    Example:
        >>> weights = read_external(Path("vitl.pt"), "vjepa", ImportOptions(positions="rope"))
        >>> weights.encoder.config.depth
        24
    """
    file = read_checkpoint_file(path)
    converter = FORMATS[detect_format(file) if format_name == "auto" else format_name]
    try:
        weights = converter.read(file, options)
    except ConfigError as error:
        raise CheckpointError(
            f"{file.name} and the given options do not make a valid encoder: {error}"
        ) from error

    check_networks(weights, file.name)

    if format_name == "auto" and file.note is None and _may_be_surgrec_jepa(weights):
        raise CheckpointError(
            f"{file.name} may be V-JEPA's ViT-L or SurgRec-JEPA, which have the same tensor names "
            "but different licenses and encoder entries; give --format vjepa or --format surgrec "
            "(in a recipe --init_format)"
        )
    return weights


def _may_be_surgrec_jepa(weights: Pretrained) -> bool:
    """Return whether this is a ViT-L in V-JEPA's format, of which SurgRec published one too."""
    large, config = ENCODER_SIZES["large"], weights.encoder.config
    same_size = (config.width, config.depth) == (large["width"], large["depth"])
    return same_size and weights.origin.format in ("vjepa1", "vjepa2")
