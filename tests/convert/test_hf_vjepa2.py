"""Agreement with Hugging Face's V-JEPA 2 on the same random weights."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange

from surgrec.convert.hf_vjepa2 import hf_vjepa2_state
from surgrec.models import Encoder, EncoderConfig, Predictor, PredictorConfig
from surgrec.models.blocks import NORM_EPS
from surgrec.models.classifier import AttentivePooler
from surgrec.models.tokens import take_tokens
from tests.support.hugging_face import transformers_or_skip

transformers = transformers_or_skip()

# One mask token per mask config, to distinguish the one that Hugging Face uses by default.
PREDICTOR = PredictorConfig(width=64, depth=2, num_heads=2, mlp_ratio=3.0, shared_mask_token=False)
SIZES = {
    "64px": EncoderConfig(width=128, depth=3, num_heads=2, num_frames=8, crop_px=64),
    "40px": EncoderConfig(
        width=96, depth=2, num_heads=4, mlp_ratio=2.0, num_frames=12, crop_px=40, patch_size=8
    ),
    "96px": EncoderConfig(width=66, depth=2, num_heads=3, num_frames=4, crop_px=96, tubelet_size=1),
    "g's MLP": EncoderConfig(
        width=88, depth=2, num_heads=2, mlp_ratio=48 / 11, num_frames=4, crop_px=48
    ),
}
CASES = {
    f"{name}, seed {seed}": (seed, config) for name, config in SIZES.items() for seed in (0, 1)
}


class Pair:
    """An encoder and predictor, Hugging Face's model with the same weights, clips and masks."""

    def __init__(self, seed: int, config: EncoderConfig) -> None:
        torch.manual_seed(seed)
        self.encoder = Encoder(config)
        self.predictor = Predictor(PREDICTOR, config, num_mask_configs=2)
        for parameter in [*self.encoder.parameters(), *self.predictor.parameters()]:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        self.hf = transformers.VJEPA2Model(hf_config(config)).eval()
        self.hf.load_state_dict(
            hf_vjepa2_state(self.encoder.state_dict(), self.predictor.state_dict())
        )
        self.clips = torch.randn(2, 3, config.num_frames, config.crop_px, config.crop_px)
        order = torch.stack([torch.randperm(config.grid.num_tokens) for _ in range(2)])
        self.context, self.target = order[:, :7].sort().values, order[:, 7:19].sort().values

    @property
    def hf_clips(self) -> torch.Tensor:
        return rearrange(self.clips, "b c t h w -> b t c h w")


def hf_config(config: EncoderConfig, **changes):
    return transformers.VJEPA2Config(
        **changes,
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


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def pair(request) -> Pair:
    with torch.no_grad():
        return Pair(*request.param)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.1, "features near zero would agree with anything"
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_encoder_agrees(pair):
    theirs = pair.hf(pair.hf_clips, skip_predictor=True).last_hidden_state
    assert_close(pair.encoder(pair.clips), theirs)


@torch.no_grad()
def test_the_masked_encoder_agrees(pair):
    """As in training: masked tokens are dropped before the first block, not after the last."""
    theirs = masked(pair, pair.context)
    assert_close(pair.encoder(pair.clips, pair.context), theirs)
    gathered_later = take_tokens(pair.encoder(pair.clips), pair.context)
    assert (gathered_later - theirs).abs().max() > 0.1


def masked(pair: Pair, index: torch.Tensor) -> torch.Tensor:
    """Apply Hugging Face's layers to these tokens alone."""
    hidden = take_tokens(pair.hf.encoder.embeddings(pair.hf_clips), index)
    for layer in pair.hf.encoder.layer:
        hidden = layer(hidden, index)[0]
    return pair.hf.encoder.layernorm(hidden)


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
def test_the_predictor_agrees_on_features_of_the_masked_encoder(pair):
    """From pixels to predictions as in training, one mask config at a time."""
    width, num_tokens = pair.encoder.config.width, pair.encoder.config.grid.num_tokens
    everywhere = pair.clips.new_zeros(
        2, num_tokens, width
    )  # Hugging Face's predictor gathers the context itself
    tokens = everywhere.scatter(
        1, pair.context[..., None].expand(-1, -1, width), masked(pair, pair.context)
    )
    theirs = pair.hf.predictor(tokens, [pair.context], [pair.target]).last_hidden_state
    context = pair.encoder(pair.clips, pair.context)
    assert_close(pair.predictor(context, pair.context, pair.target, 1), theirs)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{"rope": "interleaved"}, {"positions": "sincos3d"}, {"rope_side": 16}],
    ids=["interleaved", "sinusoids", "interpolated"],
)
def test_other_positions_disagree(pair, changes):
    other = Encoder(replace(pair.encoder.config, **changes))
    other.load_state_dict(pair.encoder.state_dict())
    theirs = pair.hf(pair.hf_clips, skip_predictor=True).last_hidden_state
    assert (other(pair.clips) - theirs).abs().max() > 1e-3


@torch.no_grad()
def test_tokens_at_another_place_disagree(pair):
    """A shift by one step along time, height or width is enough."""
    grid = pair.encoder.config.grid
    theirs = masked(pair, pair.context)
    tokens = take_tokens(pair.encoder.embed(pair.clips), pair.context)
    for step in (1, grid.width, grid.height * grid.width):
        rope = pair.encoder.rope((pair.context + step * torch.arange(7)) % grid.num_tokens)
        moved = tokens
        for block in pair.encoder.blocks:
            moved = block(moved, rope)
        assert (pair.encoder.norm(moved) - theirs).abs().max() > 1e-2


