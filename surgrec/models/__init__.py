"""The networks: tubelet tokens, encoder, predictor, and their weights on disk. No run configuration."""

from surgrec.models.blocks import NORM_EPS
from surgrec.models.decoder import Decoder, DecoderConfig
from surgrec.models.encoder import ENCODER_SIZES, Encoder, EncoderConfig, EncoderSize, Positions
from surgrec.models.encoder_file import (
    ENCODER_FILE,
    State,
    encoder_config,
    encoder_provenance,
    in_own_memory,
    is_encoder_file,
    load_encoder,
    load_strictly,
    read_encoder_file,
    save_encoder,
    write_encoder_file,
)
from surgrec.models.positions import TABLE_TOLERANCE, sinusoid_table, sinusoid_table_3d
from surgrec.models.predictor import (
    Predictor,
    PredictorConfig,
    chosen_mask_token,
    fitting_mask_tokens,
)
from surgrec.models.tokens import NUM_CHANNELS, ids_on_device, take_tokens

__all__ = [
    "ENCODER_FILE",
    "ENCODER_SIZES",
    "NORM_EPS",
    "NUM_CHANNELS",
    "TABLE_TOLERANCE",
    "Decoder",
    "DecoderConfig",
    "Encoder",
    "EncoderConfig",
    "EncoderSize",
    "Positions",
    "Predictor",
    "PredictorConfig",
    "State",
    "chosen_mask_token",
    "encoder_config",
    "encoder_provenance",
    "fitting_mask_tokens",
    "ids_on_device",
    "in_own_memory",
    "is_encoder_file",
    "load_encoder",
    "load_strictly",
    "read_encoder_file",
    "save_encoder",
    "sinusoid_table",
    "sinusoid_table_3d",
    "take_tokens",
    "write_encoder_file",
]
