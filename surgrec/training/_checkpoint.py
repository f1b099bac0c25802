"""Checkpoints: atomic, checksummed, loaded without pickle, refused if they belong to another run.

`RUN/checkpoints/step-00000200/` contains one safetensors file per module, the optimizer's state by
parameter name, and `state.json`. No random state is saved: every random choice is keyed by the seed
and the position.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import torch
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from surgrec.errors import CheckpointError, StorageError, TrainingError, reason
from surgrec.json_files import read_json
from surgrec.models import ENCODER_FILE, load_strictly
from surgrec.models.encoder_file import unshared_on_cpu
from surgrec.models.tensor_files import check_weights, is_finite, open_tensor_file
from surgrec.runs import RunFiles
from surgrec.runs.identity import different_lines
from surgrec.storage import check_owned, file_sha256

_STATE_FILE, _OPTIMIZER_FILE = "state.json", "optimizer.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_SHOWN = 20
"""Differences that an error lists; it counts all others."""
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Everything that a resume needs besides the step."""

    modules: Mapping[str, nn.Module]
    """Modules to save, by file name."""
    optimizer: torch.optim.Optimizer
    """AdamW."""
    trained: nn.Module
    """The module whose parameters the optimizer updates."""
    identity: Callable[[int], Mapping[str, Any]]
    """Maps a step to the JSON values that a run resumed at that step must share."""
    differences: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]] = different_lines
    """Maps a saved identity and the one of this run to one line per difference."""


