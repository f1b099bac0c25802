from dataclasses import replace

import pytest
import torch

from surgrec.models import EncoderConfig, Predictor, PredictorConfig
from surgrec.models.positions import sinusoid_table_3d
from surgrec.models.predictor import fit_mask_tokens

ENCODER = EncoderConfig(width=48, depth=1, num_heads=2, num_frames=4, crop_px=32, patch_size=8)
CONTEXT = torch.tensor([[0, 3, 9, 12], [1, 2, 30, 31]])
TARGET = torch.tensor([[1, 2, 20, 25, 31], [0, 3, 4, 5, 6]])


def predictor_with_random_weights(**config) -> Predictor:
    torch.manual_seed(0)
    predictor = Predictor(
        PredictorConfig(width=36, depth=2, num_heads=3, **config), ENCODER, num_mask_configs=2
    )
    for parameter in predictor.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return predictor


def test_predictions_do_not_depend_on_the_order_of_ids():
    predictor = predictor_with_random_weights()
    tokens = torch.randn(2, 4, 48)
    predictions = predictor(tokens, CONTEXT, TARGET, 1)
    context_order, target_order = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    shuffled = predictor(
        tokens[:, context_order], CONTEXT[:, context_order], TARGET[:, target_order], 1
    )
    assert predictions.shape == (2, 5, 48)
    torch.testing.assert_close(shuffled, predictions[:, target_order], atol=1e-5, rtol=1e-5)


def test_vjepa_2_trains_one_mask_token_with_all_mask_configurations():
    """Its code selects mask tokens by clip length: with one length, only the first is used."""
    predictor = predictor_with_random_weights()
    tokens = torch.randn(2, 4, 48)
    assert PredictorConfig().shared_mask_token
    assert predictor.mask_tokens.shape == (1, 36)
    first, second = (predictor(tokens, CONTEXT, TARGET, mask_config) for mask_config in (0, 1))
    assert torch.equal(first, second)
    (gradient,) = torch.autograd.grad(
        first.sum() + 2 * second.sum(), predictor.mask_tokens, retain_graph=True
    )
    (first_gradient,) = torch.autograd.grad(first.sum(), predictor.mask_tokens)
    torch.testing.assert_close(gradient, 3 * first_gradient)


def test_each_mask_configuration_of_vjepa_1_has_another_token():
    predictor = predictor_with_random_weights(shared_mask_token=False)
    tokens = torch.randn(2, 4, 48)
    first, second = (predictor(tokens, CONTEXT, TARGET, mask_config) for mask_config in (0, 1))
    assert (first - second).abs().max() > 0.1
    first.sum().backward()
    assert predictor.mask_tokens.grad[0].abs().max() > 0
    assert predictor.mask_tokens.grad[1].abs().max() == 0


def test_a_trained_mask_token_fills_every_slot():
    tokens = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    untrained = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    for stored, num_slots, expected, repeated in (
        (tokens, 2, tokens, None),
        (tokens, 3, tokens[[1, 1, 1]], 1),
        (untrained, 2, untrained[[0, 0]], 0),
    ):
        fitted, index = fit_mask_tokens(stored, num_slots)
        assert torch.equal(fitted, expected)
        assert index == repeated


def test_predictions_depend_on_the_target_position():
    predictor = predictor_with_random_weights()
    predictions = predictor(torch.randn(2, 4, 48), CONTEXT, TARGET, 0)
    assert (predictions[0, 0] - predictions[0, 4]).abs().max() > 0.01


@torch.no_grad()
def test_the_predictor_of_vjepa_1_adds_sinusoids_of_its_width():
    """By hand, with the published number of heads: 16, as in the encoder, of 24 channels each."""
    torch.manual_seed(0)
    encoder = replace(ENCODER, positions="sincos3d")
    config = PredictorConfig(width=384, depth=1, num_heads=16, shared_mask_token=False)
    predictor = Predictor(config, encoder, num_mask_configs=2)
    for parameter in predictor.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.02)
    context = torch.randn(2, 4, 48)
    table = sinusoid_table_3d(encoder.grid, 384)
    visible = predictor.predictor_embed(context) + table[CONTEXT]
    hidden = predictor.mask_tokens[1] + table[TARGET]
    tokens = predictor.predictor_blocks[0](torch.cat([visible, hidden], dim=1))
    expected = predictor.predictor_proj(predictor.predictor_norm(tokens[:, 4:]))
    torch.testing.assert_close(
        predictor(context, CONTEXT, TARGET, 1), expected, atol=1e-5, rtol=1e-5
    )


def test_the_stored_names_are_the_published_ones():
    """Except that mask tokens are one tensor, and for the shape of the modality vector."""
    plain = Predictor(PredictorConfig(width=36, depth=1, num_heads=3), ENCODER, num_mask_configs=2)
    assert {name.partition(".")[0] for name in plain.state_dict()} == {
        "predictor_embed", "mask_tokens", "predictor_blocks", "predictor_norm", "predictor_proj",
    }  # fmt: skip
    encoder = replace(ENCODER, depth=2, levels=(0, 1), modality_embedding=True)
    config = PredictorConfig(width=36, depth=1, num_heads=3, context_head=True)
    names = set(Predictor(config, encoder, num_mask_configs=2).state_dict()) - set(
        plain.state_dict()
    )
    assert names == {
        "predictor_embed.0.weight", "predictor_embed.0.bias",
        "predictor_embed.2.weight", "predictor_embed.2.bias",
        "predictor_proj_context.weight", "predictor_proj_context.bias", "modality_embed",
    }  # fmt: skip


@pytest.mark.parametrize(("positions", "rescaled"), [("rope", True), ("sincos3d", False)])
def test_deep_layers_are_rescaled_in_vjepa_2_and_not_in_1(positions, rescaled):
    torch.manual_seed(0)
    config = PredictorConfig(width=96, depth=8, num_heads=3)
    predictor = Predictor(config, replace(ENCODER, positions=positions), num_mask_configs=1)
    expected = 0.02 / 16**0.5 if rescaled else 0.02
    assert predictor.predictor_blocks[-1].mlp.fc2.weight.std().item() == pytest.approx(
        expected, rel=0.05
    )
    assert predictor.mask_tokens.abs().max() == 0
