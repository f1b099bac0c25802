"""Files of the SurgRec release, read and written for its fine-tuner."""

import pytest
import torch

from surgrec.convert import ImportOptions, export_weights, read_external
from surgrec.errors import ConfigError
from surgrec.models import Encoder, EncoderConfig
from tests.support.weight_layouts import (
    assert_same_bytes,
    random_tensors,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
    weights_of,
    wrapped,
)

TINY = ImportOptions(num_heads=4, predictor_heads=2, decoder_heads=3, positions="rope")


def test_surgrec_mae_comes_back_bit_identical_and_stays_non_commercial(tmp_path):
    tensors = random_tensors(videomae_model(48, 3, 192, 8))
    videomae_file(tmp_path / "mae.pth", tensors)
    weights = read_external(tmp_path / "mae.pth", "surgrec", TINY)
    assert (weights.origin.format, weights.origin.license) == ("surgrec-videomae", "CC-BY-NC-4.0")
    export_weights(weights, "surgrec", tmp_path / "back.pth", {}, weights.origin.license)
    assert_same_bytes(torch.load(tmp_path / "back.pth", weights_only=True)["model"], tensors)


def test_surgrec_jepa_gives_its_context_encoder_as_in_its_fine_tuner(tmp_path):
    encoder, average = (random_tensors(vjepa_encoder(48, 2, 192, 8), seed) for seed in (1, 2))
    predictor = random_tensors(vjepa_predictor(48, 24, 2, 2))
    vjepa_file(tmp_path / "jepa.pt", encoder=encoder, target_encoder=average, predictor=predictor)
    weights = read_external(tmp_path / "jepa.pt", "surgrec", TINY)
    assert (weights.origin.format, weights.origin.license) == ("surgrec-vjepa2", "CC-BY-NC-4.0")
    assert_same_bytes(weights.encoder.state, encoder)
    assert ("target_encoder", 28) in [
        (entry.name, entry.tensors) for entry in weights.origin.left_out
    ]
    export_weights(weights, "vjepa", tmp_path / "back.pt", {}, weights.origin.license)
    assert_same_bytes(
        torch.load(tmp_path / "back.pt", weights_only=True)["encoder"], wrapped(encoder)
    )


def test_a_jepa_with_fixed_positions_is_exported_with_its_table(tmp_path):
    config = EncoderConfig(
        width=48, depth=2, num_heads=4, num_frames=4, crop_px=48, positions="sincos3d"
    )
    encoder = Encoder(config)
    export_weights(weights_of(encoder), "surgrec", tmp_path / "jepa.pt", {}, None)
    content = torch.load(tmp_path / "jepa.pt", weights_only=True)
    assert torch.equal(
        content["encoder"]["module.backbone.pos_embed_buffer"][0], encoder.sinusoids()[0]
    )
    weights = read_external(tmp_path / "jepa.pt", "surgrec", ImportOptions(num_heads=4))
    assert weights.encoder.config == config
    assert_same_bytes(weights.encoder.state, encoder.state_dict())


def test_an_encoder_with_rotary_positions_is_refused_with_the_reason(tmp_path):
    weights = weights_of(Encoder(EncoderConfig(width=48, depth=1, num_heads=2, crop_px=32)))
    with pytest.raises(ConfigError, match="SurgRec's fine-tuner has no rotary positions"):
        export_weights(weights, "surgrec", tmp_path / "out.pt", {}, None)
