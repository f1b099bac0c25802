"""`surgrec import`, then `surgrec export`: the same names and the same bits, in every layout."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from surgrec.convert import export_weights
from surgrec.convert._checkpoint_file import read_checkpoint_file
from surgrec.models import Encoder, EncoderConfig, encoder_provenance, read_encoder
from tests.support.weight_layouts import (
    WRAPPERS,
    assert_same_bytes,
    numpy_table,
    random_tensors,
    surgrec,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
    weights_of,
    wrapped,
)

JEPA = ["--num_heads", 4, "--predictor_heads", 2, "--num_frames", 4, "--crop_px", 32]
MAE = ["--num_heads", 4, "--decoder_heads", 3, "--num_frames", 4, "--crop_px", 32]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published layout with small networks."""

    networks: Mapping[str, Mapping[str, Tensor]]
    """Tensors by entry and name."""
    to_use: str
    """The entry of the encoder that is imported."""
    flags: list[object] = field(default_factory=list)
    """Flags of `surgrec import`."""
    format: str
    """Format of the export."""
    arguments: Mapping[str, float] = field(default_factory=dict)
    """VideoMAE's arguments in addition to those of every file."""
    prefix: str = ""
    """Prefix of every name."""
    bare: bool = False
    """Whether the file holds the encoder's tensors without an entry."""


def vjepa_networks(
    depth=2, levels=0, tokens=10, dtype=torch.float32, **names: int
) -> dict[str, dict[str, Tensor]]:
    shapes = list(vjepa_encoder(48, depth, 192, 8, levels=levels))
    networks = {name: random_tensors(shapes, seed) for name, seed in names.items()}
    networks["predictor"] = random_tensors(vjepa_predictor(48, 24, 2, tokens, levels=levels), 9)
    for number in range(1, tokens):
        networks["predictor"][f"mask_tokens.{number}"].zero_()
    return {
        name: {key: tensor.to(dtype) for key, tensor in tensors.items()}
        for name, tensors in networks.items()
    }


def vjepa1() -> Published:
    """Tables that differ in their last bits from computed ones, as with another NumPy."""
    networks = vjepa_networks(tokens=2, encoder=1, target_encoder=2)
    for name, table, width in (
        ("encoder", "pos_embed", 48),
        ("target_encoder", "pos_embed", 48),
        ("predictor", "predictor_pos_embed", 24),
    ):
        networks[name][table] = numpy_table(4, 5, width) + 3e-7

    flags = [
        "--format",
        "vjepa",
        "--positions",
        "sincos3d",
        "--num_heads",
        4,
        "--predictor_heads",
        2,
    ]
    return Published(
        networks=networks, to_use="target_encoder", flags=flags, format="vjepa", prefix=WRAPPERS
    )


def vjepa2(**changes) -> Published:
    networks = vjepa_networks(encoder=1, target_encoder=2, **changes)
    for name in ("encoder", "target_encoder"):
        networks[name]["pos_embed"] = torch.randn(1, 32, 48)
    networks["predictor"]["predictor_pos_embed"] = torch.randn(1, 32, 24)
    flags = ["--format", "vjepa", "--positions", "rope", *JEPA]
    return Published(
        networks=networks, to_use="target_encoder", flags=flags, format="vjepa", prefix=WRAPPERS
    )


def vjepa2_of_unknown_heads() -> Published:
    networks = vjepa_networks(encoder=1, target_encoder=2)
    return Published(
        networks=networks,
        to_use="target_encoder",
        flags=["--num_heads", 4],
        format="vjepa",
        prefix=WRAPPERS,
    )


def vjepa21() -> Published:
    networks = vjepa_networks(depth=12, levels=4, tokens=8, encoder=1, target_encoder=2)
    return Published(
        networks=networks,
        to_use="target_encoder",
        flags=[*JEPA, "--crop_px", 64],
        format="vjepa",
        prefix=WRAPPERS,
    )


