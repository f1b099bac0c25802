"""Checkpoints: complete under their name or not at all, checksummed, loaded without pickle, refused when anything differs.

`RUN/checkpoints/step-00000200/` holds one safetensors file per module, the optimizer's state by parameter name, and `state.json`.
No random state is kept: everything random is keyed by the seed and the position.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from surgrec.errors import CheckpointError, StorageError
from surgrec.models import load_strictly
from surgrec.storage import file_sha256

_FOLDER = re.compile(r"step-(\d{8,})")
_STATE_FILE, _OPTIMIZER_FILE = "state.json", "optimizer.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Everything that a resume needs but the step."""

    modules: Mapping[str, nn.Module]
    """What is saved, by file name."""
    optimizer: torch.optim.Optimizer
    """AdamW."""
    trained: nn.Module
    """The module whose parameters the optimizer holds."""
    identity: Callable[[int], Mapping[str, Any]]
    """From a step, the JSON values that a run which resumes there must share."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run_dir: Path, keep: int) -> None:
        self.run_dir = run_dir
        self.folder = run_dir / "checkpoints"
        self._keep = keep

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(
            int(match.group(1))
            for path in self.folder.iterdir()
            if (match := _FOLDER.fullmatch(path.name))
        )

    def save(self, step: int, state: TrainingState) -> Path:
        """Writes the state after `step` steps, which is also the number of global batches consumed, and removes old ones.

        Raises:
            StorageError: The disk is full. The checkpoints that are there stay.
        """
        path = self._path(step)
        partial = path.with_name(f".{path.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for name, module in state.modules.items():
                tensors = {
                    key: tensor.detach().contiguous() for key, tensor in module.state_dict().items()
                }
                save_file(tensors, partial / f"{name}.safetensors")
            save_file(_optimizer_tensors(state.optimizer, state.trained), partial / _OPTIMIZER_FILE)
            files = {file.name: file_sha256(file) for file in sorted(partial.iterdir())}
            facts = {
                "format": FORMAT,
                "step": step,
                "files": files,
                "identity": dict(state.identity(step)),
            }
            (partial / _STATE_FILE).write_text(
                json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8"
            )
            for file in partial.iterdir():
                _sync(file)
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
            _sync(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            last = max(self.steps(), default=0)
            raise StorageError(
                f"the checkpoint {path} could not be written ({error}); free space and resume from step {last}"
            ) from error
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self._path(old))
        return path

    def load(self, step: int, state: TrainingState) -> None:
        """Restores everything that `save` wrote, or raises and says why not.

        Raises:
            CheckpointError: A file is missing or damaged, or the run that wrote it was another one.
        """
        path = self._path(step)
        facts = self._read_state(path)
        differences = different_lines(facts["identity"], dict(state.identity(step)))
        if differences:
            raise CheckpointError(
                f"{path} belongs to a run that differs from this one: {'; '.join(differences)}; "
                "resume with the same settings, or start in another run_dir"
            )
        for name, digest in facts["files"].items():
            _check_file(path, name, digest)
        for name, module in state.modules.items():
            load_strictly(
                module, load_file(path / f"{name}.safetensors"), str(path / f"{name}.safetensors")
            )
        tensors = load_file(path / _OPTIMIZER_FILE)
        _load_optimizer(state.optimizer, state.trained, tensors, str(path / _OPTIMIZER_FILE))

    def identity(self, step: int) -> dict[str, Any]:
        """What the run that wrote this checkpoint was. Raises as `load` does."""
        identity: dict[str, Any] = self._read_state(self._path(step))["identity"]
        return identity

    def tensors(self, step: int, module: str) -> dict[str, Tensor]:
        """A module's tensors by its parameter names, without the rest of the checkpoint. Raises as `load` does."""
        path = self._path(step)
        name = f"{module}.safetensors"
        _check_file(path, name, self._read_state(path)["files"].get(name))
        return load_file(path / name)

    def _read_state(self, path: Path) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((path / _STATE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path / _STATE_FILE} cannot be read ({error}); remove {path} to resume from the one before it"
            ) from error
        if state.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} has the format {state.get('format')!r}; this surgrec reads {FORMAT}"
            )
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"


def different_lines(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs between two JSON values, one readable line each: `mixture.block: 1024 there, 64 here`."""
    if isinstance(there, dict) and isinstance(here, dict):
        lines = []
        for key in sorted(there.keys() | here.keys()):
            lines += different_lines(
                there.get(key), here.get(key), f"{name}.{key}" if name else str(key)
            )
        return lines
    plain = json.loads(json.dumps(here))  # tuples and lists are one in JSON
    return (
        [] if there == plain else [f"{name}: {json.dumps(there)} there, {json.dumps(plain)} here"]
    )


def _optimizer_tensors(optimizer: torch.optim.Optimizer, trained: nn.Module) -> dict[str, Tensor]:
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment].detach().contiguous().clone()
        for name, parameter in trained.named_parameters()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, trained: nn.Module, tensors: Mapping[str, Tensor], where: str
) -> None:
    parameters = {
        name: parameter for name, parameter in trained.named_parameters() if parameter.requires_grad
    }
    wanted = {f"{moment}.{name}" for name in parameters for moment in _MOMENTS}
    if tensors and wanted != tensors.keys():
        name = min(wanted ^ tensors.keys())
        raise CheckpointError(
            f"{where}: {name} is {'missing' if name in wanted else 'not a state of this optimizer'}"
        )
    for name, parameter in parameters.items() if tensors else ():
        optimizer.state[parameter] = {
            moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS
        }


def _check_file(path: Path, name: str, digest: str | None) -> None:
    if not (path / name).is_file() or file_sha256(path / name) != digest:
        raise CheckpointError(
            f"{path / name} is missing or damaged; remove {path} to resume from the one before it"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
