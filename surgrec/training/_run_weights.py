"""Read the weights that SurgRec saved: a run, or an encoder file, with provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from surgrec.convert import Component, Origin, Pretrained, load_pretrained
from surgrec.models import ENCODER_FILE, DecoderConfig, PredictorConfig, encoder_provenance
from surgrec.storage import file_sha256
from surgrec.training._checkpoint import Checkpoints


@dataclass(frozen=True, kw_only=True)
class SavedWeights:
    """Weights that SurgRec saved."""

    weights: Pretrained
    """Encoder, and predictor or decoder if they are stored."""

    provenance: dict[str, Any]
    """Record of how the weights were made."""


def read_saved_weights(path: Path) -> SavedWeights:
    """Read all weights of a run or of an encoder file.

    A run gives its encoder file, and the predictor or decoder from the checkpoint of the same step.

    Args:
        path: Folder of a run, or an encoder file.

    Raises:
        CheckpointError: The encoder file or the checkpoint is missing or damaged.
    """
    file = path / ENCODER_FILE if path.is_dir() else path
    provenance = encoder_provenance(file)
    init_from = provenance.get("init_from") or {}
    origin = Origin(
        name=path.absolute().name,
        sha256=file_sha256(file),
        format="surgrec-encoder",
        key=None,
        license=init_from.get("license"),
        license_from=init_from.get("license_from"),
        init_from=init_from or None,
        drawn=provenance.get("drawn"),
    )
    weights = load_pretrained(file, origin)

    # The encoder file of a run has no head; the checkpoint has.
    checkpoints = Checkpoints(path, keep=1)
    step = provenance.get("step", 0)
    if path.is_dir() and step in checkpoints.steps():
        tensors = checkpoints.tensors(step, "objective")
        weights = _with_objective(weights, tensors, provenance["config"]["objective"])

    return SavedWeights(weights=weights, provenance=provenance)


def _with_objective(
    weights: Pretrained, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> Pretrained:
    """Return the weights with the trained encoder and the head from an objective's tensors."""
    predictor, decoder = _with_prefix(tensors, "predictor."), _with_prefix(tensors, "decoder.")
    # Runs created before `shared_mask_token` existed have one mask token per mask configuration.
    predictor_fields = {"shared_mask_token": False, **config.get("predictor", {})}
    return replace(
        weights,
        context_encoder=_with_prefix(tensors, "encoder.") or None,
        predictor=Component(config=PredictorConfig(**predictor_fields), state=predictor)
        if predictor
        else None,
        decoder=Component(config=DecoderConfig(**config["decoder"]), state=decoder)
        if decoder
        else None,
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
