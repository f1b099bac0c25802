import torch

from surgrec.models.encoder import EncoderConfig
from surgrec.models.predictor import Predictor, PredictorConfig

ENCODER = EncoderConfig(width=48, depth=1, num_heads=2, num_frames=4, crop_px=32, patch_size=8)
CONTEXT = torch.tensor([[0, 3, 9, 12], [1, 2, 30, 31]])
TARGET = torch.tensor([[1, 2, 20, 25, 31], [0, 3, 4, 5, 6]])


def predictor_with_random_weights() -> Predictor:
    torch.manual_seed(0)
    predictor = Predictor(PredictorConfig(width=36, depth=2, num_heads=3), ENCODER, num_mask_configs=2)
    for parameter in predictor.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return predictor


def test_predictions_do_not_depend_on_the_order_of_ids():
    predictor = predictor_with_random_weights()
    tokens = torch.randn(2, 4, 48)
    straight = predictor(tokens, CONTEXT, TARGET, 1)
    context_order, target_order = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    shuffled = predictor(tokens[:, context_order], CONTEXT[:, context_order], TARGET[:, target_order], 1)
    assert straight.shape == (2, 5, 48)
    torch.testing.assert_close(shuffled, straight[:, target_order], atol=1e-5, rtol=1e-5)


def test_each_mask_configuration_has_a_token_of_its_own():
    predictor = predictor_with_random_weights()
    tokens = torch.randn(2, 4, 48)
    first, second = (predictor(tokens, CONTEXT, TARGET, mask_config) for mask_config in (0, 1))
    assert (first - second).abs().max() > 0.1
    first.sum().backward()
    assert predictor.mask_tokens.grad[0].abs().max() > 0
    assert predictor.mask_tokens.grad[1].abs().max() == 0


def test_predictions_depend_on_the_place_to_predict():
    predictor = predictor_with_random_weights()
    predictions = predictor(torch.randn(2, 4, 48), CONTEXT, TARGET, 0)
    assert (predictions[0, 0] - predictions[0, 4]).abs().max() > 0.01
