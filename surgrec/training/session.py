"""The ranks of a start: device, precision, exchange of values, and the step that all stop after.

A `Run` is a session with data, checkpoints and a log. Recipes that train on labeled windows use a
session alone.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from jaxtyping import Shaped
from torch import Tensor, nn

from surgrec.runs import record_start
from surgrec.training._checkpoint import Checkpoints, TrainingState
from surgrec.training._launch import Precision, lock_folder, start_accelerator
from surgrec.training._optimizer import skip_unless_finite
from surgrec.training._progress import progress_bar
from surgrec.training._ranks import gathered, note_progress, on_main, open_store, own_share
from surgrec.training._stop import AgreedStop, StopRequest

__all__ = [
    "Checkpoints",
    "Precision",
    "Session",
    "TrainingState",
    "progress_bar",
    "skip_unless_finite",
]

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(kw_only=True)
class Session:
    """One start of a recipe on one rank.

    Example:
        >>> session = Session.connect(Path("probes/a"), precision="bf16")
        >>> session.begin(Path("probes/a"), config, first_step=0)
        >>> for step in range(steps):
        ...     ...
        ...     if session.stops_after(step):
        ...         break
    """

    accelerator: Accelerator
    """Connects the ranks and places modules on devices."""
    _stop: StopRequest = field(init=False)
    _agreed_stop: AgreedStop = field(init=False)

    @classmethod
    def connect(
        cls, folder: Path, *, precision: Precision, longest_batch_s: int = 600
    ) -> "Session":
        """Connect the ranks, and create and lock the folder of the results.

        Args:
            folder: Folder of the results, the option `out`.
            precision: Autocast of the forward passes.
            longest_batch_s: Longest wait for a batch, seconds.

        Raises:
            SetupError: The processes do not see each other, or the launcher sets an option that a
                recipe does not implement.
            ConfigError: Another process works in the folder.
            StorageError: The folder cannot be created or locked.
        """
        accelerator = start_accelerator(precision, longest_batch_s=longest_batch_s)
        on_main(accelerator, lambda: lock_folder(folder, "out"))
        return cls(accelerator=accelerator)

    @property
    def device(self) -> torch.device:
        """Device of this rank."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        is_main: bool = self.accelerator.is_main_process
        return is_main

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        rank: int = self.accelerator.process_index
        return rank

    @property
    def num_ranks(self) -> int:
        """Number of processes."""
        num_ranks: int = self.accelerator.num_processes
        return num_ranks

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass in the precision of the start."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    def on_main(self, work: Callable[[], Result]) -> Result:
        """Run `work` on the main process and return its result on every rank. A collective."""
        return on_main(self.accelerator, work)

    def own_share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return every n-th of some items, from this rank's on, for n ranks."""
        return own_share(self.accelerator, items)

    def gathered(self, share: list[Item]) -> list[Item]:
        """Return the results of all ranks, in the order of the items of `own_share`.

        A collective.
        """
        return gathered(self.accelerator, share)

    def gather(self, vector: Shaped[Tensor, " n"]) -> Shaped[Tensor, "ranks n"]:
        """Return the vectors of all ranks, in the order of the ranks. A collective."""
        vectors: Tensor = self.accelerator.gather(vector)
        return vectors.view(self.num_ranks, -1)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a model whose backward passes average gradients over the ranks (DDP)."""
        wrapped: nn.Module = self.accelerator.prepare(model)
        return wrapped

    def exchange(self, model: nn.Module, *, now: bool) -> AbstractContextManager[Any]:
        """Return the context of a pass after which ranks average all gradients so far, or none."""
        if now:
            return nullcontext()
        context: AbstractContextManager[Any] = self.accelerator.no_sync(model)
        return context

    def begin(self, folder: Path, config: object, *, first_step: int) -> None:
        """Record the start in a folder, and listen for requests to stop. A collective.

        Args:
            folder: Folder of the start.
            config: The recipe's config.
            first_step: Step at which this start begins.
        """
        self.on_main(
            lambda: record_start(
                folder, config, None, first_step=first_step, processes=self.num_ranks
            )
        )
        self.listen_for_stop(folder)

    def listen_for_stop(self, folder: Path) -> None:
        """Listen for SIGTERM and for a file STOP in the folder, where a start was just recorded."""
        self._stop = StopRequest(folder, watch_file=self.is_main)
        self._agreed_stop = AgreedStop(self._stop, open_store(), self.device)
        self._agreed_stop.is_coming()  # tells the others of a request during the start

    def stops_after(self, step: int) -> bool:
        """Return whether all ranks stop after this step. Every rank calls it after every step."""
        note_progress()
        return self._agreed_stop.after(step)

    def is_stop_coming(self) -> bool:
        """Return whether a rank was asked to stop, while all ranks measure between two steps."""
        return self._agreed_stop.is_coming()

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether the agreed last step is done, or this rank was asked to stop."""
        return self._agreed_stop.reached or bool(self._stop)

    def clear_stop(self) -> None:
        """Remove the file STOP."""
        self._stop.clear()
