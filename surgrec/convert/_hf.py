"""Convert Hugging Face folders: choose the model by `model_type` or by the encoder's positions."""

from collections.abc import Callable

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._converter import Converter, ModelFolder
from surgrec.convert._pretrained import ImportOptions, Pretrained
from surgrec.convert.hf_videomae import read_hf_videomae, write_hf_videomae
from surgrec.convert.hf_vjepa2 import read_hf_vjepa2, write_hf_vjepa2
from surgrec.errors import CheckpointError

READERS: dict[str, Callable[[CheckpointFile, ImportOptions], Pretrained]] = {
    "vjepa2": read_hf_vjepa2,
    "videomae": read_hf_videomae,
}
"""Readers by `model_type` of config.json."""


def _matches(file: CheckpointFile) -> bool:
    return file.config is not None and "architecture" not in file.config


def _read(file: CheckpointFile, options: ImportOptions) -> Pretrained:
    if file.config is None:
        raise CheckpointError(f"{file.name} has no config.json; give a folder with one")

    model_type = file.config.get("model_type")
    if not isinstance(model_type, str) or model_type not in READERS:
        raise CheckpointError(
            f"{file.name}: 'model_type' in config.json is {model_type!r}; give a folder whose "
            f"model type is {' or '.join(READERS)}"
        )
    return READERS[model_type](file, options)


def _write(weights: Pretrained) -> ModelFolder:
    flat_sinusoids = weights.encoder.config.positions == "sincos"
    return write_hf_videomae(weights) if flat_sinusoids else write_hf_vjepa2(weights)


HF = Converter(matches=_matches, read=_read, write=_write, decoder_on_request=True)
