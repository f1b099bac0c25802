"""Save all networks of external weights in one encoder file, and load them again.

`read_encoder` reads the encoder alone. Each other network is a part of the file, whose tensors have
its name as a prefix: `predictor.mask_tokens`. Tensors keep their types, so that an export restores
the same bits.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from surgrec.convert._check_networks import check_networks
from surgrec.convert._pretrained import Component, ExtraTensors, Origin, Pretrained
from surgrec.errors import CheckpointError
from surgrec.json_files import typed
from surgrec.models import DecoderConfig, PredictorConfig, State
from surgrec.models.encoder_file import encoder_config, read_encoder_file, write_encoder_file

_EXTRA = "remainder"
"""Name of the part that holds `ExtraTensors`."""

T = TypeVar("T")

_PARTS = ("context_encoder", "predictor", "decoder", _EXTRA)


def save_pretrained(weights: Pretrained, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write weights with all their networks to an encoder file, atomically.

    Args:
        weights: The weights of an external file.
        path: A `.safetensors` file; an existing one is replaced.
        provenance: JSON values: the source of the weights.

    Raises:
        CheckpointError: The file cannot be written.
    """
    # Facts of each part, for the header, and its tensors.
    facts: dict[str, Any] = {}
    states: dict[str, State] = {}
    if weights.context_encoder is not None:
        facts["context_encoder"], states["context_encoder"] = {}, weights.context_encoder
    for name, head in weights.heads.items():
        facts[name], states[name] = asdict(head.config), head.state
    if weights.extra is not None:
        names = [field.name for field in fields(ExtraTensors) if field.name != "tensors"]
        facts[_EXTRA] = {name: getattr(weights.extra, name) for name in names}
        states[_EXTRA] = weights.extra.tensors

    tensors = dict(weights.encoder.state)
    for part, state in states.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in state.items()}
    write_encoder_file(path, weights.encoder.config, tensors, provenance, facts)


def load_pretrained(path: Path, origin: Origin) -> Pretrained:
    """Load all networks of an encoder file to the CPU, in their stored types.

    Args:
        path: A file of `save_pretrained` or `save_encoder`.
        origin: The source of the weights.

    Raises:
        CheckpointError: The file is missing or damaged, is not an encoder file, or its tensors do
            not fit its configs.
    """
    header, tensors = read_encoder_file(path, "all")
    config, facts = encoder_config(header, path), header.get("parts", {})
    parts = {name: _part(tensors, name) for name in _PARTS if name in facts}

    encoder = {
        name: tensor for name, tensor in tensors.items() if name.partition(".")[0] not in parts
    }
    predictor, decoder, extra = None, None, None
    if "predictor" in parts:
        predictor = Component(
            config=_typed(facts["predictor"], PredictorConfig, path), state=parts["predictor"]
        )
    if "decoder" in parts:
        decoder = Component(
            config=_typed(facts["decoder"], DecoderConfig, path), state=parts["decoder"]
        )
    if _EXTRA in parts:
        extra = replace(_typed(facts[_EXTRA], ExtraTensors, path), tensors=parts[_EXTRA])

    weights = Pretrained(
        origin=origin,
        encoder=Component(config=config, state=encoder),
        context_encoder=parts.get("context_encoder"),
        predictor=predictor,
        decoder=decoder,
        extra=extra,
    )
    check_networks(weights, str(path))
    return weights


def _typed(facts: Any, kind: type[T], path: Path) -> T:
    remedy = "import the original file again"
    return typed(facts, kind, f"{path}, header", error=CheckpointError, remedy=remedy)


def _part(tensors: State, name: str) -> dict[str, Tensor]:
    """Return the tensors of a part, without its prefix."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
