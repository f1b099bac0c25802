"""Checkpoints of a run that are damaged, forged, or something else under their name."""

import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from surgrec.storage import file_sha256
from tests.hostile.damage import change, copy_template, damaged, kinds_of, replaced
from tests.hostile.harness import Kind, Run, try_kind

STEP = "run/checkpoints/step-00000004"
STATE = f"{STEP}/state.json"
MODULE = "objective.safetensors"


def export(folder: Path) -> Sequence[object]:
    """Return a command that reads the checkpoint: the export includes the decoder."""
    out = folder / "out.pth"
    return ["surgrec", "export", folder / "run", "--format", "videomae", "--out", out]


def wrote(folder: Path, run: Run) -> None:
    assert (folder / "out.pth").stat().st_size > 1000


def with_digest(path: Path) -> None:
    """Record the digest of a replaced file, as an attacker would."""
    state = path.parent / "state.json"
    content = json.loads(state.read_text())
    content["files"][path.name] = file_sha256(path)
    state.write_text(json.dumps(content))


def module_kind(words: str, forge: Callable[[Path], object], right: Any = None) -> Kind:
    """Return a kind with another file of tensors, whose digest fits."""

    def damage(path: Path) -> None:
        forge(path)
        with_digest(path)

    outcome = "is refused" if right is None else "gives the encoder alone"
    name = f"a checkpoint with {words} {outcome}"
    return Kind(name=name, make=damaged(f"{STEP}/{MODULE}", damage, export), right=right)


def retensor(update: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def forge(path: Path) -> None:
        tensors = load_file(path)
        update(tensors)
        save_file(tensors, path)

    return forge


def header(text: bytes, size: int | None = None) -> Callable[[Path], object]:
    """Replace a file by a safetensors header, which may claim another size."""
    return lambda path: path.write_bytes(struct.pack("<Q", size or len(text)) + text)


def fill(name: str, value: float) -> Callable[[Path], object]:
    return retensor(lambda tensors: tensors[name].fill_(value))


def folder_kind(words: str, create: Callable[[Path], object], right: Any = wrote) -> Kind:
    def make(folder: Path) -> Sequence[object]:
        copy_template(folder)
        create(folder / "run/checkpoints")
        return export(folder)

    return Kind(name=f"a checkpoint folder {words}", make=make, right=right)


KINDS = [
    *kinds_of(STATE, "a state.json", export, "files", "step"),
    Kind(
        name="a state.json of another format is refused",
        make=damaged(STATE, lambda path: change(path, "format", 9), export),
    ),
    Kind(
        name="a state.json of another step is refused",
        make=damaged(STATE, lambda path: change(path, "step", 5), export),
    ),
    Kind(
        name="a state.json with a digest that is a number is refused",
        make=damaged(STATE, lambda path: change(path, "files", {MODULE: 1}), export),
    ),
    Kind(
        name="a state.json without the digest of the module is refused",
        make=damaged(STATE, lambda path: change(path, "files", {}), export),
    ),
    Kind(
        name="a checkpoint with a flipped byte is refused",
        make=damaged(
            f"{STEP}/{MODULE}",
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x01"),
            export,
        ),
    ),
    Kind(
        name="a checkpoint without its module is refused",
        make=damaged(f"{STEP}/{MODULE}", Path.unlink, export),
    ),
    Kind(
        name="a checkpoint whose module is a pipe is refused",
        make=damaged(f"{STEP}/{MODULE}", lambda path: replaced(path, os.mkfifo), export),
    ),
    module_kind(
        "a pickle in place of tensors", lambda path: torch.save({"a": torch.ones(1)}, path)
    ),
    module_kind("a header of 2^62 bytes", header(b"{}", 1 << 62)),
    module_kind("a header nested 100,000 deep", header(b'{"a":' * 100_000)),
    module_kind(
        "a tensor of 2^62 values",
        header(b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}    '),
    ),
    module_kind(
        "an empty tensor of impossible shape",
        header(b'{"a":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}   '),
    ),
    module_kind(
        "overlapping tensors",
        header(
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
            b'"b":{"dtype":"U8","shape":[9],"data_offsets":[-3,6]}}'
        ),
    ),
    module_kind("no tensors", lambda path: save_file({}, path), wrote),
    module_kind("a decoder that is NaN", fill("decoder.norm.bias", float("nan"))),
    module_kind("an encoder that is infinite", fill("encoder.norm.bias", float("inf"))),
    module_kind(
        "a decoder of whole numbers",
        retensor(
            lambda tensors: tensors.update({"decoder.norm.bias": torch.ones(24, dtype=torch.int32)})
        ),
    ),
    module_kind(
        "a decoder without a tensor", retensor(lambda tensors: tensors.pop("decoder.norm.bias"))
    ),
    module_kind(
        "a decoder with a further tensor",
        retensor(lambda tensors: tensors.update({"decoder.more": torch.ones(1)})),
    ),
    module_kind(
        "a decoder with a tensor of another shape",
        retensor(lambda tensors: tensors.update({"decoder.norm.bias": torch.ones(25)})),
    ),
    folder_kind(
        "named step-99999999999999999999 is passed over",
        lambda folder: (folder / "step-99999999999999999999").mkdir(),
    ),
    folder_kind(
        "with a name in Arabic digits is passed over",
        lambda folder: (folder / "step-٠٠٠٠٠٠٠٩").mkdir(),
    ),
    folder_kind("with too few digits is passed over", lambda folder: (folder / "step-9").mkdir()),
    folder_kind(
        "that is a file is passed over", lambda folder: (folder / "step-00000009").write_text("")
    ),
    folder_kind(
        "that is a pipe is passed over", lambda folder: os.mkfifo(folder / "step-00000009")
    ),
    folder_kind(
        "that links to itself is passed over",
        lambda folder: (folder / "step-00000009").symlink_to("step-00000009"),
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
