"""External files are read as data: no code in them is executed."""

import argparse
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from surgrec.convert import ImportOptions, import_weights, read_external
from surgrec.convert._checkpoint_file import read_checkpoint_file
from surgrec.errors import CheckpointError, ConfigError
from surgrec.storage import file_sha256
from tests.support.weight_layouts import random_tensors, vjepa_encoder


class CallsMkdir:
    """An object whose unpickling calls os.mkdir."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_malicious_pickle_is_refused_by_name_and_not_executed(tmp_path, legacy):
    marker, path = tmp_path / "executed", tmp_path / "evil.pth"
    torch.save({"encoder": CallsMkdir(marker)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"evil\.pth contains '(posix\.)?mkdir'"):
        read_checkpoint_file(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "without the list, the file is executed"


def test_a_harmless_object_of_a_type_outside_the_list_is_refused(tmp_path):
    torch.save({"model": {}, "pattern": re.compile("x")}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"'re\._compile'"):
        read_checkpoint_file(tmp_path / "model.pth")


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"'torch\.nn\.modules\.linear\.Linear'"):
        read_checkpoint_file(tmp_path / "model.pth")


def test_arguments_and_numpy_scalars_of_published_files_are_read(tmp_path):
    args = argparse.Namespace(lr=1e-4, output_dir=Path("out"))
    content = {
        "args": args,
        "loss": np.float64(0.5),
        "lr": np.float32(0.25),
        "model": {"a": torch.ones(2)},
    }
    torch.save(content, tmp_path / "model.pth.tar")
    file = read_checkpoint_file(tmp_path / "model.pth.tar")
    assert file.content["args"] == args
    assert (file.content["loss"], file.content["lr"]) == (0.5, 0.25)
    assert torch.equal(file.content["model"]["a"], torch.ones(2))
    assert file.sha256 == file_sha256(tmp_path / "model.pth.tar")


@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "sharded"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_is_read_with_its_config_and_its_license(tmp_path, name, sharded):
    def write(tensors, file_name):
        (save_file if name.endswith("safetensors") else torch.save)(tensors, tmp_path / file_name)

    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    if sharded:
        write({"a": tensors["a"]}, f"1-{name}")
        write({"b": tensors["b"]}, f"2-{name}")
        shards = {"a": f"1-{name}", "b": f"2-{name}"}
        (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": shards}))
    else:
        write(tensors, name)
    (tmp_path / "config.json").write_text('{"model_type": "vjepa2"}')
    (tmp_path / "README.md").write_text(
        "---\ntags: [x]\nlicense: cc-by-nc-4.0\n---\nlicense: mit\n"
    )
    file = read_checkpoint_file(tmp_path)
    assert file.content.keys() == tensors.keys()
    assert all(torch.equal(file.content[key], tensors[key]) for key in tensors)
    assert file.config == {"model_type": "vjepa2"}
    assert file.license == "cc-by-nc-4.0"
    before = file.sha256
    write(
        {"a": tensors["a"] + 1} if sharded else tensors | {"a": tensors["a"] + 1},
        f"1-{name}" if sharded else name,
    )
    assert read_checkpoint_file(tmp_path).sha256 != before


def test_an_index_with_a_path_outside_its_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "../other.safetensors"}}'
    )
    with pytest.raises(CheckpointError, match=r"\.\./other\.safetensors"):
        read_checkpoint_file(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.safetensors", b"\x10\0\0\0"),
        ("cut.pth", b"PK\x03\x04 and no more"),
        ("text.pt", b"hello"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint_file(tmp_path / name)


def test_a_path_without_tensors_by_name_is_refused(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(
        CheckpointError, match=r"list\.pth holds one object of type list, not named tensors"
    ):
        read_checkpoint_file(tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"gone\.pth does not exist"):
        read_checkpoint_file(tmp_path / "gone.pth")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        read_checkpoint_file(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        read_checkpoint_file(tmp_path)


# PyTorch warns of pickle protocols that the random bytes request.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_with_random_damage_is_read_or_refused_in_one_sentence(tmp_path, kind):
    """Damage is mostly in the first and last bytes, which hold names and offsets of tensors."""
    tensors, path, errors = (
        random_tensors(vjepa_encoder(24, 1, 96, 2)),
        tmp_path / f"vit.{kind}",
        [],
    )
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(
            {"encoder": tensors, "epoch": 3}, path, _use_new_zipfile_serialization=kind == "zip"
        )

    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for number in range(300):
        content = bytearray(whole)
        ends = [*range(min(4096, len(whole) // 2)), *range(max(0, len(whole) - 4096), len(whole))]
        for index in generator.choice(ends, size=generator.integers(1, 9)):
            content[index] = generator.integers(256)
        path.write_bytes(content if number % 4 else content[: generator.integers(1, len(content))])
        try:
            read_external(path, "vjepa", ImportOptions(num_heads=4))
        except CheckpointError as error:
            errors.append(str(error))

    assert len(errors) > 100
    assert all(path.name in sentence and "\n" not in sentence for sentence in errors)


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ('{"weight_map": ["a"]}', r"index\.json: 'weight_map' does not map"),
        ('{"weight_map": {"a": 3}}', r"index\.json: 'weight_map' does not map"),
    ],
)
def test_an_index_that_names_no_shards_is_refused(tmp_path, index, match):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint_file(tmp_path)


def test_an_entry_without_a_name_is_refused(tmp_path):
    torch.save({3: torch.ones(1)}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"model\.pth has the entry 3, which is not a name"):
        read_checkpoint_file(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "note",
    [
        {"license": "MIT", "provenance": "x"},
        {"license": ["MIT"], "provenance": {}},
        {"provenance": {}},
        ["license"],
    ],
)
def test_an_entry_surgrec_of_another_project_is_not_read_as_a_note(tmp_path, note):
    torch.save({"model": {}, "surgrec": json.dumps(note)}, tmp_path / "model.pth")
    assert read_checkpoint_file(tmp_path / "model.pth").note is None


def write_archive(path, pickle, entries=(), compression=zipfile.ZIP_STORED):
    """Write a file of PyTorch's layout with this pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/version", "3\n")
        for name, data in entries:
            archive.writestr(f"archive/{name}", data)


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        with archive.open("archive/data/0", "w", force_zip64=True) as entry:
            for _ in range(128):
                entry.write(bytes(1 << 20))
    with pytest.raises(CheckpointError, match=r"would unpack to 134,217,\d+, which weights"):
        read_checkpoint_file(path)


