"""Files of weights that are bombs, forged, damaged, or unusual but right."""

import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from surgrec.models import read_encoder
from tests.hostile.damage import copy_template, nested
from tests.hostile.harness import Kind, Run, try_kind
from tests.support.weight_layouts import random_tensors, vjepa_encoder

NAN, INF = float("nan"), float("inf")


@cache
def tensors() -> dict[str, Tensor]:
    """Return the tensors of a ViT-T of V-JEPA."""
    return random_tensors(vjepa_encoder(192, 12, 768, 16))


def import_kind(
    name: str, write: Callable[[Path], object], right: Any = None, file: str = "weights.pth"
) -> Kind:
    """Return a kind that imports a file, which `write` writes."""

    def make(folder: Path) -> Sequence[object]:
        write(folder / file)
        out = folder / "out.safetensors"
        return [
            *("surgrec", "import", folder / file, "--out", out),
            *("--format", "vjepa", "--positions", "rope"),
        ]

    return Kind(name=name, make=make, right=right)


def same_weights(folder: Path, run: Run) -> None:
    read = read_encoder(folder / "out.safetensors").state_dict()
    expected = tensors()["blocks.3.mlp.fc1.weight"]
    torch.testing.assert_close(read["blocks.3.mlp.fc1.weight"], expected, rtol=0.01, atol=0.001)


def saved(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], object]:
    """Return a writer of a PyTorch file whose tensors `change` replaces or changes."""

    def write(path: Path) -> None:
        content = dict(tensors())
        changed = change(content)
        torch.save({"encoder": content if changed is None else changed}, path)

    return write


def with_value(value: float) -> Callable[[Path], object]:
    def change(content: dict[str, Any]) -> None:
        content["norm.bias"] = torch.full((192,), value)

    return saved(change)


def renamed(pattern: str) -> Callable[[Path], object]:
    return saved(lambda content: {pattern.format(name): each for name, each in content.items()})


def beside(**more: Any) -> Callable[[Path], object]:
    """Return a writer of a file with further entries."""
    return lambda path: torch.save({"encoder": tensors(), **more}, path)


def archive(
    pickle: bytes, *entries: tuple[str, bytes], packed: bool = False
) -> Callable[[Path], object]:
    """Return a writer of an archive in PyTorch's layout."""

    def write(path: Path) -> None:
        compression = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, data in [("data.pkl", pickle), ("version", b"3\n"), *entries]:
                file.writestr(f"archive/{name}", data)

    return write


