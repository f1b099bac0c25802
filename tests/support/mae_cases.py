"""The MAEs that are compared with Hugging Face's VideoMAE, and that model with their weights."""

from typing import Any

from surgrec.convert.hf_videomae import hf_videomae_state
from surgrec.models import DecoderConfig, EncoderConfig
from surgrec.objectives import MaeObjective
from tests.support.hugging_face import transformers_or_skip

transformers = transformers_or_skip()

SINCOS: dict[str, Any] = {"positions": "sincos", "num_frames": 4}
SIZES = {
    "64px": (
        EncoderConfig(width=48, depth=3, num_heads=2, crop_px=64, **SINCOS),
        DecoderConfig(width=36, depth=2, num_heads=3),
    ),
    "40px": (
        EncoderConfig(
            width=36, depth=2, num_heads=3, crop_px=40, patch_size=8, mlp_ratio=2.0, **SINCOS
        ),
        DecoderConfig(width=48, depth=1, num_heads=2, mlp_ratio=2.0),
    ),
    "96px": (
        EncoderConfig(
            width=64,
            depth=2,
            num_heads=4,
            crop_px=96,
            positions="sincos",
            num_frames=8,
            tubelet_size=4,
        ),
        DecoderConfig(width=32, depth=2, num_heads=4),
    ),
}
CASES = {f"{name}, seed {seed}": (seed, *sizes) for name, sizes in SIZES.items() for seed in (0, 1)}


def hf_model(objective: MaeObjective) -> tuple[Any, dict[str, Any]]:
    """Hugging Face's model with the same weights, and what its loading says of them."""
    encoder, decoder = objective.encoder.config, objective.decoder.config
    config = transformers.VideoMAEConfig(
        image_size=encoder.crop_px,
        patch_size=encoder.patch_size,
        num_frames=encoder.num_frames,
        tubelet_size=encoder.tubelet_size,
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.num_heads,
        intermediate_size=round(encoder.width * encoder.mlp_ratio),
        decoder_hidden_size=decoder.width,
        decoder_num_hidden_layers=decoder.depth,
        decoder_num_attention_heads=decoder.num_heads,
        decoder_intermediate_size=round(decoder.width * decoder.mlp_ratio),
        use_mean_pooling=False,
        layer_norm_eps=1e-6,
    )
    state = hf_videomae_state(objective.encoder.state_dict(), objective.decoder.state_dict())
    model, loading = transformers.VideoMAEForPreTraining.from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True
    )
    return model, loading
