"""Checkpoints: atomic, checksummed, loaded without pickle, refused if they belong to another run.

`RUN/checkpoints/step-00000200/` contains one safetensors file per module, the optimizer's state by
parameter name, and `state.json`. No random state is saved: every random choice is keyed by the seed
and the position. A save copies the state to host memory; a thread writes the files from there.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
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
from surgrec.models.tensor_files import (
    check_weights,
    is_finite,
    open_tensor_file,
    require_tensors,
)
from surgrec.runs import RunFiles
from surgrec.runs.identity import different_lines, remedy_for
from surgrec.storage import check_owned, file_sha256
from surgrec.training._host_memory import HostMemory
from surgrec.training._lower_rate import lower_rate_from
from surgrec.training._sharding import whole

_STATE_FILE, _OPTIMIZER, _SUFFIX = "state.json", "optimizer", ".safetensors"
_OPTIMIZER_FILE = f"{_OPTIMIZER}{_SUFFIX}"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""Names of the values that AdamW keeps for each parameter."""
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


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a run after a step, in host memory. From `Checkpoints.snapshot`."""

    step: int
    """Number of steps done, which is the number of global batches consumed."""
    identity: Mapping[str, Any]
    """JSON values that a run resumed at this step must share."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """Tensors by name: of each module, and the optimizer's moments."""

    def encoder(self, modules: Mapping[str, nn.Module], encoder: nn.Module) -> dict[str, Tensor]:
        """Return the tensors of an encoder, which is one of the saved modules or a part of one."""
        name, prefix = next(
            (name, f"{path}." if path else "")
            for name, module in modules.items()
            for path, part in module.named_modules()
            if part is encoder
        )
        return {
            key.removeprefix(prefix): tensor
            for key, tensor in self.tensors[name].items()
            if key.startswith(prefix)
        }


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run_dir: Folder of the run.
        keep: Number of newest checkpoints that a save keeps.
        milestone_every: A save also keeps the checkpoints of all multiples of this step.

    Example:
        >>> checkpoints = Checkpoints(Path("runs/a"), keep=3)
        >>> checkpoints.begin_save(checkpoints.snapshot(4000, state))
        >>> checkpoints.finish_save()
        >>> checkpoints.steps()
        [2000, 3000, 4000]
        >>> encoder = checkpoints.tensors(3000, "target_encoder")
    """

    def __init__(self, run_dir: Path, keep: int, milestone_every: int | None = None) -> None:
        self.run_dir = run_dir
        self.folder = RunFiles(run_dir).checkpoints
        self._keep = keep
        self._milestone_every = milestone_every
        self._memory = HostMemory()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._saving: Future[None] | None = None

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in ascending order."""
        return RunFiles(self.run_dir).checkpoint_steps()

    def unfinished(self, step: int) -> Path:
        """Return the folder in which a save collects the files of a checkpoint."""
        path = self._path(step)
        return path.with_name(f".{path.name}.partial")

    def snapshot(self, step: int, state: TrainingState, *, keep: bool = True) -> Snapshot:
        """Copy the state after `step` steps to host memory, tensor by tensor.

        A collective, if the state is sharded: its tensors are gathered, one at a time. So the files
        do not depend on the sharding. Waits for the save before, which is written from the same
        memory.

        Args:
            step: Number of steps done.
            state: State to copy.
            keep: Whether this is the process that saves. Others return no tensors.

        Raises:
            StorageError, TrainingError, ConfigError: The save before failed; see `begin_save`.
        """
        self.finish_save()
        live = {name: module.state_dict() for name, module in state.modules.items()}
        live[_OPTIMIZER] = _optimizer_tensors(state.optimizer, state.trained)

        tensors: dict[str, dict[str, Tensor]] = {file: {} for file in live}
        for file, named in live.items():
            for name, tensor in named.items():
                gathered = whole(tensor)
                if keep:
                    tensors[file][name] = self._memory.copy(f"{file}/{name}", gathered)
        identity = state.identity(step) if keep else {}
        return Snapshot(step=step, identity=identity, tensors=tensors)

    def begin_save(
        self, snapshot: Snapshot, write_encoder: Callable[[Path], None] | None = None
    ) -> None:
        """Write a checkpoint and the encoder file in a thread; remove the oldest checkpoints.

        Both are complete on the disk, and compared with the snapshot, before either appears. The
        encoder file appears first, so it is never older than the newest checkpoint. `require_saved`
        and `finish_save` raise the error of a save that failed; earlier checkpoints are kept. The
        interpreter ends after the thread.

        Args:
            snapshot: State to save.
            write_encoder: Writes the encoder file to a path. None: no encoder file.

        Raises:
            StorageError: The folder cannot be created. Later: the disk is full, or returns other
                bytes than were written.
            TrainingError: Later: a tensor is not finite.
            ConfigError: Another process has taken over the run folder.
        """
        self.finish_save()
        check_owned()

        # A run that is killed from here on has lost nothing: the folder is the sign of this save.
        try:
            self._remove_unfinished()
            self.unfinished(snapshot.step).mkdir(parents=True)
        except OSError as error:
            raise self._unwritable(snapshot.step, error) from error
        self._saving = self._writer.submit(self._save, snapshot, write_encoder)

    def require_saved(self) -> None:
        """Raise the error of a save that has failed. Does not wait for one that still writes."""
        if self._saving is not None and self._saving.done():
            self.finish_save()

    def finish_save(self) -> None:
        """Wait until the begun save is complete, and raise its error; see `begin_save`."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def save(
        self,
        step: int,
        state: TrainingState,
        write_encoder: Callable[[Path], None] | None = None,
    ) -> Path:
        """Save the state after `step` steps, and wait; see `begin_save`. Return the folder."""
        self.begin_save(self.snapshot(step, state), write_encoder)
        self.finish_save()
        return self._path(step)

    def _save(self, snapshot: Snapshot, write_encoder: Callable[[Path], None] | None) -> None:
        path, partial = self._path(snapshot.step), self.unfinished(snapshot.step)
        try:
            _write(partial, snapshot)
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
            raise self._unwritable(snapshot.step, error) from error
        except TrainingError:
            shutil.rmtree(partial, ignore_errors=True)
            raise

        self._remove_oldest()

    def _unwritable(self, step: int, error: Exception) -> StorageError:
        last = max(self.steps(), default=0)
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        return StorageError(
            f"the checkpoint {self._path(step)} cannot be written ({reason(cause)}); check the "
            f"disk, and resume from step {last}"
        )

    def _remove_oldest(self) -> None:
        for old in self.steps()[: -self._keep]:
            if self._milestone_every is not None and old % self._milestone_every == 0:
                continue
            # Under another name first: a folder that is half removed is no checkpoint.
            removed = self._path(old).with_name(f".{self._path(old).name}.removed")
            self._path(old).rename(removed)
            shutil.rmtree(removed)

    def _remove_unfinished(self) -> None:
        """Remove the files of a killed save. Only the process that trains here saves."""
        for left in self.folder.glob(".step-*"):
            shutil.rmtree(left, ignore_errors=True)

    def load(self, step: int, state: TrainingState) -> None:
        """Restore the state that `save` wrote, before it is sharded. Moments stay on the host.

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
                f"{remedy_for(differences)}"
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


