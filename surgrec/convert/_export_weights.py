"""Our encoders as files of other projects. What a format cannot hold faithfully is refused; license and provenance travel along."""

import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from surgrec.convert._checkpoint_file import (
    CARD_FILE,
    CONFIG_FILE,
    NOTE,
    STATE_DICT_FACTS,
    WEIGHTS_FILE,
)
from surgrec.convert._model_card import FolderFormat, model_card
from surgrec.convert._pretrained import Pretrained
from surgrec.convert._surgrec_release import surgrec_content
from surgrec.convert._timm import timm_model
from surgrec.convert._videomae import videomae_content
from surgrec.convert._vjepa_write import vjepa_content
from surgrec.convert.hf_videomae import hf_videomae_model, videomae_processor
from surgrec.convert.hf_vjepa2 import hf_vjepa2_model, vjepa2_processor
from surgrec.errors import CheckpointError
from surgrec.models import State
from surgrec.models.encoder_file import unshared_on_cpu

ExportFormat: TypeAlias = Literal["hf", "timm", "vjepa", "videomae", "surgrec"]

_ENTRIES = {"vjepa": vjepa_content, "videomae": videomae_content, "surgrec": surgrec_content}


def export_weights(
    weights: Pretrained,
    format_name: ExportFormat,
    out: Path,
    provenance: Mapping[str, Any],
    license: str | None,
    *,
    with_decoder: bool = False,
) -> str:
    """Writes weights as another project reads them: a folder for hf and timm, else a PyTorch file; complete or not at all.

    Args:
        weights: What to write.
        format_name: For whom.
        out: The folder or file, which must not be there yet.
        provenance: JSON values: what the weights were trained on and from.
        license: That of the weights that these were started from; None where there is none.
        with_decoder: Write an MAE's decoder for hf too. `AutoModel` has no place for it and says so; `AutoModelForPreTraining`
            has.

    Returns:
        What was written, for a reader: `encoder and predictor`.

    Raises:
        ConfigError: The format has no such encoder; the reason is named.
        CheckpointError: It cannot be written, or is there already.
    """
    if out.exists():
        raise CheckpointError(f"{out} is there already; remove it, or choose another --out")
    if format_name == "timm" or (
        format_name == "surgrec" and weights.encoder.config.positions != "sincos"
    ):
        weights = replace(weights, predictor=None, decoder=None)  # these have no place for one
    if format_name == "hf" and not with_decoder:
        weights = replace(weights, decoder=None)
    facts = {"provenance": dict(provenance), "license": license}
    partial = out.with_name(out.name + ".partial")
    try:
        if format_name in ("hf", "timm"):
            files, tensors, model = _folder(weights, format_name)
            card = model_card(model, weights, facts)
            partial.mkdir(parents=True)
            for name, content in files.items():
                (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            (partial / CARD_FILE).write_text(card, encoding="utf-8")
            metadata = {"format": "pt", NOTE: json.dumps(facts, sort_keys=True)}
            save_file(unshared_on_cpu(tensors), partial / WEIGHTS_FILE, metadata=metadata)
        else:
            entries = {
                name: unshared_on_cpu(tensors)
                for name, tensors in _ENTRIES[format_name](weights).items()
            }
            partial.parent.mkdir(parents=True, exist_ok=True)
            note = json.dumps(facts, sort_keys=True)
            bare = (
                weights.remainder is not None
                and weights.remainder.bare
                and weights.remainder.format == format_name
            )
            torch.save(_bare_content(entries, note) if bare else {**entries, NOTE: note}, partial)
        for file in partial.iterdir() if partial.is_dir() else [partial]:
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
            file.chmod(0o644)
        partial.rename(out)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{out}: cannot be written ({error}); make room or choose another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(
            missing_ok=True
        )
    return weights.contents


def _bare_content(entries: Mapping[str, State], note: str) -> Mapping[str, Any]:
    """The tensors of the one entry. The note is where PyTorch keeps the facts about a state dict, since `load_state_dict` would
    refuse one more name.
    """
    (tensors,) = entries.values()
    content = OrderedDict(tensors)
    setattr(content, STATE_DICT_FACTS, {NOTE: note})
    return content


def _folder(
    weights: Pretrained, format_name: Literal["hf", "timm"]
) -> tuple[dict[str, dict[str, Any]], State, FolderFormat]:
    """The JSON files of a folder, its tensors, and which model it is of."""
    encoder = weights.encoder.config
    if format_name == "timm":
        config, tensors = timm_model(weights)
        return {CONFIG_FILE: config}, tensors, "timm"
    if encoder.positions == "sincos":
        config, tensors = hf_videomae_model(weights)
        return (
            {CONFIG_FILE: config, "preprocessor_config.json": videomae_processor(encoder)},
            tensors,
            "hf-videomae",
        )
    config, tensors = hf_vjepa2_model(weights)
    return (
        {CONFIG_FILE: config, "video_preprocessor_config.json": vjepa2_processor(encoder)},
        tensors,
        "hf-vjepa2",
    )