def vjepa21_distilled() -> Published:
    """The averaged encoder, and a predictor of its teacher's features."""
    networks = {"ema_encoder": random_tensors(vjepa_encoder(48, 12, 192, 8, levels=4))}
    networks["predictor"] = random_tensors(vjepa_predictor(48, 24, 2, 8, levels=1, features=104), 2)
    return Published(
        networks=networks,
        to_use="ema_encoder",
        flags=[*JEPA, "--crop_px", 64],
        format="vjepa",
        prefix=WRAPPERS,
    )


def surgrec_jepa() -> Published:
    """The context encoder is imported; the target encoder is kept for an export."""
    networks = vjepa_networks(tokens=2, encoder=1, target_encoder=2)
    return Published(
        networks=networks,
        to_use="encoder",
        flags=["--format", "surgrec", *JEPA],
        format="vjepa",
        prefix=WRAPPERS,
    )


def videomae(
    decoder=(36, 2, 144), format="videomae", key="model", dtype=torch.float32, flags=(), **more
) -> Published:
    tensors = {
        name: tensor.to(dtype)
        for name, tensor in random_tensors(videomae_model(48, 3, 192, 8, decoder)).items()
    }
    return Published(
        networks={key: tensors}, to_use=key, flags=[*MAE, *flags], format=format, arguments=more
    )


def bare_vjepa(prefix: str) -> Published:
    """An encoder without an entry, as a user may save it."""
    networks = {"encoder": vjepa_networks(encoder=1)["encoder"]}
    return Published(
        networks=networks, to_use="encoder", flags=JEPA, format="vjepa", prefix=prefix, bare=True
    )


PUBLISHED = {
    "V-JEPA 1": vjepa1,
    "V-JEPA 2": vjepa2,
    "V-JEPA 2 in bfloat16": lambda: vjepa2(dtype=torch.bfloat16),
    "V-JEPA 2 of unknown heads": vjepa2_of_unknown_heads,
    "V-JEPA 2.1": vjepa21,
    "V-JEPA 2.1, distilled": vjepa21_distilled,
    "SurgRec-JEPA": surgrec_jepa,
    "VideoMAE": videomae,
    "VideoMAE without a decoder": lambda: videomae(decoder=None),
    "VideoMAE v2 of DeepSpeed in float16": lambda: videomae(
        key="module", dtype=torch.float16, decoder_mask_type="run_cell"
    ),
    "V-JEPA without wrappers": lambda: replace(vjepa2(), prefix=""),
    "V-JEPA in one wrapper": lambda: replace(vjepa2(), prefix="module."),
    "a bare V-JEPA": lambda: bare_vjepa(""),
    "a bare V-JEPA in both wrappers": lambda: bare_vjepa(WRAPPERS),
    "VideoMAE in a wrapper": lambda: replace(videomae(), prefix="module."),
    "a bare VideoMAE": lambda: replace(videomae(), bare=True),
    "a bare VideoMAE without a decoder's heads": lambda: replace(
        videomae(), bare=True, flags=["--num_heads", 4]
    ),
    "SurgRec-MAE": lambda: videomae(format="surgrec", flags=["--format", "surgrec"]),
}


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_import_then_export_restores_a_file_bit_for_bit(tmp_path, monkeypatch, published):
    file = published()
    original, imported, exported = (
        tmp_path / "original.pth",
        tmp_path / "encoder.safetensors",
        tmp_path / "exported.pth",
    )
    expected = {name: wrapped(tensors, file.prefix) for name, tensors in file.networks.items()}
    if file.bare:
        torch.save(expected[file.to_use], original)
    elif file.format == "vjepa":
        vjepa_file(original, prefix=file.prefix, **file.networks)
    else:
        videomae_file(original, expected[file.to_use], file.to_use, **file.arguments)

    assert surgrec(monkeypatch, "import", original, "--out", imported, *file.flags) == 0
    assert surgrec(monkeypatch, "export", imported, "--format", file.format, "--out", exported) == 0
    assert (
        read_checkpoint_file(exported).note["license"]
        == encoder_provenance(imported)["init_from"]["license"]
    )

    content = torch.load(exported, weights_only=True)
    if file.bare:
        content = {file.to_use: content}
    else:
        del content["surgrec"]
    assert content.keys() == expected.keys()
    for name, tensors in expected.items():
        assert_same_bytes(content[name], tensors)

    encoder = read_encoder(imported)  # as features and evaluate read it
    weight = file.networks[file.to_use].get("blocks.0.mlp.fc1.weight")
    weight = (
        file.networks[file.to_use]["encoder.blocks.0.mlp.fc1.weight"] if weight is None else weight
    )
    assert torch.equal(encoder.blocks[0].mlp.fc1.weight, weight.float())


