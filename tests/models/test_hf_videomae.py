"""Agreement with Hugging Face's VideoMAE on the same random weights."""

import pytest
import torch
from einops import rearrange

from surgrec.masks.multiblock import Masks
from surgrec.masks.tube import tube_masks
from surgrec.models.blocks import NORM_EPS
from surgrec.models.decoder import DecoderConfig
from surgrec.models.encoder import Encoder, EncoderConfig
from surgrec.models.hf_videomae import hf_videomae_state
from surgrec.objectives.mae import MaeObjective, MaeObjectiveConfig

transformers = pytest.importorskip("transformers")

SINCOS = {"positions": "sincos", "num_frames": 4}
CASES = [
    (
        0,
        EncoderConfig(width=48, depth=3, num_heads=2, crop_px=64, **SINCOS),
        DecoderConfig(width=36, depth=2, num_heads=3),
    ),
    (
        1,
        EncoderConfig(width=36, depth=2, num_heads=3, crop_px=40, patch_size=8, mlp_ratio=2.0, **SINCOS),
        DecoderConfig(width=48, depth=1, num_heads=2, mlp_ratio=2.0),
    ),
    (
        2,
        EncoderConfig(width=64, depth=2, num_heads=4, crop_px=96, positions="sincos", num_frames=8, tubelet_size=4),
        DecoderConfig(width=32, depth=2, num_heads=4),
    ),
]


class Pair:
    """Our objective, Hugging Face's model with its weights, clips and masks."""

    def __init__(self, seed: int, encoder: EncoderConfig, decoder: DecoderConfig) -> None:
        torch.manual_seed(seed)
        self.objective = MaeObjective(Encoder(encoder), MaeObjectiveConfig(decoder=decoder))
        with torch.no_grad():
            for parameter in self.objective.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        self.clips = torch.randn(2, 3, encoder.num_frames, encoder.crop_px, encoder.crop_px)
        self.masks = tube_masks(encoder.grid, 0.8, seed=seed, positions=torch.arange(2).numpy())
        self.hf, self.loading = hf_model(self.objective)

    def theirs(self):
        hidden = torch.ones(2, self.objective.encoder.config.grid.num_tokens, dtype=torch.bool)
        hidden.scatter_(1, torch.from_numpy(self.masks.context_index), False)
        return self.hf(rearrange(self.clips, "b c t h w -> b t c h w"), bool_masked_pos=hidden)


def hf_model(objective: MaeObjective):
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
    return transformers.VideoMAEForPreTraining.from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True
    )


@pytest.fixture(scope="module", params=CASES, ids=["64px", "40px", "96px"])
def pair(request) -> Pair:
    return Pair(*request.param)


def test_every_weight_has_a_name_there_and_none_is_left_out(pair):
    assert not any(pair.loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@torch.no_grad()
def test_loss_and_predictions_agree(pair):
    theirs = pair.theirs()
    assert theirs.logits.std() > 0.1, "predictions of no size would agree with anything"
    torch.testing.assert_close(pair.objective.predict(pair.clips, pair.masks), theirs.logits, atol=1e-5, rtol=1e-5)
    ours = pair.objective(pair.clips, pair.masks)["loss"]
    torch.testing.assert_close(ours, theirs.loss, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_whole_encoder_agrees(pair):
    theirs = pair.hf.videomae(rearrange(pair.clips, "b c t h w -> b t c h w")).last_hidden_state
    torch.testing.assert_close(pair.objective.encoder(pair.clips), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=["64px", "40px", "96px"])
def test_gradients_agree(case):
    pair = Pair(*case)
    pair.hf.decoder.norm.eps = NORM_EPS  # VideoMAE's own; Hugging Face left PyTorch's 1e-5, which shows in gradients
    pair.objective(pair.clips, pair.masks)["loss"].backward()
    pair.theirs().loss.backward()
    ours = hf_videomae_state(
        {name: parameter.grad for name, parameter in pair.objective.encoder.named_parameters()},
        {name: parameter.grad for name, parameter in pair.objective.decoder.named_parameters()},
    )
    theirs = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): parameter.grad
        for name, parameter in pair.hf.named_parameters()
    }
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() < 1e-5 * gradient.norm(), name


@torch.no_grad()
def test_the_key_bias_which_is_left_out_changes_nothing():
    pair = Pair(*CASES[0])
    before = pair.objective.predict(pair.clips, pair.masks)
    for name, parameter in pair.objective.named_parameters():
        if name.endswith("qkv.bias"):
            _, key, _ = parameter.chunk(3)
            key += 3.0
    torch.testing.assert_close(pair.objective.predict(pair.clips, pair.masks), before, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_other_masks_give_other_predictions(pair):
    swapped = Masks(
        context_index=pair.masks.context_index[::-1].copy(), target_index=pair.masks.target_index[::-1].copy()
    )
    assert (pair.objective.predict(pair.clips, swapped) - pair.theirs().logits).abs().max() > 0.1
