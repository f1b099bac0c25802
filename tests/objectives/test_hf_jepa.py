"""Agreement of a JEPA step with one composed of Hugging Face's V-JEPA 2 on equal weights."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from surgrec.convert.hf_vjepa2 import hf_vjepa2_state
from surgrec.masks import GroupMasks
from surgrec.models import EncoderConfig, PredictorConfig
from surgrec.models.tokens import take_tokens
from tests.support.hugging_face import transformers_or_skip
from tests.support.jepa_cases import CASES, Step

transformers = transformers_or_skip()


class HuggingFaceStep:
    """The same step, computed by Hugging Face's encoder layers and predictor."""

    def __init__(self, ours: Step, *, shared: bool) -> None:
        config = hf_config(
            ours.objective.encoder.config, ours.objective.predictor.config, 1 if shared else 2
        )
        state = hf_vjepa2_state(
            ours.objective.encoder.state_dict(), ours.objective.predictor.state_dict()
        )
        self.model, self.target = transformers.VJEPA2Model(config), transformers.VJEPA2Model(config)
        self.model.load_state_dict(state)
        self.target.load_state_dict(hf_vjepa2_state(ours.target_encoder.state_dict()), strict=False)
        self.shared = shared
        self.clips = rearrange(ours.clips, "b c t h w -> b t c h w")
        self._embed_with_token = self.model.predictor.embeddings.forward

    def predictions(self, group: GroupMasks, mask_config: int) -> Tensor:
        """Return predictions for one mask configuration; the encoder sees visible tubelets only."""
        mask, clips = group.masks[mask_config], self.clips[group.rows]
        context_index, target_index = (
            torch.from_numpy(mask.context_index),
            torch.from_numpy(mask.target_index),
        )
        embedded = self.model.encoder.embeddings(clips)
        hidden = take_tokens(embedded, context_index)
        for layer in self.model.encoder.layer:
            hidden = layer(hidden, context_index)[0]
        hidden = self.model.encoder.layernorm(hidden)
        # Its predictor gathers the context from all tokens, and uses mask token 1 by default.
        index = context_index[..., None].expand_as(hidden)
        all_tokens = torch.zeros_like(embedded).scatter(1, index, hidden)
        token = partial(self._embed_with_token, mask_index=0 if self.shared else mask_config)
        self.model.predictor.embeddings.forward = token
        predicted: Tensor = self.model.predictor(
            all_tokens, [context_index], [target_index]
        ).last_hidden_state
        return predicted

    def losses(self, masks: list[GroupMasks]) -> Tensor:
        """Return the loss of each clip."""
        with torch.no_grad():
            features = self.target(self.clips, skip_predictor=True).last_hidden_state
            targets = F.layer_norm(features, features.shape[-1:])
        of_groups = []
        for group in masks:
            per_config = []
            for mask_config, mask in enumerate(group.masks):
                expected = take_tokens(targets[group.rows], torch.from_numpy(mask.target_index))
                errors = (self.predictions(group, mask_config) - expected).abs()
                per_config.append(errors.mean(dim=(1, 2)))
            of_groups.append(torch.stack(per_config).mean(dim=0))
        return torch.cat(of_groups)


def hf_config(encoder: EncoderConfig, predictor: PredictorConfig, num_tokens: int) -> Any:
    return transformers.VJEPA2Config(
        patch_size=encoder.patch_size,
        crop_size=encoder.crop_px,
        frames_per_clip=encoder.num_frames,
        tubelet_size=encoder.tubelet_size,
        hidden_size=encoder.width,
        num_attention_heads=encoder.num_heads,
        num_hidden_layers=encoder.depth,
        mlp_ratio=encoder.mlp_ratio,
        pred_hidden_size=predictor.width,
        pred_num_attention_heads=predictor.num_heads,
        pred_num_hidden_layers=predictor.depth,
        pred_mlp_ratio=predictor.mlp_ratio,
        pred_num_mask_tokens=num_tokens,
    )


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of all parameters; every one must have one."""
    by_name = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert not [name for name, gradient in by_name.items() if gradient is None]
    return {name: gradient for name, gradient in by_name.items() if gradient is not None}


@pytest.mark.parametrize("shared", [True, False], ids=["one token", "two tokens"])
@pytest.mark.parametrize(("seed", "encoder", "predictor"), CASES.values(), ids=CASES)
def test_loss_and_gradients_of_a_step_agree(
    seed: int, encoder: EncoderConfig, predictor: PredictorConfig, shared: bool
) -> None:
    """P8 of the parity plan, with one shared mask token, as in V-JEPA 2, and with one per mask."""
    step = Step(seed, encoder, replace(predictor, shared_mask_token=shared))
    hf = HuggingFaceStep(step, shared=shared)
    ours = step.objective(step.clips, step.targets(), step.masks)
    ours["loss"].backward()
    theirs = hf.losses(step.masks)
    torch.autograd.backward(theirs.mean())

    torch.testing.assert_close(ours["loss_per_sample"], theirs.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours["loss"].detach(), theirs.mean().detach(), atol=1e-5, rtol=1e-5)
    actual = hf_vjepa2_state(gradients(step.objective.encoder), gradients(step.objective.predictor))
    for name, gradient in gradients(hf.model).items():
        assert (actual[name] - gradient).norm() < 1e-5 * gradient.norm(), name


@torch.no_grad()
@pytest.mark.parametrize(("seed", "encoder", "predictor"), CASES.values(), ids=CASES)
def test_bf16_predictions_stay_near_those_of_hugging_face_in_float32(
    seed: int, encoder: EncoderConfig, predictor: PredictorConfig
) -> None:
    """P14 of the parity plan, from pixels to predictions: 0.007 in the mean, 0.05 at most."""
    step = Step(seed, encoder, predictor)
    hf = HuggingFaceStep(step, shared=True)
    network = step.objective
    for group in step.masks:
        for mask_config, mask in enumerate(group.masks):
            context_index, target_index = (
                torch.from_numpy(mask.context_index),
                torch.from_numpy(mask.target_index),
            )
            with torch.autocast("cpu", dtype=torch.bfloat16):
                context = network.encoder(step.clips[group.rows], context_index)
                ours = network.predictor(context, context_index, target_index, mask_config).float()
            theirs = hf.predictions(group, mask_config)
            assert theirs.std() > 0.4, "tiny predictions would agree with anything"
            difference = (ours - theirs).abs()
            assert 0 < difference.mean() < 7e-3
            assert difference.max() < 5e-2
