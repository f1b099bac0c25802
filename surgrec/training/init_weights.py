"""The weights that a run starts from: of a run, an encoder file of ours or a foreign file, into a recipe's networks, strictly."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from surgrec.convert import (
    ImportFormat,
    ImportOptions,
    Pretrained,
    checkpoint_sha256,
    describe_import,
    is_published_size,
    read_external,
)
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import (
    ENCODER_FILE,
    Decoder,
    EncoderConfig,
    Predictor,
    chosen_mask_token,
    fitting_mask_tokens,
    is_encoder_file,
    load_strictly,
)
from surgrec.objectives import JepaObjective, MaeObjective
from surgrec.storage import file_sha256
from surgrec.training.checkpoint import Checkpoints
from surgrec.training.run_weights import read_own

_NOT_OF_WEIGHTS = {"num_frames", "crop_px", "shared_mask_token"}
"""Fields of a config that weights can differ in: a clip has none, and mask tokens are made to fit. But VideoMAE's flat sinusoids
count ids, so they mean other places in frames of another size."""


def initial_weights(
    path: Path | None,
    objective: JepaObjective | MaeObjective,
    checkpoints: Checkpoints,
    first_step: int,
    *,
    show: bool,
    format: ImportFormat = "auto",
    license: str | None = None,
) -> dict[str, Any] | None:
    """Loads the weights that a run starts from, and says where they come from. A resumed run only says so.

    Args:
        path: A run, an encoder file of ours, or a foreign file or folder; None for random weights.
        objective: Its encoder is filled, and its predictor or decoder where the file has one that fits.
        checkpoints: Of the run: they know what it was started from.
        first_step: Where it goes on; 0 for a new run.
        show: Say on standard error what was taken and what starts fresh.
        format: Of a foreign file, where its entries do not tell.
        license: Of the weights, an SPDX identifier, in place of what the file says.

    Returns:
        JSON values for the run's identity; None for random weights.

    Raises:
        CheckpointError: The file cannot be read, does not fit, or is not what the resumed run was started from.
        ConfigError: Format or license are given, and no file.
    """
    if path is None and (format, license) != ("auto", None):
        raise ConfigError(
            f"init_format {format} and init_license {license} are given without init_from; give the file too"
        )
    if first_step:
        return _recorded(path, format, license, checkpoints.identity(first_step).get("init_from"))
    if path is None:
        return None
    return load_init_weights(path, objective, format, license, show=show)


def load_init_weights(
    path: Path,
    objective: JepaObjective | MaeObjective,
    format: ImportFormat = "auto",
    license: str | None = None,
    *,
    show: bool = False,
) -> dict[str, Any]:
    """Fills an objective's networks: the encoder always, its predictor or decoder where the file has one that fits.

    Args:
        path: A run, an encoder file of ours, or a foreign file or folder.
        objective: Receives the weights.
        format: Of a foreign file, where its entries do not tell.
        license: Of the weights, an SPDX identifier, in place of what the file says.
        show: Say on standard error what the file has, what was taken, what is not used and what starts fresh.

    Returns:
        JSON values: name, sha256, format, license and the rest of an `Origin`; `told`: what was said of the file;
        `initialized`; and `fresh`: what was not filled, and why.

    Raises:
        CheckpointError: The file cannot be read, or its encoder is another one than the objective's.
    """
    encoder = objective.encoder
    head = objective.predictor if isinstance(objective, JepaObjective) else objective.decoder
    name = "predictor" if isinstance(head, Predictor) else "decoder"
    weights = _read(path, format, _import_options(encoder.config, head, license))
    differences = _differences(asdict(weights.encoder.config), asdict(encoder.config))
    if differences:
        raise CheckpointError(
            f"{weights.origin.name} has an encoder of another kind: {differences}; set the run's encoder to the file's"
        )
    load_strictly(encoder, weights.encoder.state, weights.origin.name)
    why = _why_fresh(weights, encoder.config, head, name)
    if why is None:
        load_strictly(head, _head_state(weights, head), weights.origin.name)
    if show:
        _show(weights, head, name, why)
    return {
        **asdict(weights.origin),
        "told": {"format": format, "license": license},
        "initialized": ["encoder"] if why else ["encoder", name],
        "fresh": {name: why} if why else {},
    }


def _show(weights: Pretrained, head: Predictor | Decoder, name: str, why: str | None) -> None:
    said = describe_import(weights, kept="not used")
    if isinstance(head, Predictor) and weights.predictor is not None and why is None:
        tokens, slots = weights.predictor.state["mask_tokens"], len(head.mask_tokens)
        chosen = chosen_mask_token(tokens, slots)
        if chosen is not None:
            said.append(
                f"mask token {chosen} of {len(tokens)}, the one of the largest norm, is the run's {slots}"
            )
    taken = "encoder alone" if why else f"encoder and {name}"
    said.append(
        f"the run starts from its {taken}{f'; the {name} starts fresh: {why}' if why else ''}"
    )
    for line in said:
        Console(stderr=True, soft_wrap=True).print(f"init_from: {line}", highlight=False)


def _recorded(
    path: Path | None, format: ImportFormat, license: str | None, recorded: dict[str, Any] | None
) -> dict[str, Any] | None:
    """What the run was started from. The file may be gone by now; only one of another name is looked at."""
    there = recorded["name"] if recorded else "random weights"
    here = path.absolute().name if path else "random weights"
    if there != here and not (
        recorded and path and path.exists() and _sha256(path) == recorded["sha256"]
    ):
        raise CheckpointError(
            f"the run was started from {there}, not from {here}; resume it with the same --init_from"
        )
    told = {"format": format, "license": license}
    before = (recorded or {}).get("told", {"format": "auto", "license": None})
    if told != before:
        raise CheckpointError(
            f"the run was started with init_format {before['format']} and init_license {before['license']}, not {format} and "
            f"{license}; resume it with the same ones"
        )
    return recorded


def _sha256(path: Path) -> str:
    """As `Origin` has it."""
    if (path / ENCODER_FILE).is_file():
        return file_sha256(path / ENCODER_FILE)
    return checkpoint_sha256(path)


def _read(path: Path, format: ImportFormat, options: ImportOptions) -> Pretrained:
    if not ((path / ENCODER_FILE).is_file() or (path.is_file() and is_encoder_file(path))):
        return read_external(path, format, options)
    if format != "auto":
        raise CheckpointError(
            f"{path} is a run or an encoder file of ours, and not of format {format}; leave init_format out"
        )
    weights = read_own(path).weights
    if options.license is None:
        return weights
    return replace(
        weights, origin=replace(weights.origin, license=options.license, license_from="given")
    )


def _import_options(
    encoder: EncoderConfig, head: Predictor | Decoder, license: str | None
) -> ImportOptions:
    """What the run's own config says of a file that does not. The heads of a published size are known without it, and so is the
    size of the frames that VideoMAE's flat sinusoids are for.
    """
    published = is_published_size(encoder.width, encoder.depth)
    return ImportOptions(
        num_heads=None if published else encoder.num_heads,
        num_frames=encoder.num_frames,
        crop_px=None if published and encoder.positions == "sincos" else encoder.crop_px,
        tubelet_size=encoder.tubelet_size,
        positions=encoder.positions,
        predictor_heads=head.config.num_heads if isinstance(head, Predictor) else None,
        predictor_depth=head.config.depth if isinstance(head, Predictor) else None,
        decoder_heads=head.config.num_heads if isinstance(head, Decoder) else None,
        decoder_depth=head.config.depth if isinstance(head, Decoder) else None,
        license=license,
    )


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Fields of two configs that make other weights, for a reader. MLPs are compared by their channels."""
    hidden = [round(config["width"] * config["mlp_ratio"]) for config in (there, here)]
    same = _NOT_OF_WEIGHTS | ({"mlp_ratio"} if hidden[0] == hidden[1] else set())
    if here.get("positions") == "sincos":
        same -= {"crop_px"}
    lines = [
        f"{name} {there[name]} there, {here[name]} here"
        for name in here
        if there[name] != here[name]
    ]
    return "; ".join(line for line in lines if line.split()[0] not in same)


def _why_fresh(
    weights: Pretrained, encoder: EncoderConfig, head: Predictor | Decoder, name: str
) -> str | None:
    part = weights.predictor if isinstance(head, Predictor) else weights.decoder
    if part is None:
        left_out = {entry.name: entry.why for entry in weights.origin.left_out}
        return left_out.get(name, "the file has none")
    there = weights.encoder.config.crop_px
    if isinstance(head, Decoder) and there != encoder.crop_px:
        return f"crop_px {there} there, {encoder.crop_px} here, and a decoder's flat sinusoids fit one alone"
    return _differences(asdict(part.config), asdict(head.config)) or None


def _head_state(weights: Pretrained, head: Predictor | Decoder) -> dict[str, Tensor]:
    if isinstance(head, Decoder):
        assert weights.decoder is not None
        return dict(weights.decoder.state)
    assert weights.predictor is not None
    state = dict(weights.predictor.state)
    return state | {"mask_tokens": fitting_mask_tokens(state["mask_tokens"], len(head.mask_tokens))}
