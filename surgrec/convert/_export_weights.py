"""Export weights to another project's format, with their license and provenance."""

import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from surgrec.convert._checkpoint_file import CARD_FILE, NOTE, STATE_DICT_METADATA, WEIGHTS_FILE
from surgrec.convert._converter import ModelFolder, TorchFile
from surgrec.convert._formats import FORMATS, Format
from surgrec.convert._model_card import model_card
from surgrec.convert._pretrained import Pretrained
from surgrec.errors import CheckpointError, reason
from surgrec.models import State
from surgrec.models.encoder_file import unshared_on_cpu


def export_weights(
    weights: Pretrained,
    format_name: Format,
    out: Path,
    provenance: Mapping[str, Any],
    license: str | None,
    *,
    with_decoder: bool = False,
) -> str:
    """Write weights in another project's format, atomically.

    The output is a folder for hf and timm, and a PyTorch file for the other formats.

    Args:
        weights: The weights.
        format_name: The format.
        out: The folder or file to create.
        provenance: JSON values: the data and weights that these were trained on and from.
        license: License of the weights that these were trained from; None if trained from scratch.
        with_decoder: Write an MAE's decoder to hf as well. `AutoModelForPreTraining` loads it;
            `AutoModel` reports its tensors as unexpected.

    Returns:
        The networks that were written, for a reader: `encoder and predictor`.

    Raises:
        ConfigError: The format cannot represent this encoder.
        CheckpointError: `out` exists or cannot be written.

    Example:
        >>> export_weights(weights, "hf", Path("hf"), provenance={}, license="MIT")
        'encoder and predictor'
    """
    if out.exists():
        raise CheckpointError(f"{out} exists already; remove it, or choose another --out")

    converter = FORMATS[format_name]
    if converter.decoder_on_request and not with_decoder:
        weights = replace(weights, decoder=None)
    export = converter.write(weights)
    facts = {"provenance": dict(provenance), "license": license}
    note = json.dumps(facts, sort_keys=True)

    # Write under another name first, so that an interrupted export leaves nothing at `out`.
    partial = out.with_name(out.name + ".partial")
    try:
        if isinstance(export, ModelFolder):
            card = model_card(export, weights.encoder.config, provenance, license)
            _write_folder(partial, export, card, note)
        else:
            partial.parent.mkdir(parents=True, exist_ok=True)
            torch.save(_file_content(export, note), partial)
        _sync_to_disk(partial)
        partial.rename(out)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{out} cannot be written ({reason(error)}); check its folder, or choose another --out"
        ) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
    return " and ".join(["encoder", *export.heads])


def _write_folder(path: Path, export: ModelFolder, card: str, note: str) -> None:
    path.mkdir(parents=True)
    for name, content in export.files.items():
        (path / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (path / CARD_FILE).write_text(card, encoding="utf-8")
    metadata = {"format": "pt", NOTE: note}
    save_file(unshared_on_cpu(export.tensors), path / WEIGHTS_FILE, metadata=metadata)


def _file_content(export: TorchFile, note: str) -> Mapping[str, Any]:
    entries = {name: unshared_on_cpu(tensors) for name, tensors in export.entries.items()}
    return _bare_content(entries, note) if export.bare else {**entries, NOTE: note}


def _bare_content(entries: Mapping[str, State], note: str) -> Mapping[str, Any]:
    """Return the tensors of the only entry.

    The note is in the metadata of the state dict, because `load_state_dict` refuses other entries.
    """
    (tensors,) = entries.values()
    content = OrderedDict(tensors)
    setattr(content, STATE_DICT_METADATA, {NOTE: note})
    return content


def _sync_to_disk(path: Path) -> None:
    """Flush a file, or the files of a folder, to disk, and make them readable to all."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
        file.chmod(0o644)