def _write(folder: Path, snapshot: Snapshot) -> None:
    """Write the files of a checkpoint, and compare them with the snapshot."""
    for name, tensors in snapshot.tensors.items():
        _check_finite(tensors, name, snapshot.step, folder.parents[1])
        save_file(dict(tensors), folder / f"{name}{_SUFFIX}")

    digests = {
        f"{name}{_SUFFIX}": written_sha256(folder / f"{name}{_SUFFIX}", tensors)
        for name, tensors in snapshot.tensors.items()
    }
    facts = {
        "format": FORMAT,
        "step": snapshot.step,
        "files": dict(sorted(digests.items())),
        "identity": dict(snapshot.identity),
    }
    text = json.dumps(facts, indent=1, sort_keys=True)
    (folder / _STATE_FILE).write_text(text, encoding="utf-8")


def written_sha256(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a file that was just written, as the disk returns it.

    Raises:
        CheckpointError: The disk returns other tensors than these.
        OSError: The file cannot be read.
    """
    # Only bytes that are on the disk can leave the memory of the system.
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    digest = file_sha256(path)
    require_tensors(path, tensors)
    return digest


def _check_finite(tensors: Mapping[str, Tensor], file: str, step: int, run_dir: Path) -> None:
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise TrainingError(
                f"'{name}' in {file} is not finite after step {step - 1}, so no checkpoint "
                f"was written; {lower_rate_from(run_dir, step - 1)}"
            )


def _optimizer_tensors(optimizer: torch.optim.Optimizer, trained: nn.Module) -> dict[str, Tensor]:
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in trained.named_parameters()
        if parameter in optimizer.state
        for moment in MOMENTS
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, trained: nn.Module, tensors: Mapping[str, Tensor], file: str
) -> None:
    if not tensors:  # saved before the first step
        return
    parameters = {
        name: parameter for name, parameter in trained.named_parameters() if parameter.requires_grad
    }

    expected = {f"{moment}.{name}" for name in parameters for moment in MOMENTS}
    if expected != tensors.keys():
        name = min(expected ^ tensors.keys())
        problem = "is missing" if name in expected else "is not part of this optimizer's state"
        raise CheckpointError(f"{file}: {name} {problem}; resume with the same encoder and heads")

    for name, parameter in parameters.items():
        _check_moments(name, parameter, tensors, file)
        optimizer.state[parameter] = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS}


def _check_moments(name: str, parameter: Tensor, tensors: Mapping[str, Tensor], file: str) -> None:
    """Refuse moments of another shape, or that are NaN or infinite."""
    for moment in MOMENTS:
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
