"""Our names of weights to those of Hugging Face's VideoMAEForPreTraining."""

from collections.abc import Mapping

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

_ENCODER = {
    "patch_embed.proj": "videomae.embeddings.patch_embeddings.projection",
    "blocks": "videomae.encoder.layer",
    "norm": "videomae.layernorm",
}
_DECODER = {
    "encoder_to_decoder": "encoder_to_decoder",
    "mask_token": "mask_token",
    "blocks": "decoder.decoder_layers",
    "norm": "decoder.norm",
    "head": "decoder.head",
}
_BLOCK = {
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.qkv.": ".attention.attention.qkv.",
    ".attn.proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}


def hf_videomae_state(
    encoder: Mapping[str, Float[Tensor, "..."]], decoder: Mapping[str, Float[Tensor, "..."]] | None = None
) -> dict[str, Float[Tensor, "..."]]:
    """The state of a VideoMAEForPreTraining from the states of our `sincos` encoder and decoder, for `from_pretrained`.

    The names are those on disk, as in every published checkpoint: `q_bias` and `v_bias`. There is no key bias, and none is
    missed: it adds the same to all scores of a query where no rotation follows. Needs transformers 5.19 or later, since some
    versions before lose those biases without a word, and a config with `use_mean_pooling=False` and `layer_norm_eps=1e-6`.
    """
    state = _renamed(encoder, _ENCODER)
    if decoder is not None:
        state |= _renamed(decoder, _DECODER)
        state["mask_token"] = rearrange(state["mask_token"], "d -> 1 1 d")
    return state


def _renamed(state: Mapping[str, Float[Tensor, "..."]], prefixes: Mapping[str, str]) -> dict[str, Float[Tensor, "..."]]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        (prefix,) = (prefix for prefix in prefixes if name == prefix or name.startswith(prefix + "."))
        new_name = prefixes[prefix] + name.removeprefix(prefix)
        for ours, theirs in _BLOCK.items():
            new_name = new_name.replace(ours, theirs)
        if ".qkv." in new_name:
            query, key, value = tensor.chunk(3)
            if new_name.endswith("weight"):
                parts = {"query.weight": query, "key.weight": key, "value.weight": value}
            else:
                parts = {"q_bias": query, "v_bias": value}
            renamed |= {new_name.rpartition("qkv.")[0] + part: third for part, third in parts.items()}
        else:
            renamed[new_name] = tensor
    return renamed