def test_import_then_export_restores_a_timm_folder_bit_for_bit(tmp_path, monkeypatch):
    config = EncoderConfig(
        width=48, depth=2, num_heads=3, num_frames=9, tubelet_size=3, crop_px=64, positions="sincos"
    )
    export_weights(weights_of(Encoder(config)), "timm", tmp_path / "original", {}, "MIT")
    flags = ["--tubelet_size", 3, "--num_frames", 9]

    imported = tmp_path / "encoder.safetensors"
    assert surgrec(monkeypatch, "import", tmp_path / "original", "--out", imported, *flags) == 0
    assert (
        surgrec(monkeypatch, "export", imported, "--format", "timm", "--out", tmp_path / "exported")
        == 0
    )
    original, exported = (
        read_checkpoint_file(tmp_path / name) for name in ("original", "exported")
    )
    assert_same_bytes(exported.content, original.content)
    assert exported.config == original.config


def test_the_license_of_an_import_is_kept_by_its_exports(tmp_path, monkeypatch, capsys):
    videomae_file(
        tmp_path / "vitb.pth",
        random_tensors(videomae_model(48, 3, 192, 8)),
        decoder_mask_type="run_cell",
    )
    imported = tmp_path / "encoder.safetensors"
    assert surgrec(monkeypatch, "import", tmp_path / "vitb.pth", "--out", imported, *MAE) == 0
    assert (
        "license NOASSERTION: the publisher of these weights states none" in capsys.readouterr().err
    )

    assert encoder_provenance(imported)["init_from"]["format"] == "videomae2"
    assert surgrec(monkeypatch, "export", imported, "--format", "hf", "--out", tmp_path / "hf") == 0
    card = (tmp_path / "hf/README.md").read_text()
    assert "\nlicense: unknown\n" in card
    assert "whose publisher states no license" in card


def test_an_import_reports_used_kept_and_skipped_tensors(tmp_path, monkeypatch, capsys):
    vjepa_file(tmp_path / "vitl.pt", **vjepa21().networks)
    assert (
        surgrec(
            monkeypatch, "import", tmp_path / "vitl.pt", "--out", tmp_path / "e.safetensors", *JEPA
        )
        == 0
    )
    output = capsys.readouterr().err
    assert "encoder and predictor of vitl.pt, format vjepa2.1, entry target_encoder" in output
    assert re.search(r"predictor: \d+ tensors, width \d+, \d+ blocks", output)
    assert "kept for an export, not used: target_encoder.patch_embed_img.proj.weight" in output
    assert "(7 tensors): for still images" in output
    assert "left out: opt (2 tensors): the optimizer's state" in output


def test_an_imported_file_that_lacks_a_tensor_is_refused_by_its_name(tmp_path, monkeypatch, capsys):
    vjepa_file(tmp_path / "vitl.pt", **vjepa_networks(encoder=1, target_encoder=2))
    imported = tmp_path / "encoder.safetensors"
    assert surgrec(monkeypatch, "import", tmp_path / "vitl.pt", "--out", imported, *JEPA) == 0

    with safe_open(imported, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118

    for cut, message in (
        ("predictor.predictor_norm.bias", "'predictor_norm.bias' is missing"),
        ("context_encoder.norm.bias", "context_encoder: 'norm.bias' is missing"),
        ("norm.bias", "'norm.bias' is missing"),
    ):
        kept = {name: tensor for name, tensor in tensors.items() if name != cut}
        save_file(kept, imported, metadata=metadata)
        assert (
            surgrec(
                monkeypatch,
                "export",
                imported,
                "--format",
                "vjepa",
                "--out",
                tmp_path / "exported.pt",
            )
            == 1
        )
        assert message in capsys.readouterr().err
