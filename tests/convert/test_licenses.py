"""Origin and license of weights: recorded by an import, kept by every export."""

import pytest
import torch

from surgrec.convert import ImportOptions, export_weights, import_weights, read_external
from surgrec.models import Encoder, EncoderConfig, encoder_provenance, read_encoder
from tests.support.weight_layouts import (
    assert_same_bytes,
    random_tensors,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    weights_of,
    wrapped,
)

TINY = ImportOptions(num_heads=4, decoder_heads=3)


def test_a_bare_file_is_exported_as_a_state_dict_that_pytorch_loads(tmp_path):
    encoder = Encoder(EncoderConfig(width=48, depth=2, num_heads=4, patch_size=8))
    # For this encoder, SurgRec's names equal V-JEPA's.
    torch.save(encoder.state_dict(), tmp_path / "vit.pt")
    weights = read_external(
        tmp_path / "vit.pt", "vjepa", ImportOptions(num_heads=4, license="CC-BY-4.0")
    )
    export_weights(weights, "vjepa", tmp_path / "back.pt", {}, weights.origin.license)
    encoder.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True))
    again = read_external(tmp_path / "back.pt", "vjepa", ImportOptions(num_heads=4)).origin
    assert (again.license, again.license_from) == ("CC-BY-4.0", "note")


def test_an_imported_encoder_records_its_origin(tmp_path):
    tensors = random_tensors(videomae_model(48, 2, 192, 8))
    videomae_file(tmp_path / "vitb.pth", tensors)
    options = ImportOptions(num_heads=4, decoder_heads=3, crop_px=64)

    out = tmp_path / "encoder.safetensors"
    weights = read_external(tmp_path / "vitb.pth", "auto", options)
    lines = import_weights(weights, out, sampling_fps=None)
    encoder, provenance = read_encoder(out), encoder_provenance(out)

    assert torch.equal(encoder.norm.bias, tensors["encoder.norm.bias"])
    assert encoder.config.crop_px == 64
    assert provenance["config"] == {"sampling_fps": 7.5}
    origin = provenance["init_from"]
    assert (origin["name"], origin["license"], origin["license_from"]) == (
        "vitb.pth",
        "CC-BY-NC-4.0",
        "format",
    )
    assert len(origin["sha256"]) == 64

    assert lines[0] == f"{out}: encoder and decoder of vitb.pth, format videomae, entry model"
    assumed = "not in the file, published values assumed: num_frames 16, sampling_fps 7.5"
    assert assumed in lines
    assert "left out: optimizer (1 tensor): the optimizer's state" in lines


def test_weights_trained_from_scratch_get_no_license_by_export_and_import(tmp_path):
    config = EncoderConfig(
        width=48, depth=2, num_heads=4, num_frames=4, crop_px=32, positions="sincos"
    )
    weights = weights_of(Encoder(config))
    export_weights(weights, "videomae", tmp_path / "out.pth", {"step": 3, "init_from": None}, None)
    back = read_external(tmp_path / "out.pth", "auto", TINY)
    assert (back.origin.license, back.origin.license_from) == (None, "note")
    lines = import_weights(back, tmp_path / "back.safetensors", sampling_fps=None)
    assert "license: none recorded, the weights were trained from scratch" in lines
    given = read_external(
        tmp_path / "out.pth", "auto", ImportOptions(num_heads=4, license="Apache-2.0")
    )
    assert (given.origin.license, given.origin.license_from) == ("Apache-2.0", "given")


def test_a_chain_of_exports_keeps_its_first_license(tmp_path):
    vjepa_file(
        tmp_path / "vitl16.pth.tar", target_encoder=random_tensors(vjepa_encoder(48, 2, 192, 8))
    )
    first = read_external(
        tmp_path / "vitl16.pth.tar", "auto", ImportOptions(num_heads=4, license="CC-BY-NC-4.0")
    )

    provenance = {"init_from": {"name": "vitl16.pth.tar"}}
    export_weights(first, "vjepa", tmp_path / "second.pt", provenance, first.origin.license)
    second = read_external(tmp_path / "second.pt", "auto", TINY)
    assert (second.origin.license, second.origin.license_from) == ("CC-BY-NC-4.0", "note")
    assert second.origin.init_from == {"name": "vitl16.pth.tar"}

    export_weights(second, "hf", tmp_path / "third", provenance, second.origin.license)
    assert "license: cc-by-nc-4.0" in (tmp_path / "third/README.md").read_text()
    third = read_external(tmp_path / "third", "auto", ImportOptions())
    assert third.origin.license == "CC-BY-NC-4.0"
    assert_same_bytes(wrapped(third.encoder.state), wrapped(first.encoder.state))


@pytest.mark.parametrize(
    ("license", "provenance", "front_matter", "sentence"),
    [
        (
            None,
            {"init_from": None},
            None,
            "Trained from scratch; the publisher of these weights chooses the license.",
        ),
        (
            None,
            {"init_from": {"name": "first.pth"}},
            None,
            "These weights derive from `first.pth`, for which no license is recorded.",
        ),
        (
            "NOASSERTION",
            {"init_from": {"name": "vitb.pth"}},
            "license: unknown",
            "These weights derive from weights whose publisher states no license.",
        ),
        (
            "CC-BY-NC-4.0",
            {"init_from": {"name": "vitb.pth"}},
            "license: cc-by-nc-4.0",
            "These weights derive from weights under CC-BY-NC-4.0 and keep that license.",
        ),
    ],
    ids=["from scratch", "from weights trained from scratch", "not stated", "stated"],
)
def test_the_model_card_states_the_license(tmp_path, license, provenance, front_matter, sentence):
    encoder = Encoder(EncoderConfig(width=48, depth=1, num_heads=2, num_frames=2, crop_px=32))
    export_weights(weights_of(encoder), "hf", tmp_path / "out", provenance, license)
    card = (tmp_path / "out/README.md").read_text()
    fields = card.split("---")[1].splitlines()
    assert [line for line in fields if line.startswith("license")] == (
        [front_matter] if front_matter else []
    )
    assert sentence in card