def bomb(path: Path) -> None:
    """Write an archive of 10 MB that would unpack to 10 GB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
        with file.open("archive/data/0", "w", force_zip64=True) as entry:
            for _ in range(10 * 64):
                entry.write(bytes(16 << 20))


def packed(path: Path) -> None:
    torch.save({"encoder": tensors()}, path)
    with zipfile.ZipFile(path) as plain:
        entries = [(info.filename, plain.read(info)) for info in plain.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)


def itself(path: Path) -> None:
    content: dict[str, Any] = {"encoder": tensors()}
    content["again"] = [content]
    torch.save(content, path)


def shared(depth: int) -> Any:
    """Return a value with 2^depth leaves, each the same."""
    value: Any = torch.ones(1)
    for _ in range(depth):
        value = [value, value]
    return value


def calls(function: bytes) -> bytes:
    """Return a pickle that calls a function with the text `touch executed`."""
    return b"\x80\x02c" + function + b"\nX\x0e\x00\x00\x00touch executed\x85R."


def header_file(text: bytes, size: int | None = None) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(struct.pack("<Q", size or len(text)) + text)


def cut(share: float) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        torch.save({"encoder": tensors()}, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write


def flipped(path: Path) -> None:
    """Flip a byte of the directory at the end of an archive."""
    torch.save({"encoder": tensors()}, path)
    data = bytearray(path.read_bytes())
    data[-60] ^= 255
    path.write_bytes(data)


SCALAR = b"\x80\x02}X\x01\x00\x00\x00acnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"

IMPORTED = [
    # Bombs.
    import_kind("a zip bomb of 10 GB in 10 MB is refused", bomb),
    import_kind(
        "a pickle bomb within an archive is refused",
        archive(b"\x80\x02]" + b"]a" * (40 << 20) + b".", packed=True),
    ),
    import_kind("an entry that contains itself is refused", itself),
    import_kind(
        "2^40 shared leaves beside the weights are passed over",
        beside(extra=[nested(3), {"leaves": 1}], optimizer=shared(40)),
        same_weights,
    ),
    import_kind(
        "entries nested 100,000 deep are refused",
        archive(b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 100_000 + b"a" * 99_999 + b"s."),
    ),
    import_kind(
        "a view of 10^12 equal values is refused",
        saved(lambda content: content.update({"norm.bias": torch.zeros(1).expand(10**12)})),
    ),
    import_kind(
        "a NumPy scalar of 9 GB is refused",
        archive(SCALAR + b"X\x0b\x00\x00\x00V9000000000\x85R\x85Rs."),
    ),
    import_kind(
        "a storage that claims 2^60 values is refused",
        archive(
            b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
            b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
            b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10tQK\x00K\x02\x85K\x01\x85\x89}tRs.",
            ("data/0", bytes(8)),
        ),
    ),
    # Code.
    import_kind("a pickle that runs a command is refused", archive(calls(b"os\nsystem"))),
    import_kind("a pickle that evaluates code is refused", archive(calls(b"builtins\neval"))),
    import_kind(
        "a pickle of a module's class is refused",
        lambda path: torch.save(torch.nn.Linear(2, 2), path),
    ),
    import_kind(
        "a plain pickle that runs a command is refused",
        lambda path: path.write_bytes(calls(b"posix\nsystem")),
    ),
    # Tensors without their values.
    import_kind(
        "a sparse tensor is refused",
        saved(lambda content: content.update({"norm.bias": torch.eye(192).to_sparse()})),
    ),
    import_kind(
        "a compressed sparse tensor is refused",
        saved(lambda content: content.update({"norm.bias": torch.eye(192).to_sparse_csr()})),
    ),
    import_kind(
        "a tensor on the meta device is refused",
        saved(lambda content: content.update({"norm.bias": torch.zeros(192, device="meta")})),
    ),
    import_kind(
        "a tensor of whole numbers is refused",
        saved(lambda content: content.update({"norm.bias": torch.zeros(192, dtype=torch.int64)})),
    ),
    import_kind(
        "a tensor of complex numbers is refused",
        saved(
            lambda content: content.update({"norm.bias": torch.zeros(192, dtype=torch.complex64)})
        ),
    ),
    import_kind(
        "a tensor of 8 bits is refused",
        saved(
            lambda content: content.update({"norm.bias": torch.zeros(192).to(torch.float8_e4m3fn)})
        ),
    ),
    import_kind("weights that are NaN are refused", with_value(NAN)),
    import_kind("weights that are infinite are refused", with_value(-INF)),
    import_kind(
        "a single NaN within a block is refused",
        saved(
            lambda content: content.update(
                {"blocks.11.attn.qkv.bias": torch.tensor([0.0] * 575 + [NAN])}
            )
        ),
    ),
    import_kind(
        "NaN in an optimizer beside the weights is passed over",
        beside(optimizer={"state": {0: {"exp_avg": torch.full((3,), NAN)}}}),
        same_weights,
    ),
    # Names.
    *(
        import_kind(f"names as {pattern.format('x')} are imported", renamed(pattern), same_weights)
        for pattern in (
            "_orig_mod.{}",
            "module._orig_mod.{}",
            "_orig_mod.module.{}",
            "module.backbone._orig_mod.{}",
            "_fsdp_wrapped_module.{}",
        )
    ),
    import_kind(
        "a name with and without a wrapper is refused",
        saved(lambda content: content.update({"_orig_mod.norm.bias": torch.ones(192)})),
    ),
    import_kind(
        "names that are numbers are refused",
        lambda path: torch.save(dict(enumerate(tensors().values())), path),
    ),
    import_kind("names with control characters are refused", renamed("\x1b[31m{}\n")),
    import_kind(
        "a name of 1 MB is refused",
        saved(lambda content: content.update({"a" * (1 << 20): torch.ones(1)})),
    ),
    import_kind(
        "a missing tensor is refused",
        saved(lambda content: {k: v for k, v in content.items() if k != "blocks.5.norm1.weight"}),
    ),
    import_kind(
        "a block number of 10^9 is refused",
        saved(lambda content: content.update({"blocks.1000000000.norm1.weight": torch.ones(192)})),
    ),
    import_kind(
        "an empty axis is refused",
        saved(
            lambda content: content.update(
                {"patch_embed.proj.weight": torch.ones(192, 3, 2, 0, 16)}
            )
        ),
    ),
    import_kind(
        "a list in place of names is refused", lambda path: torch.save([torch.ones(1)], path)
    ),
    import_kind("no tensors at all are refused", lambda path: torch.save({}, path)),
    # Right, though unusual.
    import_kind(
        "weights of 16 bits are imported",
        saved(lambda content: {k: v.half() for k, v in content.items()}),
        same_weights,
    ),
    import_kind(
        "weights of bfloat16 are imported",
        saved(lambda content: {k: v.bfloat16() for k, v in content.items()}),
        same_weights,
    ),
    import_kind("a compressed archive is imported", packed, same_weights),
    import_kind(
        "a legacy pickle is imported",
        lambda path: torch.save({"encoder": tensors()}, path, _use_new_zipfile_serialization=False),
        same_weights,
    ),
    import_kind(
        "parameters in place of tensors are imported",
        saved(lambda content: {k: torch.nn.Parameter(v) for k, v in content.items()}),
        same_weights,
    ),
    # Damage, and other things under the name.
    import_kind("an archive cut at a tenth is refused", cut(0.1)),
    import_kind("an archive without its last bytes is refused", cut(0.9999)),
    import_kind("an archive with a damaged directory is refused", flipped),
    import_kind("an empty file is refused", lambda path: path.write_bytes(b"")),
    import_kind(
        "a page of HTML in place of weights is refused",
        lambda path: path.write_text("<!doctype html><title>Sign in</title>" * 99),
    ),
    import_kind(
        "a pointer of Git LFS is refused",
        lambda path: path.write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
        ),
    ),
    import_kind("an archive without a pickle is refused", archive(b"")),
    import_kind("a pipe is refused", os.mkfifo),
    import_kind("a socket is refused", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)),
    import_kind("a link to itself is refused", lambda path: path.symlink_to(path.name)),
    import_kind("an empty folder is refused", Path.mkdir),
    import_kind(
        "a pickle named as safetensors is refused",
        lambda path: torch.save({"a": torch.ones(1)}, path),
        file="a.safetensors",
    ),
    import_kind(
        "a safetensors header of 2^60 bytes is refused",
        header_file(b"{}", 1 << 60),
        file="a.safetensors",
    ),
    import_kind(
        "a safetensors header nested 100,000 deep is refused",
        header_file(b'{"a":' * 100_000),
        file="a.safetensors",
    ),
    import_kind(
        "safetensors named as a pickle are refused", lambda path: save_file(tensors(), path)
    ),
]


def folder_kind(name: str, config: str, files: dict[str, bytes] | None = None) -> Kind:
    """Return a kind that imports a folder in the layout of Hugging Face."""

    def make(folder: Path) -> Sequence[object]:
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text(config)
        save_file({"a": torch.ones(1)}, model / "model.safetensors")
        for file, data in (files or {}).items():
            (model / "model.safetensors").unlink(missing_ok=True)
            (model / file).write_bytes(data)
        return ["surgrec", "import", model, "--out", folder / "out.safetensors"]

    return Kind(name=name, make=make)


def hf(**values: Any) -> str:
    return json.dumps({"model_type": "vjepa2", **values})


INDEX = "model.safetensors.index.json"
FOLDERS = [
    folder_kind("a config.json nested 100,000 deep is refused", "[" * 100_000),
    folder_kind("a config.json that is a list is refused", "[]"),
    folder_kind("a config.json with a width of 200,000 is refused", hf(hidden_size=200_000)),
    folder_kind("a config.json with 10^7 layers is refused", hf(num_hidden_layers=10**7)),
    folder_kind("a config.json with 0 heads is refused", hf(num_attention_heads=0)),
    folder_kind("a config.json with a patch of 0 is refused", hf(patch_size=0)),
    folder_kind("a config.json with an MLP ratio of NaN is refused", hf(mlp_ratio=NAN)),
    folder_kind("a config.json with an infinite MLP ratio is refused", hf(mlp_ratio=INF)),
    folder_kind("a config.json with a size of 400 digits is refused", hf(crop_size=10**400)),
    folder_kind("a config.json with 10^9 frames is refused", hf(frames_per_clip=10**9)),
    folder_kind("a config.json of NUL bytes is refused", "\0" * 500),
    folder_kind(
        "an index that names a file outside is refused",
        hf(),
        {INDEX: b'{"weight_map": {"a": "../x.safetensors"}}'},
    ),
    folder_kind(
        "an index that names itself is refused",
        hf(),
        {INDEX: json.dumps({"weight_map": {"a": INDEX}}).encode()},
    ),
    folder_kind(
        "an index with numbers as files is refused", hf(), {INDEX: b'{"weight_map": {"a": 1}}'}
    ),
    folder_kind("an index that is nested is refused", hf(), {INDEX: b'{"weight_map":' * 5000}),
]


def encoder_kind(
    name: str,
    change: Callable[[dict[str, Any], dict[str, Tensor]], object],
    right: Any = None,
) -> Kind:
    """Return a kind that exports an encoder file with another header or other tensors."""

    def make(folder: Path) -> Sequence[object]:
        copy_template(folder)
        path = folder / "encoder.safetensors"
        with safe_open(folder / "run/encoder.safetensors", framework="pt") as file:
            header = json.loads(file.metadata()["surgrec"])
        content = load_file(folder / "run/encoder.safetensors")
        changed = change(header, content)
        text = changed if isinstance(changed, str) else json.dumps(header)
        save_file(content, path, metadata={"surgrec": text})
        out = folder / "out.pth"
        return ["surgrec", "export", path, "--format", "videomae", "--out", out]

    return Kind(name=f"an encoder file {name}", make=make, right=right)


def config(**values: Any) -> Callable[[dict[str, Any], dict[str, Tensor]], object]:
    return lambda header, content: header["config"].update(values)


def provenance(**values: Any) -> Callable[[dict[str, Any], dict[str, Tensor]], object]:
    return lambda header, content: header["provenance"].update(values)


def wrote(folder: Path, run: Run) -> None:
    assert (folder / "out.pth").stat().st_size > 1000


FORMAT = '"format": "surgrec-encoder-1"'
ENCODERS = [
    encoder_kind("that is whole is exported", lambda header, content: None, wrote),
    encoder_kind("with a width of 200,000 is refused", config(width=200_000)),
    encoder_kind("with a width beyond its tensors is refused", config(width=60_000)),
    encoder_kind("with 10^7 blocks is refused", config(depth=10**7)),
    encoder_kind("with blocks beyond its tensors is refused", config(depth=400)),
    encoder_kind("with 0 heads is refused", config(num_heads=0)),
    encoder_kind("with a patch of 0 is refused", config(patch_size=0)),
    encoder_kind("with a negative tubelet is refused", config(tubelet_size=-2)),
    encoder_kind("with an MLP ratio of NaN is refused", config(mlp_ratio=NAN)),
    encoder_kind("with an MLP ratio of 10^300 is refused", config(mlp_ratio=1e300)),
    encoder_kind("with frames of 10^9 pixels is refused", config(crop_px=8 * 10**9)),
    encoder_kind("with 10^9 frames is refused", config(num_frames=10**9)),
    encoder_kind("with a level beyond its blocks is refused", config(levels=[0, 7])),
    encoder_kind("with a field of a later version is refused", config(registers=4)),
    encoder_kind(
        "with a class_path as its config is refused",
        lambda header, content: header.update(config={"class_path": "os.system"}),
    ),
    encoder_kind(
        "with a class_path as its objective is exported",
        provenance(config={"objective": {"class_path": "os.system"}}),
        wrote,
    ),
    encoder_kind(
        "with a class_path as a head is refused",
        lambda header, content: header.update(parts={"decoder": {"class_path": "os.system"}}),
    ),
    encoder_kind(
        "with a list as its provenance is refused",
        lambda header, content: header.update(provenance=[]),
    ),
    encoder_kind("with a negative step is refused", provenance(step=-1)),
    encoder_kind("with a frame rate of 0 is refused", provenance(config={"sampling_fps": 0})),
    encoder_kind("with an order without sources is refused", provenance(order={"mixture": {}})),
    encoder_kind("with a nested origin is refused", provenance(init_from=nested(99))),
    encoder_kind(
        "with a license that is a number is refused", provenance(init_from={"license": 1})
    ),
    encoder_kind(
        "with a header nested 100,000 deep is refused",
        lambda header, content: "{" + FORMAT + ', "config":' + "[" * 100_000,
    ),
    encoder_kind(
        "with a key twice in its header is refused",
        lambda header, content: json.dumps(header).replace("{", "{" + FORMAT + ",", 1),
    ),
    encoder_kind(
        "with a header of NUL bytes is refused", lambda header, content: f"{{{FORMAT}" + "\0" * 99
    ),
    encoder_kind(
        "with weights that are NaN is refused",
        lambda header, content: content["norm.bias"].fill_(NAN),
    ),
    encoder_kind("without a tensor is refused", lambda header, content: content.pop("norm.bias")),
    encoder_kind(
        "with a further tensor is refused",
        lambda header, content: content.update({"more": torch.ones(1)}),
    ),
    encoder_kind(
        "whose part has the name of a block is exported whole",
        lambda header, content: header.update(parts={"blocks": {}}),
        wrote,
    ),
    encoder_kind(
        "whose decoder has no tensors is refused",
        lambda header, content: header.update(
            parts={"decoder": {"width": 24, "depth": 1, "num_heads": 2}}
        ),
    ),
]

KINDS = [*IMPORTED, *FOLDERS, *ENCODERS]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
