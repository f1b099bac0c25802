"""Write V-JEPA's checkpoints: as imported, or as the published files are."""

import torch
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._converter import TorchFile
from surgrec.convert._pretrained import ExtraTensors, Pretrained
from surgrec.convert._vjepa_names import (
    NUM_MASK_TOKENS,
    PREFIX,
    encoder_from_surgrec,
    predictor_from_surgrec,
    vjepa_version,
)
from surgrec.models import State
from surgrec.models.positions import TABLE_TOLERANCE


def write_vjepa(weights: Pretrained) -> TorchFile:
    """Return a checkpoint of the V-JEPA version that has this encoder.

    Imported weights keep the names, entries and extra tensors of their file. Others are written as
    the published files are: context and target encoder, and as many mask tokens as those have.
    Published files hold zeros in all mask tokens but the first. Here trained ones fill every slot,
    because V-JEPA's loaders predict from the second.

    Raises:
        ConfigError: No version has this encoder.
    """
    config, target = weights.encoder.config, weights.encoder.state
    version = vjepa_version(config)
    imported = weights.extra_of("vjepa")
    extra = imported or ExtraTensors(format="vjepa")

    networks: dict[str, dict[str, Tensor]] = {}
    if weights.context_encoder is not None or imported is None:
        networks["encoder"] = encoder_from_surgrec(weights.context_encoder or target, config)
    networks[encoder_entry(weights)] = encoder_from_surgrec(target, config)
    if weights.predictor is not None:
        num_mask_tokens = 0 if imported else NUM_MASK_TOKENS[version]
        networks["predictor"] = predictor_from_surgrec(
            weights.predictor.state, config, num_mask_tokens
        )

    for key, tensor in extra.tensors.items():
        network, _, name = key.partition(".")
        _restore(networks.setdefault(network, {}), name, tensor)

    return TorchFile(
        entries={
            network: _with_prefix(tensors, extra.prefixes.get(network, PREFIX))
            for network, tensors in networks.items()
        },
        heads=("predictor",) if weights.predictor else (),
        bare=extra.bare,
    )


def encoder_entry(weights: Pretrained) -> str:
    """Return the entry of the encoder to use: that of its file, else `target_encoder`."""
    imported = weights.extra_of("vjepa")
    return imported.entry if imported and imported.entry else "target_encoder"


def _with_prefix(tensors: State, prefix: str) -> dict[str, Float[Tensor, "..."]]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _restore(tensors: dict[str, Tensor], name: str, stored: Tensor) -> None:
    """Put back a tensor of the imported file, unless a computed one of another clip replaces it."""
    computed = tensors.get(name)
    if computed is None or (
        computed.shape == stored.shape
        and torch.allclose(computed, stored.to(computed.dtype), atol=TABLE_TOLERANCE)
    ):
        tensors[name] = stored
