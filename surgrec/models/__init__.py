"""Build and store the networks: encoder, predictor and decoder. No run configuration, no losses.

Two submodules serve the rooms that work on tokens and tensors: `surgrec.models.tokens` and
`surgrec.models.encoder_file`. `blocks` and `positions` hold the constants that converters compare.
"""

from surgrec.models._decoder import Decoder, DecoderConfig
from surgrec.models.encoder import ENCODER_SIZES, Encoder, EncoderConfig
from surgrec.models.encoder_file import (
    ENCODER_FILE,
    State,
    encoder_provenance,
    load_strictly,
    read_encoder,
    save_encoder,
)
from surgrec.models.predictor import Predictor, PredictorConfig

__all__ = [
    "ENCODER_FILE",
    "ENCODER_SIZES",
    "Decoder",
    "DecoderConfig",
    "Encoder",
    "EncoderConfig",
    "Predictor",
    "PredictorConfig",
    "State",
    "encoder_provenance",
    "load_strictly",
    "read_encoder",
    "save_encoder",
]
