"""Build and store the networks: encoder, predictor and decoder. No run configuration, no losses.

Some submodules serve the rooms that work on tokens, tensors and files: `tokens`, `tensor_files`,
`encoder_file` and `provenance`. `blocks` and `positions` hold the constants that converters
compare.
"""

from surgrec.models._decoder import Decoder, DecoderConfig
from surgrec.models.encoder import (
    ENCODER_SIZES,
    Encoder,
    EncoderConfig,
    State,
    blank_encoder,
)
from surgrec.models.encoder_file import (
    ENCODER_FILE,
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
    "blank_encoder",
    "encoder_provenance",
    "load_strictly",
    "read_encoder",
    "save_encoder",
]
