"""V-JEPA's checkpoints, written: as they came where they came from one, else as the published files are."""

import torch
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._pretrained import Pretrained
from surgrec.convert._vjepa_names import (
    PREFIX,
    Version,
    encoder_tensors,
    predictor_tensors,
    vjepa_version,
)
from surgrec.models import State
from surgrec.models.positions import TABLE_TOLERANCE

NUM_MASK_TOKENS: dict[Version, int] = {"vjepa1": 0, "vjepa2": 10, "vjepa2.1": 8}
"""How many a published predictor stores at least; version 1 has one for each mask configuration."""


def vjepa_content(weights: Pretrained) -> dict[str, dict[str, Float[Tensor, "..."]]]:
    """The entries of a V-JEPA checkpoint of the version that has this encoder.

    Weights that came from such a file go back under the names and with all that they had there. Others are written as the
    published files are: trained and averaged encoder, and as many mask tokens as those have. There all but the first are zeros;
    here the trained ones fill every slot, since V-JEPA's own loaders predict from the second.

    Raises:
        ConfigError: No version has it.
    """
    config, target = weights.encoder.config, weights.encoder.state
    version = vjepa_version(config)
    remainder = (
        weights.remainder if weights.remainder and weights.remainder.format == "vjepa" else None
    )
    networks: dict[str, dict[str, Tensor]] = {}
    if weights.context_encoder is not None or remainder is None:
        networks["encoder"] = encoder_tensors(weights.context_encoder or target, config)
    entry = encoder_entry(weights)
    networks[entry] = encoder_tensors(target, config)
    if weights.predictor is not None:
        num_mask_tokens = 0 if remainder else NUM_MASK_TOKENS[version]
        networks["predictor"] = predictor_tensors(weights.predictor.state, config, num_mask_tokens)
    for place, tensor in (remainder.tensors if remainder else {}).items():
        network, _, name = place.partition(".")
        _put_back(networks.setdefault(network, {}), name, tensor)
    prefixes = remainder.prefixes if remainder else {}
    return {
        network: with_prefix(tensors, prefixes.get(network, PREFIX))
        for network, tensors in networks.items()
    }


def encoder_entry(weights: Pretrained) -> str:
    """The entry of `vjepa_content` that has the encoder to use: the one that it came from, else the averaged one."""
    remainder = weights.remainder
    return (
        remainder.entry
        if remainder and remainder.format == "vjepa" and remainder.entry
        else "target_encoder"
    )


def with_prefix(tensors: State, prefix: str) -> dict[str, Float[Tensor, "..."]]:
    """The tensors with this before their names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _put_back(tensors: dict[str, Tensor], name: str, stored: Tensor) -> None:
    """A stored tensor where there is none, or in place of the same one computed; not where the clip is another by now."""
    computed = tensors.get(name)
    same = computed is None or (
        computed.shape == stored.shape
        and torch.allclose(computed, stored.to(computed.dtype), atol=TABLE_TOLERANCE)
    )
    if same:
        tensors[name] = stored
