"""Starting from pretrained weights of a run, an encoder file or another project, and resuming."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from surgrec.convert import ImportOptions, export_weights, import_weights, read_external
from surgrec.convert.native import save_pretrained
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import (
    DecoderConfig,
    Encoder,
    EncoderConfig,
    PredictorConfig,
    State,
    encoder_provenance,
    save_encoder,
)
from surgrec.objectives import (
    JepaObjective,
    JepaObjectiveConfig,
    MaeObjective,
    MaeObjectiveConfig,
    Objective,
)
from surgrec.objectives._objective import HeadWeights
from surgrec.storage import file_sha256
from surgrec.training import (
    Checkpoints,
    OptimizerConfig,
    build_optimizer,
    read_saved_weights,
)
from surgrec.training._checkpoint import TrainingState
from surgrec.training._init_weights import initialize_weights, load_init_weights
from tests.support.weight_layouts import (
    assert_same_bytes,
    random_tensors,
    shake,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
    weights_of,
)

ROPE = EncoderConfig(width=48, depth=2, num_heads=4, num_frames=4, crop_px=32, patch_size=8)
SINCOS = replace(ROPE, positions="sincos")


def jepa(encoder: EncoderConfig = ROPE, **predictor: int | bool) -> JepaObjective:
    sizes = {"width": 24, "depth": 2, "num_heads": 2, **predictor}
    return JepaObjective(Encoder(encoder), JepaObjectiveConfig(predictor=PredictorConfig(**sizes)))


def mae(encoder: EncoderConfig = SINCOS) -> MaeObjective:
    return MaeObjective(
        Encoder(encoder), MaeObjectiveConfig(decoder=DecoderConfig(width=36, depth=2, num_heads=3))
    )


def vjepa(path: Path, tokens: int = 10) -> dict[str, dict[str, torch.Tensor]]:
    """Write V-JEPA's checkpoint and return the tensors of its networks."""
    networks = {"encoder": random_tensors(vjepa_encoder(48, 2, 192, 8), 1)}
    networks["target_encoder"] = random_tensors(vjepa_encoder(48, 2, 192, 8), 2)
    networks["predictor"] = random_tensors(vjepa_predictor(48, 24, 2, tokens), 3)
    for number in range(1, tokens):
        networks["predictor"][f"mask_tokens.{number}"].zero_()
    vjepa_file(path, **networks)
    return networks


def test_a_jepa_starts_from_the_target_encoder_and_trained_mask_token(tmp_path: Path) -> None:
    networks = vjepa(tmp_path / "vitl.pt")
    objective = jepa()
    facts = load_init_weights(tmp_path / "vitl.pt", objective)
    assert_same_bytes(objective.encoder.state_dict(), networks["target_encoder"])
    assert torch.equal(
        objective.predictor.predictor_proj.weight, networks["predictor"]["predictor_proj.weight"]
    )
    assert torch.equal(objective.predictor.mask_tokens, networks["predictor"]["mask_tokens.0"][0])
    assert (facts["name"], facts["format"], facts["license"]) == ("vitl.pt", "vjepa2", "MIT")
    assert facts["sha256"] == file_sha256(tmp_path / "vitl.pt")
    assert (facts["initialized"], facts["fresh"]) == (["encoder", "predictor"], {})


def test_a_mae_starts_from_encoder_and_decoder(tmp_path: Path) -> None:
    tensors = random_tensors(videomae_model(48, 2, 192, 8, (36, 2, 144)))
    videomae_file(tmp_path / "vitb.pth", tensors)
    objective = mae()
    facts = load_init_weights(tmp_path / "vitb.pth", objective)
    assert torch.equal(objective.encoder.norm.bias, tensors["encoder.norm.bias"])
    assert torch.equal(objective.decoder.mask_token, tensors["mask_token"][0, 0])
    assert (facts["license"], facts["initialized"]) == ("CC-BY-NC-4.0", ["encoder", "decoder"])


def test_clips_of_another_size_load_the_same_weights(tmp_path: Path) -> None:
    networks = vjepa(tmp_path / "vitl.pt")
    objective = jepa(replace(ROPE, num_frames=8, crop_px=64))
    load_init_weights(tmp_path / "vitl.pt", objective)
    assert_same_bytes(objective.encoder.state_dict(), networks["target_encoder"])


