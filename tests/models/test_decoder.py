import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.models import Decoder, DecoderConfig, EncoderConfig

ENCODER = EncoderConfig(
    width=48, depth=1, num_heads=2, num_frames=4, crop_px=32, patch_size=8, positions="sincos"
)
CONTEXT = torch.tensor([[0, 3, 9, 12], [1, 2, 30, 31]])
TARGET = torch.tensor([[1, 2, 20, 25, 31], [0, 3, 4, 5, 6]])


def decoder_with_random_weights() -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(width=36, depth=2, num_heads=3), ENCODER)
    for parameter in decoder.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return decoder


def test_predictions_do_not_depend_on_the_order_of_ids():
    decoder = decoder_with_random_weights()
    tokens = torch.randn(2, 4, 48)
    predictions = decoder(tokens, CONTEXT, TARGET)
    context_order, target_order = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    shuffled = decoder(tokens[:, context_order], CONTEXT[:, context_order], TARGET[:, target_order])
    assert predictions.shape == (2, 5, 2 * 8 * 8 * 3)
    torch.testing.assert_close(shuffled, predictions[:, target_order], atol=1e-5, rtol=1e-5)


def test_predictions_depend_on_target_and_context_positions():
    decoder = decoder_with_random_weights()
    tokens = torch.randn(1, 4, 48)
    predictions = decoder(tokens, CONTEXT[:1], TARGET[:1])
    assert (predictions[0, 0] - predictions[0, 4]).abs().max() > 0.01
    moved = decoder(tokens, CONTEXT[1:], TARGET[:1])
    assert (predictions - moved).abs().max() > 0.01


def test_the_mask_token_is_one_vector_without_weight_decay():
    decoder = Decoder(DecoderConfig(width=36, depth=1, num_heads=3), ENCODER)
    assert decoder.mask_token.ndim == 1  # the optimizer decays tensors of two or more axes
    assert 0.01 < decoder.mask_token.std() < 0.03


def test_an_impossible_config_is_refused():
    with pytest.raises(ConfigError, match=r"width 40 .* 6"):
        DecoderConfig(width=40, num_heads=6)