def test_a_pickle_bomb_is_refused_before_it_unpickles(tmp_path):
    path = tmp_path / "bomb.pth"
    write_archive(path, b"\x80\x02]" + b"]a" * (40 << 20) + b".")
    with pytest.raises(CheckpointError, match="has a pickle of 83,886,084 bytes besides"):
        read_checkpoint_file(path)


COMPRESSIONS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_damaged_compressed_bytes_are_one_sentence(tmp_path, compression):
    path = tmp_path / "damaged.pth"
    write_archive(path, b"\x80\x02}.", [("data/0", bytes(range(256)) * 40)], compression)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("archive/data/0")
        start = entry.header_offset + 30 + len(entry.filename)
    data = bytearray(path.read_bytes())
    data[start + 12 : start + 60] = b"\xff" * 48
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged\.pth is not a readable PyTorch file"):
        read_checkpoint_file(path)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_compressed_archive_is_read(tmp_path, compression):
    tensors = random_tensors(vjepa_encoder(24, 1, 96, 2))
    torch.save({"encoder": tensors}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain:
        entries = [(info.filename, plain.read(info)) for info in plain.infolist()]
    with zipfile.ZipFile(tmp_path / "packed.pth", "w", compression) as packed:
        for name, data in entries:
            packed.writestr(name, data)
    read = read_checkpoint_file(tmp_path / "packed.pth").content["encoder"]
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def nested(depth):
    """Return a pickle of a dict with lists in lists."""
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * depth + b"a" * (depth - 1) + b"s."


def test_entries_nested_without_end_are_refused(tmp_path):
    itself = {"model": {"a": torch.ones(1)}}
    itself["model"]["again"] = itself
    torch.save(itself, tmp_path / "itself.pth")
    write_archive(tmp_path / "deep.pth", nested(100_000))
    for name in ("itself.pth", "deep.pth"):
        with pytest.raises(CheckpointError, match="nested more than 64 levels deep, or contains"):
            read_checkpoint_file(tmp_path / name)


def test_shared_leaves_are_counted_once(tmp_path):
    leaves = [torch.ones(1)]
    for _ in range(40):
        leaves = [leaves, leaves]
    torch.save({"model": leaves}, tmp_path / "leaves.pth")
    for name in ("auto", "videomae", "vjepa", "timm"):
        with pytest.raises(CheckpointError, match=r"leaves\.pth"):
            read_external(tmp_path / "leaves.pth", name, ImportOptions())


def test_shapes_beyond_the_stored_values_are_refused(tmp_path):
    path = tmp_path / "expanded.pth"
    torch.save({"model": {"a": torch.zeros(1).expand(10**12)}}, path)
    with pytest.raises(CheckpointError, match="the shapes of its tensors stand for 4,000,000,000,"):
        read_checkpoint_file(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (lambda: torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6)), "sparse_coo"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse_csr"),
        (lambda: torch.zeros(10**12, device="meta"), "meta"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), "quantized"),
    ],
)
def test_a_tensor_without_its_values_is_refused_by_name(tmp_path, tensor, kind):
    torch.save({"model": {"patch": tensor()}}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=rf"model\.pth: 'model\.patch' is a {kind} tensor"):
        read_checkpoint_file(tmp_path / "model.pth")