def test_a_predictor_of_another_size_starts_random_with_the_reason(tmp_path: Path) -> None:
    vjepa(tmp_path / "vitl.pt")
    objective = jepa(depth=3)
    before = {name: tensor.clone() for name, tensor in objective.predictor.state_dict().items()}
    facts = load_init_weights(tmp_path / "vitl.pt", objective)
    assert facts["initialized"] == ["encoder"]
    assert facts["fresh"] == {"predictor": "depth is 2 in the file, 3 in the config"}
    assert_same_bytes(objective.predictor.state_dict(), before)


class ProjectorObjective(nn.Module, Objective):
    """A method with a head that no file of weights has."""

    head_name: ClassVar[str] = "projector"

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = nn.Linear(encoder.config.width, 8)

    @property
    def head(self) -> nn.Module:
        return self.projector

    def head_options(self) -> dict[str, int]:
        return {}

    def head_mismatch(self, saved: Any, saved_encoder: EncoderConfig) -> str | None:
        raise AssertionError("no file has a projector")

    def fit_head_weights(self, tensors: State) -> HeadWeights:
        raise AssertionError("no file has a projector")

    def flops(self, masks: Any) -> float:
        return 0.0


def test_a_new_objective_loads_an_encoder_and_keeps_its_head(tmp_path: Path) -> None:
    networks = vjepa(tmp_path / "vitl.pt")
    objective = ProjectorObjective(Encoder(ROPE))
    before = objective.projector.weight.clone()
    facts = load_init_weights(tmp_path / "vitl.pt", objective)
    assert_same_bytes(objective.encoder.state_dict(), networks["target_encoder"])
    assert (facts["initialized"], facts["fresh"]) == (["encoder"], {"projector": "not in the file"})
    assert torch.equal(objective.projector.weight, before)


def test_every_objective_implements_the_protocol() -> None:
    for objective in (jepa(), mae(), ProjectorObjective(Encoder(ROPE))):
        assert isinstance(objective, Objective)
        assert objective.head is getattr(objective, objective.head_name)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"depth": 3},
            r"vitl.pt has another encoder than the run "
            r"\(depth is 2 in the file, 3 in the config\)",
        ),
        ({"rope": "interleaved"}, "rope is tiled in the file, interleaved in the config"),
        ({"positions": "sincos"}, "positions is rope in the file, sincos in the config"),
        ({"mlp_ratio": 2.0}, r"mlp_ratio is 4\.0 in the file, 2\.0 in the config"),
        ({"patch_size": 16}, "patch_size is 8 in the file, 16 in the config"),
    ],
)
def test_a_different_encoder_is_refused_and_nothing_is_loaded(
    tmp_path: Path, changes: dict[str, object], match: str
) -> None:
    vjepa(tmp_path / "vitl.pt")
    objective = jepa(replace(ROPE, **changes))
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    with pytest.raises(CheckpointError, match=match):
        load_init_weights(tmp_path / "vitl.pt", objective)
    assert_same_bytes(objective.state_dict(), before)


def test_a_published_size_fixes_the_number_of_heads(tmp_path: Path) -> None:
    vjepa_file(tmp_path / "vit.pt", target_encoder=random_tensors(vjepa_encoder(192, 12, 768, 16)))
    config = EncoderConfig(width=192, depth=12, num_heads=4, num_frames=4, crop_px=32)
    with pytest.raises(CheckpointError, match="num_heads is 3 in the file, 4 in the config"):
        load_init_weights(tmp_path / "vit.pt", jepa(config))


def test_a_given_format_and_license_are_used_and_recorded(
    tmp_path: Path,
) -> None:
    """SurgRec-JEPA looks like V-JEPA, but uses the trained encoder and has another license."""
    networks = vjepa(tmp_path / "jepa.pt", tokens=2)
    objective = jepa()
    facts = load_init_weights(tmp_path / "jepa.pt", objective, "surgrec")
    assert_same_bytes(objective.encoder.state_dict(), networks["encoder"])
    assert (facts["format"], facts["key"], facts["license"]) == (
        "surgrec-vjepa2",
        "encoder",
        "CC-BY-NC-4.0",
    )
    assert facts["given"] == {"format": "surgrec", "license": None}
    facts = load_init_weights(tmp_path / "jepa.pt", jepa(), license="CC-BY-4.0")
    assert (facts["format"], facts["license"], facts["license_from"]) == (
        "vjepa2",
        "CC-BY-4.0",
        "given",
    )
    assert facts["given"] == {"format": "auto", "license": "CC-BY-4.0"}


