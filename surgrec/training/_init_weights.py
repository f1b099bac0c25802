"""Start a run from pretrained weights: a run, an encoder file or another project's file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from surgrec.convert import (
    Component,
    ImportFormat,
    ImportOptions,
    Pretrained,
    describe_import,
    is_published_size,
)
from surgrec.errors import CheckpointError, ConfigError
from surgrec.json_files import typed
from surgrec.models import load_strictly
from surgrec.models.provenance import InitRecord
from surgrec.objectives import Objective
from surgrec.terminal import escape, say
from surgrec.training._checkpoint import Checkpoints
from surgrec.training._weights_file import open_weights

_NOTHING_GIVEN = {"format": "auto", "license": None}
"""Format and license of a run that was started without `init_format` and `init_license`."""


def initialize_weights(
    path: Path | None,
    objective: Objective,
    checkpoints: Checkpoints,
    first_step: int,
    *,
    show: bool,
    format: ImportFormat = "auto",
    license: str | None = None,
) -> dict[str, Any] | None:
    """Load the weights that a new run starts from, or check that a resumed run names the same ones.

    Args:
        path: A run, an encoder file, or an external file or folder. None: random weights.
        objective: Receives the weights of a new run. A resumed run does not change it.
        checkpoints: Checkpoints of the run. They record the weights that it was started from.
        first_step: First step of this start: 0 for a new run.
        show: Report the contents of the file and the use of each network on standard error.
        format: Format of an external file, or `auto` to detect it.
        license: License of the weights, an SPDX identifier; replaces the one in the file.

    Returns:
        JSON values for the run's identity. None: random weights.

    Raises:
        CheckpointError: The file cannot be read, does not fit the objective, or differs from the
            one that the resumed run was started from.
        ConfigError: A format or a license is given without a file.
    """
    given = {"format": format, "license": license}
    if path is None and given != _NOTHING_GIVEN:
        changed = [f"init_{name}" for name in given if given[name] != _NOTHING_GIVEN[name]]
        raise ConfigError(
            f"{' and '.join(changed)} {'are' if len(changed) > 1 else 'is'} given without "
            "init_from; give init_from, too"
        )

    if first_step:
        recorded = _recorded(checkpoints, first_step)
        _check_unchanged(recorded, path, given)
        return recorded
    if path is None:
        return None
    return load_init_weights(path, objective, format, license, show=show)


def load_init_weights(
    path: Path,
    objective: Objective,
    format: ImportFormat = "auto",
    license: str | None = None,
    *,
    show: bool = False,
) -> dict[str, Any]:
    """Load pretrained weights into an objective: the encoder always, the head if it fits.

    Args:
        path: A run, an encoder file, or an external file or folder.
        objective: Receives the weights.
        format: Format of an external file, or `auto` to detect it.
        license: License of the weights, an SPDX identifier; replaces the one in the file.
        show: Report on standard error the contents of the file and the use of each network.

    Returns:
        JSON values: name, sha256, format, license and the other fields of an `Origin`; `given`: the
        format and license as given; `initialized`: names of the loaded networks; and `fresh`: the
        networks that start random, with the reason.

    Raises:
        CheckpointError: The file cannot be read, or its encoder differs from the objective's.

    Example:
        >>> load_init_weights(Path("vitl.pt"), objective, format="vjepa")["initialized"]
        ['encoder', 'predictor']
    """
    weights = open_weights(path).read(format, _import_options(objective, license))
    name = objective.head_name

    # The encoder must fit.
    differences = objective.encoder.config.weight_differences(weights.encoder.config)
    if differences:
        raise CheckpointError(
            f"{weights.origin.name} has another encoder than the run ({differences}); "
            "give the run the encoder of the file"
        )
    load_strictly(objective.encoder, weights.encoder.state, weights.origin.name)

    # The head is optional.
    head = weights.heads.get(name)
    reason = _why_random(weights, objective, head)
    change = None
    if head is not None and reason is None:
        fitted = objective.fit_head_weights(head.state)
        load_strictly(objective.head, fitted.tensors, weights.origin.name)
        change = fitted.change

    if show:
        _show(weights, name, change, reason)
    return {
        **asdict(weights.origin),
        "given": {"format": format, "license": license},
        "initialized": ["encoder"] if reason else ["encoder", name],
        "fresh": {name: reason} if reason else {},
    }


def _import_options(objective: Objective, license: str | None) -> ImportOptions:
    """Return the facts that an external file does not store, from the run's config.

    A published size fixes its number of heads. A published VideoMAE also fixes the size of the
    frames that its flat sinusoids are for.
    """
    encoder = objective.encoder.config
    published = is_published_size(encoder.width, encoder.depth)
    return ImportOptions(
        num_heads=None if published else encoder.num_heads,
        num_frames=encoder.num_frames,
        crop_px=None if published and encoder.positions == "sincos" else encoder.crop_px,
        tubelet_size=encoder.tubelet_size,
        positions=encoder.positions,
        license=license,
        pretraining_data=None,
        **objective.head_options(),
    )


def _why_random(
    weights: Pretrained, objective: Objective, head: Component[Any] | None
) -> str | None:
    """Return why the head starts from random weights, or None if the file's weights fit."""
    if head is None:
        skipped = {entry.name: entry.why for entry in weights.origin.left_out}
        return skipped.get(objective.head_name, "not in the file")
    return objective.head_mismatch(head.config, weights.encoder.config)


def _show(weights: Pretrained, name: str, change: str | None, reason: str | None) -> None:
    """Report the contents of the file and the use of each network on standard error."""
    lines = describe_import(weights, kept="not used")
    if change:
        lines.append(change)
    if reason:
        lines.append(f"loaded the encoder only; the {name} starts from random weights ({reason})")
    else:
        lines.append(f"loaded the encoder and the {name}")

    for line in lines:
        say(f"init_from: {escape(line)}")


def _recorded(checkpoints: Checkpoints, step: int) -> dict[str, Any] | None:
    """Return the record of the initial weights in the checkpoint of a step."""
    recorded: dict[str, Any] | None = checkpoints.identity(step).get("init_from")
    if recorded is not None:
        typed(
            recorded,
            InitRecord,
            f"the checkpoint of step {step} in {checkpoints.run_dir}: init_from",
            error=CheckpointError,
            remedy="remove the folder of this checkpoint to resume from the previous one",
        )
    return recorded


def _check_unchanged(
    recorded: dict[str, Any] | None, path: Path | None, given: dict[str, str | None]
) -> None:
    """Raise an error if a resumed run names other weights than it was started from.

    The file itself need not exist any more. It is read only if its name differs.

    Raises:
        CheckpointError: The file, the format or the license differs.
    """
    saved_name = recorded["name"] if recorded else "random weights"
    name = path.absolute().name if path else "random weights"
    if name != saved_name and not _is_renamed(recorded, path):
        raise CheckpointError(
            f"the run was started from {saved_name}, not from {name}; "
            "resume it with the same --init_from"
        )

    saved_given = (recorded or {}).get("given", _NOTHING_GIVEN)
    if given != saved_given:
        raise CheckpointError(
            f"the run was started with init_format {saved_given['format']} and init_license "
            f"{saved_given['license']}, not {given['format']} and {given['license']}; "
            "resume it with the same ones"
        )


def _is_renamed(recorded: dict[str, Any] | None, path: Path | None) -> bool:
    """Return whether a file is the recorded one under another name."""
    if recorded is None or path is None or not path.exists():
        return False
    return bool(open_weights(path).sha256() == recorded["sha256"])