def test_a_numpy_type_of_any_size_is_refused(tmp_path):
    names = b"\x80\x02}X\x01\x00\x00\x00acnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
    write_archive(tmp_path / "v.pth", names + b"X\x0b\x00\x00\x00V9000000000\x85R\x85Rs.")
    with pytest.raises(CheckpointError, match=r"v\.pth is not a"):
        read_checkpoint_file(tmp_path / "v.pth")


def test_a_pipe_or_a_folder_loop_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    for name, words in (("pipe", "a named pipe"), ("loop", "Too many levels of symbolic links")):
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint_file(tmp_path / f"{name}.pth")


WRAPPED = [
    "_orig_mod.{}",
    "module._orig_mod.{}",
    "_orig_mod.module.{}",
    "module.backbone._orig_mod.{}",
    "_fsdp_wrapped_module._orig_mod.{}",
]


@pytest.mark.parametrize("pattern", WRAPPED)
def test_weights_of_a_compiled_model_are_imported(tmp_path, pattern):
    tensors = random_tensors(vjepa_encoder(192, 12, 768, 2))
    renamed = {pattern.format(name): tensor for name, tensor in tensors.items()}
    torch.save({"encoder": renamed}, tmp_path / "compiled.pth")
    torch.save({"encoder": tensors}, tmp_path / "plain.pth")
    options = ImportOptions(positions="rope")
    compiled, plain = (
        read_external(tmp_path / name, "vjepa", options) for name in ("compiled.pth", "plain.pth")
    )
    assert compiled.encoder.state.keys() == plain.encoder.state.keys()
    for name, tensor in plain.encoder.state.items():
        assert torch.equal(compiled.encoder.state[name], tensor)


def test_a_name_with_and_without_a_wrapper_is_refused(tmp_path):
    torch.save({"model": {"_orig_mod.a": torch.ones(1), "a": torch.ones(1)}}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match="'a' twice, with and without names of wrappers"):
        read_checkpoint_file(tmp_path / "two.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    tensors = random_tensors(vjepa_encoder(192, 12, 768, 2))
    tensors["blocks.3.mlp.fc1.bias"][5] = value
    torch.save({"encoder": tensors}, tmp_path / "nan.pth")
    with pytest.raises(
        CheckpointError, match=r"'blocks\.3\.mlp\.fc1\.bias' has values that are NaN"
    ):
        read_external(tmp_path / "nan.pth", "vjepa", ImportOptions(positions="rope"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_keep_their_bits(tmp_path, dtype):
    tensors = {
        name: tensor.to(dtype)
        for name, tensor in random_tensors(vjepa_encoder(192, 12, 768, 2)).items()
    }
    torch.save({"encoder": tensors}, tmp_path / "half.pth")
    weights = read_external(tmp_path / "half.pth", "vjepa", ImportOptions(positions="rope"))
    assert torch.equal(weights.encoder.state["norm.bias"], tensors["norm.bias"])


@pytest.mark.parametrize("name", ["a" * 501, "\x1b[31ma", "a\nb"])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path, name):
    torch.save({"encoder": {name: torch.ones(1)}}, tmp_path / "name.pth")
    save_file({name: torch.ones(1)}, tmp_path / "name.safetensors")
    for file in ("name.pth", "name.safetensors"):
        with pytest.raises(CheckpointError, match="has an entry named"):
            read_checkpoint_file(tmp_path / file)


@pytest.mark.parametrize("fps", [0.0, -4.0, float("nan"), float("inf")])
def test_a_rate_that_no_file_can_hold_is_refused_before_it_is_written(tmp_path, fps):
    torch.save({"encoder": random_tensors(vjepa_encoder(192, 12, 768, 2))}, tmp_path / "a.pth")
    weights = read_external(tmp_path / "a.pth", "vjepa", ImportOptions(positions="rope"))
    with pytest.raises(ConfigError, match=r"sampling_fps is .*; give more than 0"):
        import_weights(weights, tmp_path / "out.safetensors", fps)
    assert not (tmp_path / "out.safetensors").exists()