def test_a_license_can_be_given_for_a_run_and_a_format_cannot(tmp_path: Path) -> None:
    run_of(tmp_path / "run", jepa(), None)
    assert (
        load_init_weights(tmp_path / "run", jepa(), license="CC-BY-4.0")["license"] == "CC-BY-4.0"
    )
    with pytest.raises(
        CheckpointError, match=r"run is a run of SurgRec, not a file of format surgrec"
    ):
        load_init_weights(tmp_path / "run", jepa(), "surgrec")


def test_a_format_or_a_license_without_a_file_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    with pytest.raises(ConfigError, match="init_format is given without init_from"):
        initialize_weights(None, jepa(), checkpoints, 0, show=False, format="surgrec")


def test_a_resumed_run_needs_the_same_format_and_license(tmp_path: Path) -> None:
    vjepa(tmp_path / "jepa.pt", tokens=2)
    checkpoints = Checkpoints(tmp_path / "run", keep=1)

    def start(step: int, **given: str) -> dict[str, object] | None:
        return initialize_weights(
            tmp_path / "jepa.pt", jepa(), checkpoints, step, show=False, **given
        )

    facts = start(0, format="surgrec", license="CC-BY-NC-4.0")
    run_of(tmp_path / "run", jepa(), facts)
    resumed_facts = start(3, format="surgrec", license="CC-BY-NC-4.0")
    assert resumed_facts is not None
    assert resumed_facts["given"] == {"format": "surgrec", "license": "CC-BY-NC-4.0"}
    with pytest.raises(
        CheckpointError,
        match=r"init_format surgrec and init_license CC-BY-NC-4\.0, not surgrec and MIT",
    ):
        start(3, format="surgrec", license="MIT")
    with pytest.raises(CheckpointError, match="not auto and None"):
        start(3)


def test_runs_with_one_and_two_mask_tokens_start_from_each_other(
    tmp_path: Path,
) -> None:
    first, second, third = jepa(shared_mask_token=False), jepa(), jepa(shared_mask_token=False)
    shake(first)
    run_of(tmp_path / "first", first, None, shared_mask_token=False)
    facts = load_init_weights(tmp_path / "first", second)
    assert facts["initialized"] == ["encoder", "predictor"]
    largest = first.predictor.mask_tokens[first.predictor.mask_tokens.norm(dim=1).argmax()]
    assert torch.equal(second.predictor.mask_tokens[0], largest)
    run_of(tmp_path / "second", second, None, shared_mask_token=True)
    load_init_weights(tmp_path / "second", third)
    assert torch.equal(third.predictor.mask_tokens, torch.stack([largest, largest]))


def test_runs_before_shared_mask_token_have_one_per_configuration(
    tmp_path: Path,
) -> None:
    old = jepa(shared_mask_token=False)
    shake(old)
    run_of(tmp_path / "old", old, None)
    predictor = read_saved_weights(tmp_path / "old").weights.predictor
    assert predictor is not None
    assert not predictor.config.shared_mask_token
    assert torch.equal(predictor.state["mask_tokens"], old.predictor.mask_tokens)


def test_an_imported_file_gives_a_run_its_predictor_too(tmp_path: Path) -> None:
    networks = vjepa(tmp_path / "vitl.pt")
    options = ImportOptions(num_heads=4, predictor_heads=2, num_frames=4, crop_px=32)
    import_weights(
        read_external(tmp_path / "vitl.pt", "auto", options), tmp_path / "encoder.safetensors", None
    )
    objective = jepa()
    facts = load_init_weights(tmp_path / "encoder.safetensors", objective)
    assert (facts["initialized"], facts["license"]) == (["encoder", "predictor"], "MIT")
    assert torch.equal(
        objective.predictor.mask_tokens[0], networks["predictor"]["mask_tokens.0"][0, 0]
    )
    assert objective.predictor.mask_tokens.shape == (1, 24)


