"""Our names of weights to those of Hugging Face's VJEPA2Model."""

from collections.abc import Mapping

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

_ENCODER = {
    "patch_embed.proj": "encoder.embeddings.patch_embeddings.proj",
    "blocks": "encoder.layer",
    "norm": "encoder.layernorm",
}
_PREDICTOR = {
    "predictor_embed": "predictor.embeddings.predictor_embeddings",
    "mask_tokens": "predictor.embeddings.mask_tokens",
    "predictor_blocks": "predictor.layer",
    "predictor_norm": "predictor.layernorm",
    "predictor_proj": "predictor.proj",
}


def hf_vjepa2_state(
    encoder: Mapping[str, Float[Tensor, "..."]], predictor: Mapping[str, Float[Tensor, "..."]] | None = None
) -> dict[str, Float[Tensor, "..."]]:
    """The state of a VJEPA2Model (transformers 4.53 or later) from the states of our encoder and predictor.

    The model must be configured with our crop, since it takes the rotary grid from its config, and with `tiled` positions
    in mind: it knows no other. Without a predictor, `VJEPA2Model.forward` needs `skip_predictor=True`.
    """
    state = _renamed(encoder, _ENCODER)
    if predictor is not None:
        state |= _renamed(predictor, _PREDICTOR)
        tokens = "predictor.embeddings.mask_tokens"
        state[tokens] = rearrange(state[tokens], "m d -> m 1 1 d")
    return state


def _renamed(state: Mapping[str, Float[Tensor, "..."]], prefixes: Mapping[str, str]) -> dict[str, Float[Tensor, "..."]]:
    renamed = {}
    for name, tensor in state.items():
        (prefix,) = (prefix for prefix in prefixes if name == prefix or name.startswith(prefix + "."))
        new_name = prefixes[prefix] + name.removeprefix(prefix).replace(".attn.", ".attention.")
        if ".qkv." in new_name:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                renamed[new_name.replace(".qkv.", f".{part}.")] = third
        else:
            renamed[new_name] = tensor
    return renamed
