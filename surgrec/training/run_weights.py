"""The weights of a run or of an encoder file of ours, with what they were trained on and from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from surgrec.convert import Component, Origin, Pretrained, load_pretrained
from surgrec.models import ENCODER_FILE, DecoderConfig, PredictorConfig, encoder_provenance
from surgrec.storage import file_sha256
from surgrec.training.checkpoint import Checkpoints


@dataclass(frozen=True, kw_only=True)
class OwnWeights:
    """Weights that SurgRec saved."""

    weights: Pretrained
    provenance: dict[str, Any]
    """What they were trained on and from."""


def read_own(path: Path) -> OwnWeights:
    """All that a file has; of a run, the encoder and what its checkpoint of the same step has beside it.

    Raises:
        CheckpointError: The encoder file or the checkpoint is missing or damaged.
    """
    file = path / ENCODER_FILE if path.is_dir() else path
    provenance = encoder_provenance(file)
    started = provenance.get("init_from") or {}
    origin = Origin(
        name=path.absolute().name,
        sha256=file_sha256(file),
        format="surgrec-encoder",
        key=None,
        license=started.get("license"),
        license_from=started.get("license_from"),
        init_from=started or None,
    )
    weights = load_pretrained(file, origin)
    checkpoints = Checkpoints(path, keep=1)
    step = provenance.get("step", 0)
    if path.is_dir() and step in checkpoints.steps():
        trained = checkpoints.tensors(step, "objective")
        weights = _with_trained(weights, trained, provenance["config"]["objective"])
    return OwnWeights(weights=weights, provenance=provenance)


def _with_trained(
    weights: Pretrained, trained: Mapping[str, Tensor], config: Mapping[str, Any]
) -> Pretrained:
    """The weights, with the trained half of the run."""
    predictor, decoder = _part(trained, "predictor."), _part(trained, "decoder.")
    # Runs of before there was this choice have a mask token for each mask configuration.
    sizes = {"shared_mask_token": False, **config.get("predictor", {})}
    return replace(
        weights,
        context_encoder=_part(trained, "encoder.") or None,
        predictor=Component(config=PredictorConfig(**sizes), state=predictor)
        if predictor
        else None,
        decoder=Component(config=DecoderConfig(**config["decoder"]), state=decoder)
        if decoder
        else None,
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
