import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from surgrec.errors import CheckpointError
from surgrec.models import Encoder, EncoderConfig, encoder_provenance, read_encoder, save_encoder

CONFIG = EncoderConfig(
    width=48, depth=2, num_heads=2, num_frames=4, crop_px=32, rope="interleaved", mlp_ratio=48 / 11
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    path = tmp_path / "encoder.safetensors"
    save_encoder(encoder, path, {"corpus": {"heichole": "ab12"}, "steps": 300})
    return encoder, path


def rewrite(path, change_header=None, change_tensors=None):
    """Change the file."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["surgrec"])
    tensors = load_file(path)
    if change_header:
        change_header(header)
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, path, metadata={"surgrec": json.dumps(header)})


def test_a_loaded_encoder_is_the_saved_one(saved):
    encoder, path = saved
    loaded = read_encoder(path)
    assert loaded.config == CONFIG
    clip = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(loaded(clip), encoder(clip))
    assert encoder_provenance(path) == {"corpus": {"heichole": "ab12"}, "steps": 300}


def test_equal_encoders_give_equal_files_and_no_partial_file(saved, tmp_path):
    encoder, path = saved
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    save_encoder(encoder, path, {"steps": 300, "corpus": {"heichole": "ab12"}})
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.safetensors"]


def test_a_missing_tensor_is_named(saved):
    _, path = saved
    rewrite(path, change_tensors=lambda tensors: tensors.pop("blocks.1.attn.qkv.bias"))
    with pytest.raises(CheckpointError, match=r"'blocks\.1\.attn\.qkv\.bias' is missing"):
        read_encoder(path)


def test_an_unknown_tensor_is_named(saved):
    _, path = saved
    rewrite(path, change_tensors=lambda tensors: tensors.update(pos_embed=torch.zeros(1)))
    with pytest.raises(CheckpointError, match="'pos_embed' is unknown"):
        read_encoder(path)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(saved):
    _, path = saved
    rewrite(path, change_tensors=lambda tensors: tensors.update({"norm.weight": torch.zeros(47)}))
    with pytest.raises(
        CheckpointError, match=r"'norm\.weight' has shape \(47,\), expected \(48,\)"
    ):
        read_encoder(path)


def test_a_config_of_another_version_is_refused(saved):
    _, path = saved
    rewrite(path, change_header=lambda header: header["config"].update(registers=4))
    with pytest.raises(CheckpointError, match="registers"):
        read_encoder(path)


def test_other_files_and_damaged_files_are_refused(saved, tmp_path):
    _, path = saved
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match=r"other\.safetensors.*not an encoder"):
        read_encoder(other)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"encoder\.safetensors.*not a readable"):
        read_encoder(path)
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        encoder_provenance(tmp_path / "gone.safetensors")


def test_a_file_that_cannot_be_written_gives_one_sentence(saved, tmp_path):
    encoder, _ = saved
    with pytest.raises(CheckpointError, match=r"no_folder/encoder\.safetensors cannot be written"):
        save_encoder(encoder, tmp_path / "no_folder" / "encoder.safetensors", {})