@torch.no_grad()
def test_another_epsilon_disagrees():
    """Tokens of nearly black clips are small enough to show a difference of epsilon."""
    config = SIZES["64px"]
    pair = Pair(0, config)
    pair.clips = 0.01 * pair.clips
    pair.encoder.patch_embed.proj.bias.zero_()
    for eps, agrees in ((NORM_EPS, True), (1e-5, False), (1e-12, False)):
        hf = transformers.VJEPA2Model(hf_config(config, layer_norm_eps=eps)).eval()
        hf.load_state_dict(hf_vjepa2_state(pair.encoder.state_dict(), pair.predictor.state_dict()))
        theirs = hf(pair.hf_clips, skip_predictor=True).last_hidden_state
        difference = (pair.encoder(pair.clips) - theirs).abs().max()
        assert difference < 1e-5 if agrees else difference > 1e-4, eps


@torch.no_grad()
def test_hugging_face_has_no_list_of_masks_in_one_pass(pair):
    """The reason why these tests give the predictor one mask config at a time."""
    tokens = pair.hf.encoder(pair.hf_clips).last_hidden_state
    with pytest.raises(RuntimeError):
        pair.hf.predictor(
            tokens, [pair.context, pair.context[:, :5]], [pair.target, pair.target[:, :9]]
        )


@torch.no_grad()
def test_bfloat16_stays_within_its_rounding(pair):
    """Training under autocast against Hugging Face's float32: 0.05 at most, 0.007 in the mean."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = pair.encoder(pair.clips, pair.context).float()
    theirs = masked(pair, pair.context)
    difference = (ours - theirs).abs() / theirs.std()
    assert 0 < difference.mean() < 7e-3
    assert difference.max() < 5e-2


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_gradients_agree(case):
    pair = Pair(*case)
    width, num_tokens = case[1].width, case[1].grid.num_tokens
    weights = torch.randn(2, pair.target.shape[1], width)
    context = pair.encoder(pair.clips, pair.context)
    (pair.predictor(context, pair.context, pair.target, 1) * weights).sum().backward()

    everywhere = pair.clips.new_zeros(
        2, num_tokens, width
    )  # Hugging Face's predictor gathers the context itself
    tokens = everywhere.scatter(
        1, pair.context[..., None].expand(-1, -1, width), masked(pair, pair.context)
    )
    (
        pair.hf.predictor(tokens, [pair.context], [pair.target]).last_hidden_state * weights
    ).sum().backward()

    ours = hf_vjepa2_state(
        {name: parameter.grad for name, parameter in pair.encoder.named_parameters()},
        {name: parameter.grad for name, parameter in pair.predictor.named_parameters()},
    )
    theirs = {name: parameter.grad for name, parameter in pair.hf.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() < 1e-5 * gradient.norm(), name


HF_POOLER = {
    "query": "query_tokens",
    "q.": "cross_attention_layer.cross_attn.q_proj.",
    "norm1.": "cross_attention_layer.layer_norm1.",
    "norm2.": "cross_attention_layer.layer_norm2.",
    "mlp.": "cross_attention_layer.mlp.",
    "blocks.": "self_attention_layers.",
}
"""Beginnings of names in an attentive pooler, and those of Hugging Face."""


def hf_pooler_state(state):
    """Return the weights of an attentive pooler under Hugging Face's names."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("kv."):
            for letter, half in zip("kv", tensor.chunk(2), strict=True):
                layer = f"cross_attention_layer.cross_attn.{letter}_proj."
                renamed[name.replace("kv.", layer)] = half
            continue
        ours, theirs = next(each for each in HF_POOLER.items() if name.startswith(each[0]))
        new = name.replace(ours, theirs, 1).replace(".attn.proj.", ".self_attn.out_proj.")
        if ours == "blocks.":
            new = new.replace(".norm", ".layer_norm")
        thirds = tensor.chunk(3) if ".attn.qkv." in new else ()
        for letter, third in zip("qkv", thirds, strict=False):
            renamed[new.replace(".attn.qkv.", f".self_attn.{letter}_proj.")] = third
        if not thirds:
            renamed[new] = tensor[None] if name == "query" else tensor
    return renamed


@pytest.mark.parametrize("self_blocks", [3, 0], ids=["V-JEPA 2", "V-JEPA 1"])
def test_an_attentive_pooler_agrees_with_hugging_face(self_blocks: int) -> None:
    config = hf_config(SIZES["64px"], num_pooler_layers=self_blocks)
    torch.manual_seed(0)
    theirs = transformers.VJEPA2ForVideoClassification(config).pooler.eval()
    # Hugging Face's default epsilon differs.
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.LayerNorm):
            layer.eps = NORM_EPS
    ours = AttentivePooler(128, 2, self_blocks)
    for parameter in ours.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    theirs.load_state_dict(hf_pooler_state(ours.state_dict()))
    tokens = torch.randn(3, 20, 128)
    torch.testing.assert_close(ours(tokens), theirs(tokens), atol=1e-5, rtol=1e-5)
