"""The files of the SurgRec release, and of its fine-tuning script: SurgRec-MAE's under `model`, SurgRec-JEPA's under `encoder`.

The script builds VideoMAE's network whatever the file holds. It adds VideoMAE's flat sinusoids where the file brings no other
table, drops the norm after the last block, and has no rotary positions. So a rotary encoder cannot be given to it.
Source: the loader of the SurgRec release (arXiv:2603.29966).
"""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._key_map import is_named_tensors
from surgrec.convert._pretrained import NON_COMMERCIAL, ImportOptions, Pretrained, origin_of
from surgrec.convert._videomae import read_videomae, videomae_content
from surgrec.convert._vjepa import read_vjepa
from surgrec.convert._vjepa_write import encoder_entry, vjepa_content
from surgrec.errors import ConfigError

TABLE, TABLE_OF_VJEPA = "pos_embed_buffer", "pos_embed"
"""The table of positions that the fine-tuner takes from a file, and the one that it drops."""


def read_surgrec(container: CheckpointFile, options: ImportOptions) -> Pretrained:
    """The weights of a released file. Of SurgRec-JEPA the trained `encoder` is taken, as the fine-tuner does, not its average.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape.
    """
    entry = container.content.get("encoder")
    if not is_named_tensors(entry):
        weights = read_videomae(container, options)
    else:
        tensors = {name.replace(TABLE, TABLE_OF_VJEPA): tensor for name, tensor in entry.items()}
        if tensors.keys() != entry.keys():
            options = replace(options, positions="sincos3d")
        content = {**container.content, "encoder": tensors}
        weights = read_vjepa(replace(container, content=content), options, keys=("encoder",))
    format_name = f"surgrec-{weights.origin.format}"
    origin = origin_of(
        container,
        format_name,
        options,
        NON_COMMERCIAL,
        key=weights.origin.key,
        left_out=weights.origin.left_out,
    )
    return replace(weights, origin=origin)


def surgrec_content(weights: Pretrained) -> dict[str, dict[str, Float[Tensor, "..."]]]:
    """The entries of a file for the fine-tuner.

    Raises:
        ConfigError: The encoder's positions are rotary.
    """
    config = weights.encoder.config
    if config.positions == "rope":
        raise ConfigError(
            "SurgRec's fine-tuner has no rotary positions and would add VideoMAE's sinusoids in their place, so this encoder's "
            "features would be others there; export it as hf or vjepa, or evaluate it with surgrec evaluate"
        )
    if config.positions == "sincos":
        return videomae_content(weights)
    tensors = vjepa_content(weights)[encoder_entry(weights)]
    return {
        "encoder": {name.replace(TABLE_OF_VJEPA, TABLE): tensor for name, tensor in tensors.items()}
    }
