"""Trackers: the numbers of a run in TensorBoard, Weights & Biases or MLflow, through accelerate.

Compute nodes have no internet, so every tracker writes into the run folder: wandb works offline
unless WANDB_MODE says otherwise, and mlflow uses a local file unless MLFLOW_TRACKING_URI does.
"""

import hashlib
import importlib.util
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from surgrec.errors import SetupError, how_to_install

TrackerName = Literal["none", "tensorboard", "wandb", "mlflow"]


def require_tracker(name: TrackerName) -> None:
    """Refuse a tracker whose package is missing; accelerate would leave it out without a word.

    Raises:
        SetupError: Names the package.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise SetupError(
            f"log.tracker is {name}, but the package {name} is not installed; "
            f"{how_to_install(name)}; or give --log.tracker none"
        )


def start_tracker(
    accelerator: Accelerator, name: TrackerName, run_dir: Path, first_step: int
) -> None:
    """Start the tracker of a run on the main process.

    Args:
        accelerator: Connects the ranks; its `log` sends numbers to the tracker.
        name: The tracker.
        run_dir: Folder of the run; the tracker gets a folder within.
        first_step: Steps done at this start. TensorBoard drops the numbers of later ones.
    """
    if name == "none":
        return
    run, folder = run_dir.absolute().name, run_dir.absolute()
    if name == "tensorboard":
        options: dict[str, Any] = {"logging_dir": str(folder), "purge_step": first_step + 1}
        tracker = LOGGER_TYPE_TO_CLASS[name]("tensorboard", **options)
    elif name == "wandb":
        # A resumed run goes on under its identifier.
        identifier = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        tracker = LOGGER_TYPE_TO_CLASS[name](
            "surgrec",
            name=run,
            id=identifier,
            resume="allow",
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
        )
    else:
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        tracker = LOGGER_TYPE_TO_CLASS[name](
            "surgrec", run_name=run, logging_dir=(folder / "mlflow").as_uri()
        )

    accelerator.log_with = [tracker]
    accelerator.init_trackers("surgrec")


def tracked_numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, int | float]:
    """Return the numbers of a row by name, those of a mapping as `loss_by_source/alpha`.

    Texts, switches and numbers that are not finite are left out.
    """
    numbers: dict[str, int | float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            numbers |= tracked_numbers(value, f"{prefix}{name}/")
        elif name != "step" and _is_number(value):
            numbers[prefix + name] = value
    return numbers


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value)
