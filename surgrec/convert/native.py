"""All weights of a foreign file in one encoder file of ours, as `load_encoder` reads it: what is beside the encoder is a part.

A part's tensors stand under its name: `predictor.mask_tokens`. Every tensor keeps its type, so that an export gives the same bits.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from surgrec.cli import from_plain
from surgrec.convert._key_map import check_complete
from surgrec.convert._pretrained import Component, ExtraTensors, Origin, Pretrained
from surgrec.convert._shapes import blank_decoder, blank_encoder, blank_predictor, require_tensor
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import DecoderConfig, EncoderConfig, PredictorConfig, State
from surgrec.models.encoder_file import encoder_config, read_encoder_file, write_encoder_file

_PARTS = ("context_encoder", "predictor", "decoder", "remainder")


def save_pretrained(weights: Pretrained, path: Path, provenance: Mapping[str, Any]) -> None:
    """Writes weights with all their parts, complete under the name or not at all.

    Args:
        weights: As a file of another project was read.
        path: A `.safetensors` file; one that is there is replaced.
        provenance: JSON values: where the weights come from.

    Raises:
        CheckpointError: The file cannot be written.
    """
    facts: dict[str, Any] = {}
    states: dict[str, State] = {}
    if weights.context_encoder is not None:
        facts["context_encoder"], states["context_encoder"] = {}, weights.context_encoder
    if weights.predictor is not None:
        facts["predictor"], states["predictor"] = (
            asdict(weights.predictor.config),
            weights.predictor.state,
        )
    if weights.decoder is not None:
        facts["decoder"], states["decoder"] = asdict(weights.decoder.config), weights.decoder.state
    if weights.remainder is not None:
        facts["remainder"] = {
            field.name: getattr(weights.remainder, field.name)
            for field in fields(ExtraTensors)
            if field.name != "tensors"
        }
        states["remainder"] = weights.remainder.tensors
    tensors = dict(weights.encoder.state)
    for part, state in states.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in state.items()}
    write_encoder_file(path, weights.encoder.config, tensors, provenance, facts)


def load_pretrained(path: Path, origin: Origin) -> Pretrained:
    """The weights of a file that `save_pretrained` or `save_encoder` wrote, on the CPU, in the types that they are stored in.

    Args:
        path: The file.
        origin: Where the weights come from, as far as this file goes.

    Raises:
        CheckpointError: The file is missing or damaged, is no encoder of ours, or its tensors do not fit its configs.
    """
    header, tensors = read_encoder_file(path, "all")
    config, facts = encoder_config(header, path), header.get("parts", {})
    parts = {name: _part(tensors, name) for name in _PARTS if name in facts}
    encoder = {
        name: tensor for name, tensor in tensors.items() if name.partition(".")[0] not in parts
    }
    check_complete(encoder, blank_encoder(config), str(path))
    if "context_encoder" in parts:
        check_complete(parts["context_encoder"], blank_encoder(config), f"{path}, context_encoder")
    try:
        return Pretrained(
            origin=origin,
            encoder=Component(config=config, state=encoder),
            context_encoder=parts.get("context_encoder"),
            predictor=_predictor(facts["predictor"], parts["predictor"], config, path)
            if "predictor" in parts
            else None,
            decoder=_decoder(facts["decoder"], parts["decoder"], config, path)
            if "decoder" in parts
            else None,
            remainder=ExtraTensors(**facts["remainder"], tensors=parts["remainder"])
            if "remainder" in parts
            else None,
        )
    except (ConfigError, TypeError) as error:
        raise CheckpointError(
            f"{path}: its parts cannot be used ({error}); it needs another version"
        ) from error


def _predictor(
    facts: Any, state: State, encoder: EncoderConfig, path: Path
) -> Component[PredictorConfig]:
    config = from_plain(PredictorConfig, facts, str(path))
    num_mask_tokens = len(require_tensor(state, "mask_tokens", 2, f"{path}, predictor"))
    check_complete(state, blank_predictor(config, encoder, num_mask_tokens), f"{path}, predictor")
    return Component(config=config, state=state)


def _decoder(
    facts: Any, state: State, encoder: EncoderConfig, path: Path
) -> Component[DecoderConfig]:
    config = from_plain(DecoderConfig, facts, str(path))
    check_complete(state, blank_decoder(config, encoder), f"{path}, decoder")
    return Component(config=config, state=state)


def _part(tensors: State, name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
