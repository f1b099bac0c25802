import contextlib
import hashlib
import json
import os
import struct
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from surgrec.convert import Origin, load_pretrained
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import Encoder, EncoderConfig, encoder_provenance, read_encoder, save_encoder
from surgrec.models.encoder_file import is_encoder_file

ORIGIN = Origin(
    name="a", sha256="b", format="surgrec-encoder", key=None, license=None, license_from=None
)

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


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("width", 200_000, "width is 200000; give 1 to 65536"),
        ("width", 65_520, r"has shape \(48,\), expected \(65520,\)"),
        ("depth", 10**7, "depth is 10000000; give 0 to 512"),
        ("depth", 400, r"'blocks\.2\.norm1\.weight' is missing"),
        ("num_heads", 0, "num_heads is 0; give 1 to 65536"),
        ("patch_size", 0, "patch_size is 0; give 1 to 1024"),
        ("tubelet_size", -2, "tubelet_size is -2; give 1 to 1024"),
        ("mlp_ratio", 1e300, "mlp_ratio is 1e\\+300"),
        ("mlp_ratio", -1.0, "mlp_ratio is -1.0"),
        ("crop_px", 16 * 10**9, "crop_px is 16000000000"),
        ("num_frames", 65_536 * 2, "num_frames is 131072"),
        ("levels", [0, "1"], r"levels\[1\] is a text, not a whole number"),
        ("positions", {"class_path": "planted.X"}, "positions is an object, not a text"),
        ("width", True, "width is true or false, not a whole number"),
        ("width", None, "width is null"),
    ],
)
def test_a_config_that_no_tensors_fit_is_refused_at_once(saved, field, value, words):
    _, path = saved
    rewrite(path, change_header=lambda header: header["config"].update({field: value}))
    with pytest.raises(CheckpointError, match=words):
        read_encoder(path)


def test_a_table_of_positions_is_bounded():
    with pytest.raises(ConfigError, match="table of positions would have more than"):
        EncoderConfig(width=6000, depth=1, num_heads=1, num_frames=65_536, crop_px=1024)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(saved, value):
    _, path = saved
    rewrite(path, change_header=lambda header: header["config"].update(mlp_ratio=value))
    with pytest.raises(CheckpointError, match=r"header has (NaN|Infinity) in place of a number"):
        read_encoder(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(saved, value):
    _, path = saved

    def damage(tensors):
        tensors["blocks.1.mlp.fc2.bias"][7] = value

    rewrite(path, change_tensors=damage)
    with pytest.raises(
        CheckpointError, match=r"'blocks\.1\.mlp\.fc2\.bias' has values that are NaN"
    ):
        read_encoder(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_loaded(saved, dtype):
    encoder, path = saved

    def halve(tensors):
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    rewrite(path, change_tensors=halve)
    loaded = read_encoder(path).state_dict()
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(loaded[name], tensor.to(dtype).float())


def test_weights_of_another_type_are_refused_by_name(saved):
    _, path = saved
    rewrite(path, change_tensors=lambda t: t.update({"norm.bias": torch.ones(48).int()}))
    with pytest.raises(CheckpointError, match=r"'norm\.bias' is int32; save the weights as"):
        read_encoder(path)


def test_no_module_that_a_file_names_is_imported(saved, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('planted code ran')")
    monkeypatch.syspath_prepend(tmp_path)
    _, path = saved
    original = path.read_bytes()
    spec = {"class_path": "planted.X", "init_args": {}}

    def change(header, part):
        header[part] = spec

    for part in ("config", "provenance", "parts"):
        path.write_bytes(original)
        rewrite(path, change_header=lambda header, part=part: change(header, part))
        with contextlib.suppress(CheckpointError):
            read_encoder(path)
            encoder_provenance(path)
            load_pretrained(path, ORIGIN)
    assert "planted" not in sys.modules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"surgrec-encoder-1"' + "[" * 100_000, "nested more than 64 levels deep"),
        ('{"format": "surgrec-encoder-1"}', "lacks the field config"),
        ('{"format": "surgrec-encoder-1", "config": []', "is not valid JSON"),
        ('["surgrec-encoder-1"]', "is a list, not an object"),
        (
            '{"format": "surgrec-encoder-1", "config": {}, "provenance": {"step": -1}}',
            "provenance.step",
        ),
        (
            '{"format": "surgrec-encoder-1", "config": {}, "provenance": {"order": {}}}',
            "lacks the field",
        ),
        (
            '{"format": "surgrec-encoder-1", "config": {}, "provenance": {}, "config": {}}',
            "has the key 'config' twice",
        ),
    ],
)
def test_a_forged_header_is_refused_with_its_place(saved, text, words):
    _, path = saved
    save_file(load_file(path), path, metadata={"surgrec": text})
    for read in (read_encoder, encoder_provenance):
        with pytest.raises(CheckpointError, match=r"encoder\.safetensors, header") as caught:
            read(path)
        assert words in str(caught.value)


def test_a_file_that_is_no_safetensors_file_is_refused_by_kind(tmp_path):
    pipe, pickle, huge = (tmp_path / name for name in ("pipe", "pickle", "huge"))
    os.mkfifo(pipe)
    torch.save({"a": torch.zeros(2)}, pickle)
    huge.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    for path, words in (
        (pipe, "a named pipe, not a regular file"),
        (pickle, r"is a PyTorch pickle under the name .* suffix, \.pth"),
        (huge, "not a readable safetensors file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(CheckpointError, match=words):
            read_encoder(path)
        assert not is_encoder_file(path)


def test_a_provenance_that_is_no_json_is_not_written(saved, tmp_path):
    encoder, _ = saved
    for value in (float("nan"), tmp_path):
        with pytest.raises(CheckpointError, match="its config or provenance is not JSON"):
            save_encoder(encoder, tmp_path / "other.safetensors", {"loss": value})
    assert not (tmp_path / "other.safetensors").exists()
