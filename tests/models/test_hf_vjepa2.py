"""Agreement with Hugging Face's V-JEPA 2 on the same random weights."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange

from surgrec.models.encoder import Encoder, EncoderConfig
from surgrec.models.hf_vjepa2 import hf_vjepa2_state
from surgrec.models.predictor import Predictor, PredictorConfig
from surgrec.models.tokens import take_tokens

transformers = pytest.importorskip("transformers")

PREDICTOR = PredictorConfig(width=64, depth=2, num_heads=2, mlp_ratio=3.0)
CASES = [
    (0, EncoderConfig(width=128, depth=3, num_heads=2, num_frames=8, crop_px=64)),
    (1, EncoderConfig(width=96, depth=2, num_heads=4, mlp_ratio=2.0, num_frames=12, crop_px=40, patch_size=8)),
    (2, EncoderConfig(width=66, depth=2, num_heads=3, num_frames=4, crop_px=96, tubelet_size=1)),
]


class Pair:
    """Our encoder and predictor, Hugging Face's model with their weights, clips and masks."""

    def __init__(self, seed: int, config: EncoderConfig) -> None:
        torch.manual_seed(seed)
        self.encoder = Encoder(config)
        self.predictor = Predictor(PREDICTOR, config, num_mask_configs=2)
        for parameter in [*self.encoder.parameters(), *self.predictor.parameters()]:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        self.hf = transformers.VJEPA2Model(hf_config(config)).eval()
        self.hf.load_state_dict(hf_vjepa2_state(self.encoder.state_dict(), self.predictor.state_dict()))
        self.clips = torch.randn(2, 3, config.num_frames, config.crop_px, config.crop_px)
        order = torch.stack([torch.randperm(config.grid.num_tokens) for _ in range(2)])
        self.context, self.target = order[:, :7].sort().values, order[:, 7:19].sort().values

    @property
    def hf_clips(self) -> torch.Tensor:
        return rearrange(self.clips, "b c t h w -> b t c h w")


def hf_config(config: EncoderConfig):
    return transformers.VJEPA2Config(
        patch_size=config.patch_size,
        crop_size=config.crop_px,
        frames_per_clip=config.num_frames,
        tubelet_size=config.tubelet_size,
        hidden_size=config.width,
        num_attention_heads=config.num_heads,
        num_hidden_layers=config.depth,
        mlp_ratio=config.mlp_ratio,
        pred_hidden_size=PREDICTOR.width,
        pred_num_attention_heads=PREDICTOR.num_heads,
        pred_num_hidden_layers=PREDICTOR.depth,
        pred_mlp_ratio=PREDICTOR.mlp_ratio,
        pred_num_mask_tokens=2,
    )


@pytest.fixture(scope="module", params=CASES, ids=["64px", "40px", "96px"])
def pair(request) -> Pair:
    with torch.no_grad():
        return Pair(*request.param)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.1, "features of no size would agree with anything"
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_encoder_agrees(pair):
    theirs = pair.hf(pair.hf_clips, skip_predictor=True).last_hidden_state
    assert_close(pair.encoder(pair.clips), theirs)


@torch.no_grad()
def test_the_masked_encoder_agrees(pair):
    hidden = take_tokens(pair.hf.encoder.embeddings(pair.hf_clips), pair.context)
    for layer in pair.hf.encoder.layer:
        hidden = layer(hidden, pair.context)[0]
    theirs = pair.hf.encoder.layernorm(hidden)
    assert_close(pair.encoder(pair.clips, pair.context), theirs)
    gathered_later = take_tokens(pair.encoder(pair.clips), pair.context)
    assert (gathered_later - theirs).abs().max() > 0.1


@torch.no_grad()
def test_the_predictor_agrees_whatever_the_order_of_ids(pair):
    tokens = pair.encoder(pair.clips)
    theirs = pair.hf.predictor(tokens, [pair.context], [pair.target]).last_hidden_state
    # Hugging Face's predictor always takes mask token 1.
    context = take_tokens(tokens, pair.context)
    assert_close(pair.predictor(context, pair.context, pair.target, 1), theirs)
    assert (pair.predictor(context, pair.context, pair.target, 0) - theirs).abs().max() > 0.1
    order = torch.randperm(pair.target.shape[1])
    assert_close(pair.predictor(context, pair.context, pair.target[:, order], 1), theirs[:, order])


@torch.no_grad()
def test_interleaved_positions_disagree(pair):
    interleaved = Encoder(replace(pair.encoder.config, rope="interleaved"))
    interleaved.load_state_dict(pair.encoder.state_dict())
    theirs = pair.hf(pair.hf_clips, skip_predictor=True).last_hidden_state
    assert (interleaved(pair.clips) - theirs).abs().max() > 0.05


@pytest.mark.parametrize("case", CASES, ids=["64px", "40px", "96px"])
def test_gradients_agree(case):
    pair = Pair(*case)
    width, num_tokens = case[1].width, case[1].grid.num_tokens
    weights = torch.randn(2, pair.target.shape[1], width)
    context = pair.encoder(pair.clips, pair.context)
    (pair.predictor(context, pair.context, pair.target, 1) * weights).sum().backward()

    hidden = take_tokens(pair.hf.encoder.embeddings(pair.hf_clips), pair.context)
    for layer in pair.hf.encoder.layer:
        hidden = layer(hidden, pair.context)[0]
    everywhere = pair.clips.new_zeros(2, num_tokens, width)  # Hugging Face's predictor gathers the context itself
    tokens = everywhere.scatter(1, pair.context[..., None].expand(-1, -1, width), pair.hf.encoder.layernorm(hidden))
    (pair.hf.predictor(tokens, [pair.context], [pair.target]).last_hidden_state * weights).sum().backward()

    ours = hf_vjepa2_state(
        {name: parameter.grad for name, parameter in pair.encoder.named_parameters()},
        {name: parameter.grad for name, parameter in pair.predictor.named_parameters()},
    )
    theirs = {name: parameter.grad for name, parameter in pair.hf.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() < 1e-5 * gradient.norm(), name
