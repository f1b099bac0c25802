"""Agreement with Hugging Face's VideoMAE on the same random weights."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange

from surgrec.convert.hf_videomae import hf_videomae_state
from surgrec.masks import Masks, tube_masks
from surgrec.models import DecoderConfig, Encoder, EncoderConfig
from surgrec.models.blocks import NORM_EPS
from surgrec.models.tokens import take_tokens
from surgrec.objectives import MaeObjective, MaeObjectiveConfig
from tests.support.hugging_face import transformers_or_skip
from tests.support.mae_cases import CASES, SIZES, hf_model

transformers = transformers_or_skip()


class Pair:
    """An objective, Hugging Face's model with the same weights, clips and masks."""

    def __init__(self, seed: int, encoder: EncoderConfig, decoder: DecoderConfig) -> None:
        torch.manual_seed(seed)
        self.objective = MaeObjective(Encoder(encoder), MaeObjectiveConfig(decoder=decoder))
        with torch.no_grad():
            for parameter in self.objective.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        self.clips = torch.randn(2, 3, encoder.num_frames, encoder.crop_px, encoder.crop_px)
        self.masks = tube_masks(encoder.grid, 0.8, seed=seed, positions=torch.arange(2).numpy())
        self.hf, self.loading = hf_model(self.objective)

    @property
    def visible(self) -> torch.Tensor:
        return torch.from_numpy(self.masks.context_index)

    @property
    def hf_clips(self) -> torch.Tensor:
        return rearrange(self.clips, "b c t h w -> b t c h w")

    @property
    def hidden(self) -> torch.Tensor:
        everything = torch.ones(2, self.objective.encoder.config.grid.num_tokens, dtype=torch.bool)
        return everything.scatter(1, self.visible, False)

    def theirs(self):
        return self.hf(self.hf_clips, bool_masked_pos=self.hidden)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def pair(request) -> Pair:
    return Pair(*request.param)


def test_every_tensor_has_a_name_in_hugging_face_and_none_is_left(pair):
    assert not any(
        pair.loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    )


@torch.no_grad()
def test_loss_and_predictions_agree(pair):
    theirs = pair.theirs()
    assert theirs.logits.std() > 0.1, "predictions near zero would agree with anything"
    torch.testing.assert_close(
        pair.objective.predict(pair.clips, pair.masks), theirs.logits, atol=1e-5, rtol=1e-5
    )
    ours = pair.objective(pair.clips, pair.masks)["loss"]
    torch.testing.assert_close(ours, theirs.loss, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_masked_encoder_agrees(pair):
    """As in the loss: blocks over visible tokens alone, unlike tokens gathered after all blocks."""
    theirs = pair.hf.videomae(pair.hf_clips, bool_masked_pos=pair.hidden).last_hidden_state
    torch.testing.assert_close(
        pair.objective.encoder(pair.clips, pair.visible), theirs, atol=1e-5, rtol=1e-5
    )
    gathered_later = take_tokens(pair.objective.encoder(pair.clips), pair.visible)
    assert (gathered_later - theirs).abs().max() > 0.1


@torch.no_grad()
def test_the_whole_encoder_agrees(pair):
    theirs = pair.hf.videomae(pair.hf_clips).last_hidden_state
    torch.testing.assert_close(pair.objective.encoder(pair.clips), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_gradients_agree(case):
    pair = Pair(*case)
    # Hugging Face's decoder has PyTorch's 1e-5 instead of VideoMAE's 1e-6; gradients show it.
    pair.hf.decoder.norm.eps = NORM_EPS
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
@pytest.mark.parametrize("name", SIZES)
def test_a_key_bias_which_their_files_do_not_store_changes_nothing(name):
    pair = Pair(3, *SIZES[name])
    theirs = pair.theirs()
    for key, parameter in pair.objective.named_parameters():
        if key.endswith("qkv.bias"):
            _, of_keys, _ = parameter.chunk(3)
            of_keys.copy_(torch.randn_like(of_keys))
    torch.testing.assert_close(
        pair.objective.predict(pair.clips, pair.masks), theirs.logits, atol=2e-5, rtol=1e-5
    )
    state = hf_videomae_state(
        pair.objective.encoder.state_dict(), pair.objective.decoder.state_dict()
    )
    assert not any("key.bias" in key or key.endswith("qkv.bias") for key in state)


@torch.no_grad()
@pytest.mark.parametrize("part", ["query", "value"])
def test_the_other_biases_change_something(part):
    """Control of the test above, and of transformers versions that drop these biases."""
    pair = Pair(*CASES["64px, seed 0"])
    theirs = pair.theirs()
    for key, parameter in pair.objective.named_parameters():
        if key.endswith("qkv.bias"):
            query, _, value = parameter.chunk(3)
            (query if part == "query" else value).zero_()
    assert (pair.objective.predict(pair.clips, pair.masks) - theirs.logits).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize(
    "changes", [{"positions": "sincos3d"}, {"positions": "rope"}], ids=["3D", "rotary"]
)
def test_other_positions_disagree(pair, changes):
    other = Encoder(replace(pair.objective.encoder.config, **changes))
    other.load_state_dict(pair.objective.encoder.state_dict())
    theirs = pair.hf.videomae(pair.hf_clips).last_hidden_state
    assert (other(pair.clips) - theirs).abs().max() > 0.1


@torch.no_grad()
def test_another_epsilon_disagrees():
    """1e-12, the value in transformers' configs, agrees with 1e-6; a large one does not."""
    pair = Pair(*CASES["64px, seed 0"])
    ours = pair.objective.predict(pair.clips, pair.masks)
    for eps, agrees in ((1e-12, True), (NORM_EPS, True), (1e-3, False)):
        for module in pair.hf.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = eps
        theirs = pair.theirs().logits
        difference = (ours - theirs).abs().max()
        assert difference < 1e-5 if agrees else difference > 1e-4, eps


@torch.no_grad()
def test_bfloat16_stays_within_its_rounding(pair):
    """Training under autocast against Hugging Face's float32: 0.05 at most, 0.007 in the mean."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = pair.objective.encoder(pair.clips, pair.visible).float()
    theirs = pair.hf.videomae(pair.hf_clips, bool_masked_pos=pair.hidden).last_hidden_state
    difference = (ours - theirs).abs() / theirs.std()
    assert 0 < difference.mean() < 7e-3
    assert difference.max() < 5e-2


@torch.no_grad()
def test_other_masks_give_other_predictions(pair):
    swapped = Masks(
        context_index=pair.masks.context_index[::-1].copy(),
        target_index=pair.masks.target_index[::-1].copy(),
    )
    assert (pair.objective.predict(pair.clips, swapped) - pair.theirs().logits).abs().max() > 0.1
