"""Read the weights that SurgRec saved: a run, or an encoder file, with provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from surgrec.convert import Component, Origin, Pretrained, check_networks, load_pretrained
from surgrec.errors import CheckpointError
from surgrec.json_files import typed
from surgrec.models import DecoderConfig, PredictorConfig, encoder_provenance
from surgrec.models.encoder_file import find_encoder_file
from surgrec.runs import RunFiles
from surgrec.storage import file_sha256
from surgrec.training._checkpoint import Checkpoints

HeadConfig = TypeVar("HeadConfig")


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
        MissingError: The run or the file does not exist, or the run has not saved an encoder yet.
        CheckpointError: The encoder file or the checkpoint is damaged.
    """
    file = find_encoder_file(path)
    steps = RunFiles(path).checkpoint_steps()
    provenance = encoder_provenance(file)
    RunFiles(path).require_newest(provenance, steps)
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
        weights = _with_objective(weights, tensors, provenance, f"{file}, provenance")
        check_networks(weights, f"{checkpoints.folder}, step {step}")

    return SavedWeights(weights=weights, provenance=provenance)


def _with_objective(
    weights: Pretrained, tensors: Mapping[str, Tensor], provenance: Mapping[str, Any], context: str
) -> Pretrained:
    """Return the weights with the trained encoder and the head from an objective's tensors."""
    config = provenance.get("config", {}).get("objective", {})
    # Runs created before `shared_mask_token` existed have one mask token per mask configuration.
    older = {"shared_mask_token": False}
    return replace(
        weights,
        context_encoder=_with_prefix(tensors, "encoder.") or None,
        predictor=_head(PredictorConfig, config, tensors, "predictor", context, older),
        decoder=_head(DecoderConfig, config, tensors, "decoder", context, {}),
    )


def _head(
    kind: type[HeadConfig],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    context: str,
    defaults: Mapping[str, Any],
) -> Component[HeadConfig] | None:
    """Return a head of an objective, or None if it has no tensors."""
    state = _with_prefix(tensors, f"{name}.")
    if not state:
        return None

    fields = typed(
        config.get(name, {}), dict, context, error=CheckpointError, remedy="copy the file again"
    )

    return Component(
        config=typed(
            {**defaults, **fields},
            kind,
            f"{context}, {name}",
            error=CheckpointError,
            remedy="use the version of SurgRec that trained the run, or copy the file again",
        ),
        state=state,
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