class _StateFile(TypedDict):
    """The content of `state.json`."""

    format: int
    step: Annotated[int, Meta(ge=0)]
    files: dict[str, str]
    """SHA-256 of each other file of the checkpoint, by name."""
    identity: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run_dir: Folder of the run.
        keep: Number of newest checkpoints that `save` keeps.

    Example:
        >>> checkpoints = Checkpoints(Path("runs/a"), keep=3)
        >>> checkpoints.steps()
        [1000, 2000, 3000]
        >>> encoder = checkpoints.tensors(3000, "target_encoder")
    """

    def __init__(self, run_dir: Path, keep: int) -> None:
        self.run_dir = run_dir
        self.folder = RunFiles(run_dir).checkpoints
        self._keep = keep

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in ascending order."""
        return RunFiles(self.run_dir).checkpoint_steps()

    def unfinished(self, step: int) -> Path:
        """Return the folder in which a save collects the files of a checkpoint."""
        path = self._path(step)
        return path.with_name(f".{path.name}.partial")

    def save(
        self,
        step: int,
        state: TrainingState,
        write_encoder: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write the state after `step` steps and the encoder file; remove the oldest checkpoints.

        Both are complete on the disk before either appears. The encoder file appears first, so it
        is never older than the newest checkpoint.

        Args:
            step: Number of steps done, which is the number of global batches consumed.
            state: State to save.
            write_encoder: Writes the encoder file to a path. None: no encoder file.

        Raises:
            StorageError: The disk is full. Earlier checkpoints are kept.
            TrainingError: A tensor is not finite.
            ConfigError: Another process has taken over the run folder.
        """
        check_owned()
        path = self._path(step)
        partial = self.unfinished(step)
        try:
            self._remove_unfinished()
            partial.mkdir(parents=True)
            _write(partial, step, state)
            if write_encoder is not None:
                write_encoder(partial / ENCODER_FILE)
            for file in partial.iterdir():
                _sync(file)

            # The save may have taken long.
            check_owned()

            # The folder appears under its final name when all of its bytes are on the disk.
            if write_encoder is not None:
                (partial / ENCODER_FILE).replace(self.run_dir / ENCODER_FILE)
                _sync(self.run_dir)
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
            _sync(self.folder)
        except (OSError, SafetensorError, CheckpointError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            last = max(self.steps(), default=0)
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            raise StorageError(
                f"the checkpoint {path} cannot be written ({reason(cause)}); check the disk, and "
                f"resume from step {last}"
            ) from error
        except TrainingError:
            shutil.rmtree(partial, ignore_errors=True)
            raise

        for old in self.steps()[: -self._keep]:
            # Under another name first: a folder that is half removed is no checkpoint.
            removed = self._path(old).with_name(f".{self._path(old).name}.removed")
            self._path(old).rename(removed)
            shutil.rmtree(removed)
        return path

    def _remove_unfinished(self) -> None:
        """Remove the files of a killed save. Only the process that trains here saves."""
        for left in self.folder.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)

    def load(self, step: int, state: TrainingState) -> None:
        """Restore the state that `save` wrote.

        Raises:
            CheckpointError: A file is missing or damaged, or belongs to a different run.
        """
        path = self._path(step)
        facts = self._read_state(step)
        differences = state.differences(facts["identity"], state.identity(step))
        if differences:
            shown = differences[:_SHOWN]
            if len(differences) > _SHOWN:
                shown.append(f"and {len(differences) - _SHOWN} more")
            raise CheckpointError(
                f"{path} belongs to a run that differs from this one: {'; '.join(shown)}; "
                "resume with the same settings, or start in another run_dir"
            )

        # Every file that is loaded must have its digest, and every listed file must be there.
        needed = [*(f"{name}.safetensors" for name in state.modules), _OPTIMIZER_FILE]
        for name in dict.fromkeys([*needed, *facts["files"]]):
            _check_file(path, name, facts["files"].get(name))

        for name, module in state.modules.items():
            file = path / f"{name}.safetensors"
            load_strictly(module, _read_tensors(file), str(file))
        file = path / _OPTIMIZER_FILE
        _load_optimizer(state.optimizer, state.trained, _read_tensors(file), str(file))

    def identity(self, step: int) -> dict[str, Any]:
        """Return the identity of the run that wrote a checkpoint. Raises as `load` does."""
        return self._read_state(step)["identity"]

    def tensors(self, step: int, module: str) -> dict[str, Tensor]:
        """Return one module's tensors by parameter name. Raises as `load` does."""
        name, path = f"{module}.safetensors", self._path(step)
        _check_file(path, name, self._read_state(step)["files"].get(name))
        return _read_tensors(path / name)

    def _read_state(self, step: int) -> _StateFile:
        path = self._path(step)
        state = read_json(
            path / _STATE_FILE,
            _StateFile,
            error=CheckpointError,
            remedy=f"remove the folder {path} to resume from the previous checkpoint",
        )

        if state["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {state['format']!r}, but this version of "
                f"SurgRec reads format {FORMAT}; resume with the version that wrote it"
            )

        if state["step"] != step:
            raise CheckpointError(
                f"{path} holds the checkpoint of step {state['step']}; rename the folder to "
                f"{self._path(state['step']).name}"
            )

        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"


def _write(folder: Path, step: int, state: TrainingState) -> None:
    for name, module in state.modules.items():
        _save_tensors(module.state_dict(), folder / f"{name}.safetensors", step)
    tensors = _optimizer_tensors(state.optimizer, state.trained)
    _save_tensors(tensors, folder / _OPTIMIZER_FILE, step)

    facts = {
        "format": FORMAT,
        "step": step,
        "files": {file.name: file_sha256(file) for file in sorted(folder.iterdir())},
        "identity": dict(state.identity(step)),
    }
    text = json.dumps(facts, indent=1, sort_keys=True)
    (folder / _STATE_FILE).write_text(text, encoding="utf-8")


def _save_tensors(tensors: Mapping[str, Tensor], path: Path, step: int) -> None:
    """Copy tensors to the host, one by one, and write them if all are finite."""
    copies = unshared_on_cpu(tensors)
    for name, tensor in copies.items():
        if not is_finite(tensor):
            raise TrainingError(
                f"'{name}' in {path.stem} is not finite after step {step - 1}, so no checkpoint "
                "was written; go on from the last checkpoint with --resume true and a smaller "
                "optimizer.lr.value"
            )
    save_file(copies, path)


def _optimizer_tensors(optimizer: torch.optim.Optimizer, trained: nn.Module) -> dict[str, Tensor]:
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in trained.named_parameters()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, trained: nn.Module, tensors: Mapping[str, Tensor], file: str
) -> None:
    if not tensors:  # saved before the first step
        return
    parameters = {
        name: parameter for name, parameter in trained.named_parameters() if parameter.requires_grad
    }

    expected = {f"{moment}.{name}" for name in parameters for moment in _MOMENTS}
    if expected != tensors.keys():
        name = min(expected ^ tensors.keys())
        problem = "is missing" if name in expected else "is not part of this optimizer's state"
        raise CheckpointError(f"{file}: {name} {problem}; resume with the same encoder and heads")

    for name, parameter in parameters.items():
        _check_moments(name, parameter, tensors, file)
        optimizer.state[parameter] = {
            moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS
        }


def _check_moments(name: str, parameter: Tensor, tensors: Mapping[str, Tensor], file: str) -> None:
    """Refuse moments of another shape, or that are NaN or infinite."""
    for moment in _MOMENTS:
        tensor, shape = tensors[f"{moment}.{name}"], parameter.shape
        if tensor.shape != (() if moment == "step" else shape):
            raise CheckpointError(
                f"{file}: {moment}.{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)};"
                " resume with the same encoder and heads"
            )
        check_weights({f"{moment}.{name}": tensor}, file)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    with open_tensor_file(path) as file:
        return file.read(file.names)


def _check_file(path: Path, name: str, digest: str | None) -> None:
    """Refuse a file without its digest, or with another one."""
    if Path(name).name != name or not (path / name).is_file() or file_sha256(path / name) != digest:
        raise CheckpointError(
            f"{path / name} is missing or damaged; remove the folder {path} to resume from the "
            "previous checkpoint"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
