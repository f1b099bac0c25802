"""The training on one encoder: its steps, checkpoints and stop. The loop is in the recipe."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from surgrec.errors import CheckpointError, ConfigError
from surgrec.json_files import read_json
from surgrec.storage import open_store
from surgrec.terminal import escape, say
from surgrec.training.session import Checkpoints, Session, TrainingState, progress_bar

FAILED_FILE = "failed.json"
"""Train windows that could not be read, in the folder of a training."""
_SHOW_EVERY = 10
"""Steps between two numbers in the progress bar: each waits for the device."""


@dataclass(kw_only=True)
class Training:
    """One training in a folder of its own. Call `restore`, then loop over `steps`.

    Example:
        >>> training.restore(heads, optimizer)
        >>> for step in training.steps():
        ...     ...
        ...     training.after_step(step, loss)
    """

    session: Session
    """The ranks."""
    folder: Path
    """Folder of the checkpoints."""
    name: str
    """Name in messages."""
    num_steps: int
    """Steps of the whole training."""
    save_every: int
    """Steps between two checkpoints."""
    identity: Mapping[str, Any]
    """JSON values that a resumed training must share."""
    resume: bool
    """Whether a training in the folder is continued."""
    failed: dict[int, str]
    """Reason of each train window that this rank could not read, by index. Grows meanwhile."""
    stopped: bool = False
    """Whether a stop was requested before the end."""
    _first_step: int = field(init=False, default=0)
    _state: TrainingState = field(init=False)
    _checkpoints: Checkpoints = field(init=False)
    _loss: Tensor | None = field(init=False, default=None)
    _described: str | None = field(init=False, default=None)

    def restore(self, trained: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load the newest checkpoint, if there is one. A collective.

        Args:
            trained: The trained module, on the device.
            optimizer: Its optimizer.

        Raises:
            ConfigError: The folder has a checkpoint, and `resume` is false.
            CheckpointError: The checkpoint is damaged, or belongs to another training.
        """
        self._checkpoints = Checkpoints(self.folder, keep=1)
        self._state = TrainingState(
            modules={"model": trained},
            optimizer=optimizer,
            trained=trained,
            identity=lambda step: self.identity,
        )
        self._first_step = self.session.on_main(lambda: max(self._checkpoints.steps(), default=0))
        if not self._first_step:
            return
        if not self.resume:
            raise ConfigError(
                f"{self.folder} already has a checkpoint of step {self._first_step}; continue with "
                "--resume true, or choose another out"
            )

        failed = self.session.on_main(self._read_failed)
        self.failed.update({int(window): reason for window, reason in failed.items()})

        # Every rank reads the files of a shared folder. Moments are loaded to the host.
        self._checkpoints.load(self._first_step, self._state)
        for parameter, moments in optimizer.state.items():
            optimizer.state[parameter] = {
                name: value.to(parameter.device) for name, value in moments.items()
            }

    def steps(self) -> Iterator[int]:
        """Yield each step, until the last one or until all ranks agree to stop."""
        bar = progress_bar(
            self._first_step,
            self.num_steps,
            lambda: self._described,
            str,
            show=self.session.is_main,
        )
        for step in bar:
            yield step
            if self.stopped:
                return

    def after_step(self, step: int, loss: Tensor) -> None:
        """Save if it is time or a stop was requested. A collective, after every step.

        Args:
            step: Number of the step.
            loss: This rank's part of the mean loss, for the progress bar.
        """
        done = step + 1
        stop = self.session.stops_after(step) and done < self.num_steps

        if stop or done % self.save_every == 0 or done == self.num_steps:
            self._share_failed()
            self.session.on_main(lambda: self._save(done))
        if done % _SHOW_EVERY == 0 or done == self.num_steps:
            self._described = f"{self.name}  loss {float(loss) * self.session.num_ranks:.4f}"

        if stop:
            self.stopped = True
            self.session.clear_stop()
            if self.session.is_main:
                say(
                    escape(
                        f"stopped as requested, with a checkpoint after {done} of "
                        f"{self.num_steps} steps of {self.name}; --resume true continues"
                    )
                )

    def _save(self, done: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({str(window): self.failed[window] for window in sorted(self.failed)})
        open_store(self.folder).write(FAILED_FILE, text.encode())
        self._checkpoints.save(done, self._state)

    def _share_failed(self) -> None:
        """Let every rank know the windows that any rank could not read."""
        own = [dict(self.failed)]
        for failed in self.session.gathered(own):
            self.failed.update(failed)

    def _read_failed(self) -> dict[str, str]:
        return read_json(
            self.folder / FAILED_FILE,
            dict[str, str],
            error=CheckpointError,
            remedy=f"remove {self.folder} to train again",
        )