def run_of(
    run_dir: Path, objective: JepaObjective, init_from: dict[str, object] | None, **predictor: bool
) -> None:
    """Write a run as a recipe leaves it after three steps."""
    sizes = {"width": 24, "depth": 2, "num_heads": 2, "mlp_ratio": 4.0, **predictor}
    identity = {"config": {"objective": {"predictor": sizes}}, "init_from": init_from}
    state = TrainingState(
        modules={"objective": objective},
        optimizer=build_optimizer(objective, OptimizerConfig()),
        trained=objective,
        identity=lambda _: identity,
    )
    Checkpoints(run_dir, keep=1).save(3, state)
    target = Encoder(objective.encoder.config)
    shake(target)
    save_encoder(target, run_dir / "encoder.safetensors", {**identity, "step": 3})


def test_a_run_gives_target_encoder_predictor_and_license(tmp_path: Path) -> None:
    first = jepa()
    shake(first)
    start = {"name": "vitl16.pth.tar", "license": "CC-BY-NC-4.0", "license_from": "format"}
    run_of(tmp_path / "first", first, start, shared_mask_token=True)
    second = jepa()
    facts = load_init_weights(tmp_path / "first", second)
    saved = read_saved_weights(tmp_path / "first")
    assert_same_bytes(second.encoder.state_dict(), saved.weights.encoder.state)
    assert_same_bytes(second.predictor.state_dict(), first.predictor.state_dict())
    assert (facts["name"], facts["license"], facts["init_from"]["name"]) == (
        "first",
        "CC-BY-NC-4.0",
        "vitl16.pth.tar",
    )
    assert facts["sha256"] == file_sha256(tmp_path / "first/encoder.safetensors")
    assert encoder_provenance(tmp_path / "first/encoder.safetensors")["step"] == 3

    third = jepa()
    facts = load_init_weights(tmp_path / "first/encoder.safetensors", third)
    assert_same_bytes(third.encoder.state_dict(), saved.weights.encoder.state)
    assert facts["fresh"] == {"predictor": "not in the file"}


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run_of(tmp_path / "run", jepa(), None)
    with (tmp_path / "run/checkpoints/step-00000003/objective.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    with pytest.raises(CheckpointError, match=r"objective\.safetensors is missing or damaged"):
        load_init_weights(tmp_path / "run", jepa())


def resumed(path: Path | None, run_dir: Path, step: int = 3) -> dict[str, object] | None:
    return initialize_weights(path, jepa(), Checkpoints(run_dir, keep=1), step, show=False)


def test_a_run_resumes_without_the_file_it_was_started_from(tmp_path: Path) -> None:
    vjepa(tmp_path / "vitl.pt")
    facts = resumed(tmp_path / "vitl.pt", tmp_path / "run", step=0)
    assert facts is not None
    run_of(tmp_path / "run", jepa(), facts)
    sha256 = facts["sha256"]
    (tmp_path / "vitl.pt").rename(tmp_path / "renamed.pt")
    for path in (tmp_path / "vitl.pt", Path("elsewhere/vitl.pt"), tmp_path / "renamed.pt"):
        recorded = resumed(path, tmp_path / "run")
        assert recorded is not None
        assert recorded["sha256"] == sha256
    vjepa(tmp_path / "other.pt", tokens=2)
    with pytest.raises(CheckpointError, match=r"started from vitl\.pt, not from other\.pt"):
        resumed(tmp_path / "other.pt", tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"started from vitl\.pt, not from random weights"):
        resumed(None, tmp_path / "run")


def test_a_run_from_random_weights_cannot_resume_with_a_file(
    tmp_path: Path,
) -> None:
    run_of(tmp_path / "run", jepa(), None)
    assert resumed(None, tmp_path / "run") is None
    with pytest.raises(CheckpointError, match=r"started from random weights, not from vitl\.pt"):
        resumed(tmp_path / "vitl.pt", tmp_path / "run")


def test_the_contents_of_a_file_and_their_use_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = vjepa(tmp_path / "vitl.pt")
    for network, table in (("target_encoder", "pos_embed"), ("predictor", "predictor_pos_embed")):
        networks[network][table] = torch.zeros(1, 32, 48 if network == "target_encoder" else 24)
    vjepa_file(tmp_path / "vitl.pt", **networks)
    checkpoints = Checkpoints(tmp_path, keep=1)
    initialize_weights(tmp_path / "vitl.pt", jepa(depth=1), checkpoints, 0, show=True)
    report = capsys.readouterr().err
    assert (
        "init_from: encoder and predictor of vitl.pt, format vjepa2, entry target_encoder" in report
    )
    assert "init_from: encoder: 28 tensors" in report
    assert "init_from: license MIT, that of the project that publishes files of this" in report
    assert (
        "init_from: not used: target_encoder.pos_embed, predictor.predictor_pos_embed (2 tensors)"
        in report
    )
    assert "init_from: left out: opt (2 tensors): the optimizer's state" in report
    assert (
        "loaded the encoder only; the predictor starts from random weights "
        "(depth is 2 in the file, 1 in the config)" in report
    )
    assert "mask token" not in report
    initialize_weights(tmp_path / "vitl.pt", jepa(), checkpoints, 0, show=True)
    report = capsys.readouterr().err
    assert (
        "init_from: mask token 0 of 10, which has the largest norm, initializes every mask token "
        "of the run (1)"
    ) in report
    assert "init_from: loaded the encoder and the predictor" in report
    initialize_weights(tmp_path / "vitl.pt", jepa(), checkpoints, 0, show=False)
    assert capsys.readouterr().err == ""


def test_flat_sinusoids_are_refused_for_frames_of_another_size(tmp_path: Path) -> None:
    """They count ids row by row, so in wider frames every id means another position."""
    first, second = mae(), mae(replace(SINCOS, crop_px=64))
    before = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    weights = weights_of(first.encoder, decoder=first.decoder)
    save_pretrained(weights, tmp_path / "mae.safetensors", {})
    export_weights(weights, "hf", tmp_path / "hf", {}, None, with_decoder=True)
    export_weights(weights, "timm", tmp_path / "timm", {}, None)
    for name in ("mae.safetensors", "timm"):
        with pytest.raises(
            CheckpointError,
            match=f"{name} has another encoder than the run "
            r"\(crop_px is 32 in the file, 64 in the config\)",
        ):
            load_init_weights(tmp_path / name, second)
    with pytest.raises(
        CheckpointError, match=r"hf: 'image_size' in config\.json is 32, .* crop_px is 64"
    ):
        load_init_weights(tmp_path / "hf", second)
    assert_same_bytes(second.state_dict(), before)
    longer = mae(replace(SINCOS, num_frames=8))
    assert load_init_weights(tmp_path / "mae.safetensors", longer)["initialized"] == [
        "encoder",
        "decoder",
    ]


def test_a_published_videomae_needs_224_px_unless_imported_for_others(
    tmp_path: Path,
) -> None:
    tensors = random_tensors(videomae_model(192, 12, 768, 16, (192, 4, 768)))
    videomae_file(tmp_path / "vitt.pth", tensors)
    size = {"width": 192, "depth": 12, "num_heads": 3, "num_frames": 4, "positions": "sincos"}
    objective = mae(EncoderConfig(**size, crop_px=112))
    with pytest.raises(
        CheckpointError,
        match=r"vitt\.pth has another encoder than the run "
        r"\(crop_px is 224 in the file, 112 in the config\)",
    ):
        load_init_weights(tmp_path / "vitt.pth", objective)
    load_init_weights(tmp_path / "vitt.pth", mae(EncoderConfig(**size, crop_px=224)))
    import_weights(
        read_external(tmp_path / "vitt.pth", "videomae", ImportOptions(crop_px=112)),
        tmp_path / "vitt.safetensors",
        None,
    )
    load_init_weights(tmp_path / "vitt.safetensors", objective)
    assert torch.equal(objective.encoder.norm.bias, tensors["encoder.norm.bias"])


def test_a_decoder_for_another_frame_size_starts_random(
    tmp_path: Path,
) -> None:
    """The encoder's rotary positions keep their meaning; the decoder's flat sinusoids do not."""
    first, second = mae(ROPE), mae(replace(ROPE, crop_px=64))
    save_pretrained(
        weights_of(first.encoder, decoder=first.decoder), tmp_path / "mae.safetensors", {}
    )
    facts = load_init_weights(tmp_path / "mae.safetensors", second)
    assert facts["initialized"] == ["encoder"]
    assert facts["fresh"] == {
        "decoder": "crop_px is 32 in the file, 64 in the config, and a decoder's flat sinusoids "
        "fit one frame size only"
    }
    assert torch.equal(second.encoder.norm.bias, first.encoder.norm.bias)
