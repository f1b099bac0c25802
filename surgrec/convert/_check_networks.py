"""Check that weights are complete, of the right shapes, and finite."""

from surgrec.convert._key_map import check_complete
from surgrec.convert._pretrained import Pretrained
from surgrec.convert._shapes import blank_decoder, blank_predictor, require_tensor
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import State, blank_encoder
from surgrec.models.tensor_files import check_weights


def check_networks(weights: Pretrained, context: str) -> None:
    """Raise an error unless each network has exactly the tensors of its config, all finite.

    Args:
        weights: Weights by SurgRec's names.
        context: The file, for the error.

    Raises:
        CheckpointError: Names the first tensor that is missing, unexpected, of another shape or
            type, or not finite.
    """
    config = weights.encoder.config
    blank = blank_encoder(config)
    _check(weights.encoder.state, blank, context)
    if weights.context_encoder is not None:
        _check(weights.context_encoder, blank, f"{context}, context_encoder")

    try:
        if weights.predictor is not None:
            place, state = f"{context}, predictor", weights.predictor.state
            num_mask_tokens = len(require_tensor(state, "mask_tokens", 2, place))
            _check(state, blank_predictor(weights.predictor.config, config, num_mask_tokens), place)
        if weights.decoder is not None:
            blank = blank_decoder(weights.decoder.config, config)
            _check(weights.decoder.state, blank, f"{context}, decoder")
    except ConfigError as error:
        raise CheckpointError(
            f"{context} has heads that do not fit its encoder ({error}); import the original file "
            "again"
        ) from error


def _check(tensors: State, blank: State, context: str) -> None:
    check_complete(tensors, blank, context)
    check_weights(tensors, context)
